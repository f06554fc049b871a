"""What a command is told to write: looked at before, written at the end, and said where that fails."""

import json
from pathlib import Path

import pytest

from execgate.service.output import as_json, check_output, keep_output, write_output
from execgate.wire.errors import UsageError

NOWHERE = "/nowhere/x"
REASON = f"--json {NOWHERE}: No such file or directory"


def test_json_for_a_file_is_readable_ends_its_line_and_leaves_slashes_alone() -> None:
    content = {"url": "ws://a/ws", "all": [1, None]}
    text = as_json(content)
    assert json.loads(text) == content
    assert text.endswith("}\n")
    assert '\n  "url": "ws://a/ws"' in text


def test_what_can_be_written_is_there_after_the_check_and_keeps_what_it_had(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("before")
    check_output("--json", str(path))
    assert path.read_text() == "before"
    assert keep_output("p", "--json", str(path), "after")
    assert path.read_text() == "after"


def test_no_file_is_neither_checked_nor_written(capsys: pytest.CaptureFixture[str]) -> None:
    check_output("--json", None)
    assert keep_output("p", "--json", None, "text")
    assert capsys.readouterr() == ("", "")


def test_a_dash_is_standard_output_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    check_output("--json", "-")
    assert keep_output("p", "--json", "-", "text")
    assert capsys.readouterr().out == "text"
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_names_flag_file_and_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=f"^{REASON}$"):
        check_output("--json", NOWHERE)
    with pytest.raises(UsageError, match=f"^{REASON}$"):
        write_output(NOWHERE, "", "--json")
    assert not keep_output("execgate demo", "--json", NOWHERE, "text")
    assert capsys.readouterr().err == f"execgate demo: {REASON}\n"
