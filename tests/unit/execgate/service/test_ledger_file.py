"""A ledger's file is shared by whoever appends to it, and a disk that is full ends the ledger and nothing else."""

import json
from pathlib import Path

import pytest

from execgate.service.ledger_file import LedgerFile
from execgate.wire.errors import UsageError


def test_processes_share_a_file_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"is": "session"}\n')
    first, second = LedgerFile(str(path)), LedgerFile(str(path))
    for number in range(2):
        first.append("session", number=number)
        second.append("gateway", number=number)
    first.close()
    second.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.get("number") for line in lines] == [None, 0, 0, 1, 1], "in order, behind what was there"
    assert [line["is"] for line in lines] == ["session", "session", "gateway", "session", "gateway"]
    assert {line["life"] for line in lines[1:]} == {first.life, second.life}


def test_a_file_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--ledger-file .*: No such file or directory"):
        LedgerFile(str(tmp_path / "none" / "f"))


def test_a_full_disk_ends_the_ledger_with_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    file = LedgerFile("/dev/full")
    file.append("gateway")
    file.append("gateway")
    assert [record.getMessage() for record in caplog.records] == [
        "ledger given up path=/dev/full error='No space left on device'"
    ]
