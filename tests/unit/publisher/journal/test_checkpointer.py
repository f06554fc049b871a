"""The write-ahead log begins anew although commits never pause, and a checkpoint that fails loses nothing."""

import threading
from pathlib import Path

import pytest

from publisher.journal import store as store_module
from publisher.journal.checkpointer import Checkpointer
from publisher.journal.schema import connect
from tests.harness import wait_until
from tests.unit.publisher.journal.making import extend, store


def test_a_long_log_is_begun_anew_while_commits_are_held(tmp_path: Path) -> None:
    one = store(tmp_path)
    wal = tmp_path / "journal.db-wal"
    writing = threading.Lock()
    checkpointer = Checkpointer(tmp_path, writing, max_wal_bytes=200_000)
    checkpointer.start()
    try:
        extend(one, 105)
        length = wal.stat().st_size
        assert length > 200_000
        with writing:
            checkpointer.wake()
            while (tmp_path / "journal.db").stat().st_size < 50_000:  # it moves pages meanwhile
                pass
            assert checkpointer.holds == 0  # but waits for its turn to have the rest
        wait_until(lambda: checkpointer.holds == 1, "commits are held")
        with writing:
            extend(one, 40)
        assert wal.stat().st_size == length  # written from its beginning again
    finally:
        checkpointer.end()
        one.close()


def test_a_log_that_a_long_reader_made_too_long_is_cut_when_it_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 200_000
    monkeypatch.setattr(store_module, "MAX_WAL_BYTES", limit)
    one = store(tmp_path)
    wal = tmp_path / "journal.db-wal"
    checkpointer = Checkpointer(tmp_path, threading.Lock(), max_wal_bytes=limit)
    reader = connect(tmp_path, read_only=True)
    try:
        reader.execute("BEGIN").execute("SELECT count(*) FROM updates").fetchone()
        extend(one, 200)
        checkpointer._checkpoint()  # moves nothing that the reader does not see
        extend(one, 1)
        assert wal.stat().st_size > 2 * limit
        reader.close()
        checkpointer._checkpoint()
        extend(one, 1)
        assert wal.stat().st_size <= limit
    finally:
        reader.close()
        checkpointer.end()
        one.close()


def test_a_checkpoint_that_fails_is_told_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = store(tmp_path)
    checkpointer = Checkpointer(tmp_path, threading.Lock())
    checkpointer.start()
    try:
        extend(one, 100)
        checkpointer._connection.execute("PRAGMA query_only = 1")
        checkpointer._connection.execute("BEGIN").execute(
            "SELECT 1 FROM updates"
        ).fetchall()  # no checkpoint inside
        checkpointer.wake()
        wait_until(lambda: caplog.records, "it is told")
        assert "checkpoint failed reason=database table is locked" in caplog.text
        checkpointer._connection.execute("COMMIT")
        before = (tmp_path / "journal.db").stat().st_size
        checkpointer.wake()
        wait_until(lambda: (tmp_path / "journal.db").stat().st_size > before, "pages are moved")
    finally:
        checkpointer.end()
        one.close()
