"""Key files: what is read, what is refused and named, and that a secret shows up nowhere."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from execgate.service import curve
from execgate.wire.errors import UsageError

# The client's of RFC 26: always the same, since they stand in the tests' names.
PUBLIC, SECRET = b"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", b"D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"


def written(folder: Path, text: str | bytes, mode: int = 0o600, name: str = "a.key") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("before", ["", "# a word\n", "#\n\n# two\n"])
@pytest.mark.parametrize("after", ["", "\n", "\r\n\n"])
def test_a_key_may_have_comments_and_blank_lines_about_it(before: str, after: str, tmp_path: Path) -> None:
    pair = curve.load_secret("--curve-key", written(tmp_path, before + SECRET.decode() + after))
    assert (pair.public, pair.secret) == (PUBLIC, SECRET)


def test_a_key_that_begins_like_a_comment_is_a_key(tmp_path: Path) -> None:
    """# is one of Z85's characters; a comment has a space behind it."""
    key = "#" + "0" * 39
    assert curve.load_public("--curve-server", written(tmp_path, f"# x\n{key}\n", name="a.pub")) == key.encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a word\n",
        SECRET.decode()[:-1],
        SECRET.decode() + "x",
        SECRET.decode() * 2,
        f"{SECRET.decode()}\n{SECRET.decode()}\n",
        "\u00e4" * 40,
        b"\x00" * 100_000,
        "'" * 40,
        "key: " + SECRET.decode(),
    ],
)
def test_what_is_no_key_is_refused_without_being_shown(text: str | bytes, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        curve.load_secret("--curve-key", path)
    assert str(caught.value).startswith(f"--curve-key {path}: expected one line with a CURVE key")
    assert SECRET.decode()[:10] not in str(caught.value)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o602, 0o610, 0o777])
def test_a_secret_that_others_reach_is_refused(mode: int, tmp_path: Path) -> None:
    path = written(tmp_path, SECRET, mode)
    with pytest.raises(
        UsageError, match=f"--curve-key {path}: mode {mode:04o}, others may reach it; expected 0600"
    ):
        curve.load_secret("--curve-key", path)


@pytest.mark.parametrize(("mode", "is_taken"), [(0o400, True), (0o440, True), (0o460, False), (0o444, False)])
def test_a_credential_of_systemd_may_show_its_access_list_in_the_bits_of_the_group(
    mode: int, is_taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, SECRET, mode)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    if is_taken:
        assert curve.load_secret("--curve-key", path).secret == SECRET
    else:
        with pytest.raises(UsageError, match="others may reach it"):
            curve.load_secret("--curve-key", path)


def test_a_file_elsewhere_is_no_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, SECRET, 0o440)
    (tmp_path / "credentials").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    for name in (path, f"{tmp_path}/credentials/../{Path(path).name}"):
        with pytest.raises(UsageError, match="others may reach it"):
            curve.load_secret("--curve-key", name)


def test_a_secret_given_as_a_public_key_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, SECRET)
    with pytest.raises(UsageError, match="is a secret key, expected a public one"):
        curve.load_public("--curve-server", path)


def fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    ("make", "what"),
    [(lambda path: None, "No such file"), (Path.mkdir, "directory|no file"), (fifo, "no file, expected one with")],
)
def test_a_file_that_is_none_is_named(make: Callable[[Path], None], what: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    make(path)
    for load in (curve.load_secret, curve.load_public):
        with pytest.raises(UsageError, match=f"^--flag {path}: .*({what})"):
            load("--flag", str(path))


def test_a_directory_is_its_public_keys_by_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        curve.generate(tmp_path, name)
    (tmp_path / "README").write_text("not a key")
    found = curve.load_directory("--curve-clients", str(tmp_path))
    assert sorted(found.values()) == ["a", "b"]
    assert found[curve.load_public("", str(tmp_path / "a.pub"))] == "a"


def test_a_directory_that_is_none_or_holds_a_broken_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"^--curve-clients .*/none: No such file or directory, expected a directory"
    ):
        curve.load_directory("--curve-clients", str(tmp_path / "none"))
    written(tmp_path, "x", name="bad.pub")
    with pytest.raises(UsageError, match=r"^--curve-clients .*/bad.pub: expected one line"):
        curve.load_directory("--curve-clients", str(tmp_path))


def test_too_many_keys_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve, "MAX_KEYS", 1)
    for name in ("a", "b"):
        curve.generate(tmp_path, name)
    with pytest.raises(UsageError, match="2 keys, expected at most 1"):
        curve.load_directory("--curve-clients", str(tmp_path))


def test_a_secret_is_not_shown() -> None:
    pair = curve.KeyPair(PUBLIC, SECRET)
    shown = repr([pair, curve.ServerCurve(pair), curve.ClientCurve(pair, PUBLIC)])
    assert SECRET.decode() not in shown
    assert repr(PUBLIC) in shown
