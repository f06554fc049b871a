"""`execgate keygen`: a pair that fits, a secret that is one, and nothing that is overwritten."""

import os
import stat
from pathlib import Path

import pytest
import zmq

from execgate import cli
from execgate.service import curve


def test_a_pair_is_written_and_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "keys"
    mask = os.umask(0)
    try:
        assert cli.main(["keygen", str(folder), "gateway-1"]) == 0
    finally:
        os.umask(mask)
    said = capsys.readouterr().out
    assert said == f"secret={folder}/gateway-1.key public={folder}/gateway-1.pub\n"
    secret, public = folder / "gateway-1.key", folder / "gateway-1.pub"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    pair = curve.load_secret("--curve-key", str(secret))
    assert pair.public == curve.load_public("--curve-server", str(public)) == zmq.curve_public(pair.secret)
    assert pair.secret.decode() in secret.read_text()
    assert pair.secret.decode() not in said + public.read_text()


@pytest.mark.parametrize("present", ["x.key", "x.pub"])
def test_what_is_there_stays(present: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / present).write_text("mine")
    assert cli.main(["keygen", str(tmp_path), "x"]) == 2
    assert f"{present}: exists already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [present]
    assert (tmp_path / present).read_text() == "mine"


@pytest.mark.parametrize("name", ["", ".x", "../x", "a/b", "x y", "x" * 65, "-x", "x\n"])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keygen", str(tmp_path), name]) == 2
    assert capsys.readouterr().err.startswith(f"execgate keygen: name {name!r}: expected ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [[], ["a"], ["a", "b", "c"]])
def test_other_words_are_misuse(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keygen", *words]) == 2
    assert capsys.readouterr().err.startswith(f"execgate keygen: {len(words)} arguments: expected DIR NAME.")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keygen", "--help"]) == 0
    assert "execgate keygen DIR NAME" in capsys.readouterr().out


def test_a_directory_that_can_t_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert cli.main(["keygen", str(tmp_path / "file"), "x"]) == 2
    assert "file: " in capsys.readouterr().err
