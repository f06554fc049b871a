"""inspect, verify and export on a journal with two epochs, one of them live."""

import json
import sqlite3
from pathlib import Path

import pytest

from execgate.wire.errors import UsageError
from publisher.core.rows import check
from publisher.journal import tool
from publisher.journal.store import Store
from tests.unit.publisher.journal.making import entry, extend, store, update


@pytest.fixture
def live(tmp_path: Path) -> Store:
    """Epoch 7 ended at seq 3; epoch 8 has 5 updates, and is still open."""
    one = store(tmp_path)
    extend(one, 3)
    one.close()
    two = store(tmp_path, new_epoch=8, boot="another")
    two.append([entry([update(8, seq, text="100.10") for seq in range(1, 6)], b"id")])
    return two


def test_inspect_shows_each_epoch_and_its_range(
    tmp_path: Path, live: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main(["inspect", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["epoch"], each["first"], each["last"], each["updates"]) for each in found["epochs"]] == [
        (f"{7:016x}", 1, 3, 3),
        (f"{8:016x}", 1, 5, 5),
    ]
    assert "went down in mid-run" in found["epochs"][1]["reason"]
    assert found["newest"] == "1970-01-01T00:00:00.005+00:00"
    assert (found["published"], found["batch_ids"]) == (5, 1)
    assert found["file_bytes"]["journal.db-wal"] > 0
    assert tool.main(["inspect", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert f"{8:016x}             1             5             5  " in table
    live.close()


def test_verify_passes_a_whole_journal_and_names_what_is_wrong(
    tmp_path: Path, live: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main(["verify", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("8 updates are whole")
    live.close()
    for statement, words in (
        ("UPDATE updates SET payload = payload || ' ' WHERE id = 5", f"epoch {8:016x}: seq 2: its checksum"),
        ("UPDATE updates SET id = 99 WHERE id = 5", f"epoch {8:016x}: seq 2 is missing"),
    ):
        connection = sqlite3.connect(tmp_path / "journal.db")
        connection.execute(statement)
        connection.commit()
        assert tool.main(["verify", str(tmp_path)]) == 1
        assert words in capsys.readouterr().out
        connection.execute(
            "UPDATE updates SET id = 5 WHERE id = 99"
            if "99" in statement
            else "UPDATE updates SET payload = rtrim(payload) WHERE id = 5"
        )
        connection.commit()
        connection.close()
    assert tool.main(["verify", str(tmp_path)]) == 0
    capsys.readouterr()
    (tmp_path / "ceiling").unlink()
    assert tool.main(["verify", str(tmp_path)]) == 1
    whole, missing = capsys.readouterr().out.splitlines()
    assert whole.startswith("8 updates are whole")
    assert missing.endswith(
        "ceiling is missing or damaged, as in a copy: a publisher that starts here begins a new epoch"
    )


def test_verify_finds_a_tseq_that_skips_and_a_payload_that_contradicts_its_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = store(tmp_path / "a")
    one.append([entry([update(7, 1, 1), update(7, 2, 3)])])
    one.close()
    assert tool.main(["verify", str(tmp_path / "a")]) == 1
    assert "seq 2: tseq is 3 after 1" in capsys.readouterr().out
    one = store(tmp_path / "b")
    one.append([entry([update(7, 1)._replace(payload=update(7, 2).payload)])])
    one.close()
    assert tool.main(["verify", str(tmp_path / "b")]) == 1
    assert "seq 1: its payload says" in capsys.readouterr().out


def test_export_writes_lines_that_a_source_reads_back(
    tmp_path: Path, live: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main(["export", str(tmp_path), "--from", "2", "--to", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ['[{"symbol":"A","text":"100.10"}]'] * 3
    assert [row.raw for line in lines for row in check(line.encode())] == [b'{"symbol":"A","text":"100.10"}'] * 3
    assert tool.main(["export", str(tmp_path), "--epoch", f"{7:016x}"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert tool.main(["export", str(tmp_path), "--epoch", "12"]) == 2
    assert "epoch '12': expected one of" in capsys.readouterr().err
    live.close()


def test_a_directory_without_a_journal_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no journal\.db there"):
        tool.main(["inspect", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []
