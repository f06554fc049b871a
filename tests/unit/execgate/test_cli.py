"""The `execgate` command: what it does before it knows which program is meant, and with what one says."""

import os
import subprocess
import sys
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from execgate import __version__, cli
from execgate.cli import COMMANDS, main
from execgate.wire.errors import UsageError


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["help"], ["--help", "gateway"]])
def test_help_names_every_command_and_shows_examples(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith("usage: execgate COMMAND")
    assert "examples:\n" in said.out
    for command, (_, sentence) in COMMANDS.items():
        assert f"\n  {command:<10} {sentence}\n" in said.out
    assert max(map(len, said.out.splitlines())) <= 110


def test_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"execgate {__version__}\n"


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], "no command given"),
        (["gatway"], "unknown command 'gatway'"),
        ([""], "unknown command ''"),
        (["--listen", "x"], "unknown command '--listen'"),
    ],
)
def test_no_command_or_an_unknown_one_is_exit_2_and_one_line(
    words: list[str], given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"execgate: {given}; expected one of {', '.join(COMMANDS)}\n"


def test_a_program_gets_the_words_after_its_name_and_its_status_is_returned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got: list[Sequence[str]] = []

    def program(arguments: Sequence[str]) -> int:
        got.append(arguments)
        return 1

    def imported(name: str) -> SimpleNamespace:
        assert name == COMMANDS["gateway"][0]
        return SimpleNamespace(main=program)

    monkeypatch.setattr(cli, "import_module", imported)
    assert main(["gateway", "--help", "gateway"]) == 1
    assert got == [["--help", "gateway"]]


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (
            UsageError("--rate '0': expected a number over 0"),
            2,
            "execgate gateway: --rate '0': expected a number over 0\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_a_misuse_is_one_line_and_an_interrupt_says_nothing(
    error: BaseException,
    status: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def program(arguments: Sequence[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "import_module", lambda name: SimpleNamespace(main=program))
    assert main(["gateway"]) == status
    assert capsys.readouterr().err == line


def test_a_bug_surfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    def program(arguments: Sequence[str]) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "import_module", lambda name: SimpleNamespace(main=program))
    with pytest.raises(ZeroDivisionError):
        main(["gateway"])


def test_the_command_runs_as_a_module_and_imports_no_program_for_its_own_words() -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "execgate", "--version"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert run.stdout == f"execgate {__version__}\n"
    imported = {line.split("|")[-1].strip() for line in run.stderr.splitlines()}
    assert imported.isdisjoint({"gateway", "publisher", "loadgen", "tornado", "zmq"})


def test_a_reader_who_has_had_enough_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        run = subprocess.run(
            [sys.executable, "-m", "execgate", "loadgen", "--help"],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writing)
    assert (run.returncode, run.stderr) == (1, b"")
