"""The journal as the loop sees it: order, bounds, trouble and its end, with real threads and a real database."""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from execgate.wire.errors import UsageError
from execgate.wire.update import Update
from publisher.journal import committer, disk, tidying
from publisher.journal.disk import DiskJournal
from publisher.journal.store import Store
from publisher.log import MAX_READ, Entry, Range, Retention
from tests.harness import until
from tests.unit.publisher.journal.making import ENDLESS, entry, update


class Watched:
    """A journal, and what it published."""

    def __init__(self, directory: Path, retention: Retention, synced: bool = False) -> None:
        self.journal = DiskJournal(directory, retention, 7, synced=synced)
        self.published: list[Update] = []

    def append(self, *updates: Update, batch_id: bytes = b"") -> None:
        self.journal.append(entry(updates, batch_id)._replace(published=self._publish))

    def _publish(self, one: Entry) -> None:
        assert self.journal.ceiling == one.updates[-1].seq
        assert self.journal.read(one.updates[0].seq, one.updates[0].seq, 0) == [one.updates[0]], "not kept"
        self.published += one.updates


def on_a_loop(test: Callable[[Watched], Awaitable[None]], directory: Path, retention: Retention = ENDLESS) -> None:
    async def run() -> None:
        watched = Watched(directory, retention)
        try:
            await asyncio.wait_for(test(watched), 20)
        finally:
            watched.journal.close()

    asyncio.run(run())


def failing_appends(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Make commits fail while the list that is returned holds True."""
    fails: list[bool] = []
    real = Store.append

    def append(self: Store, entries: Sequence[Entry]) -> None:
        if fails:
            raise sqlite3.OperationalError("database or disk is full")
        real(self, entries)

    monkeypatch.setattr(Store, "append", append)
    return fails


def test_entries_are_published_in_order_and_each_after_it_is_kept(tmp_path: Path) -> None:
    async def test(watched: Watched) -> None:
        for seq in range(1, 301, 3):
            await watched.journal.room()
            watched.append(update(7, seq), update(7, seq + 1, key="k"), update(7, seq + 2), batch_id=b"%d" % seq)
            if seq % 50 == 1:
                await asyncio.sleep(0.003)
        assert await watched.journal.flush(10)
        assert [each.seq for each in watched.published] == list(range(1, 301))
        assert watched.journal.known(b"298") == Range(7, 298, 300)
        assert watched.journal.known(b"299") is None
        assert watched.journal.newest() == [update(7, 299, key="k")]

    on_a_loop(test, tmp_path)


def test_what_is_old_goes_as_fast_as_new_comes_however_large_the_groups_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, groups = 128, 40
    monkeypatch.setattr(committer, "GROUP_UPDATES", group)
    monkeypatch.setattr(committer, "TIDY_EVERY_S", 0.0)
    for module in (committer, tidying):
        monkeypatch.setattr(module, "PIECE", group // 4)

    async def test(watched: Watched) -> None:
        for first in range(1, groups * group, group):
            watched.append(*[update(7, seq) for seq in range(first, first + group)])
        assert await watched.journal.flush(10)
        held = watched.journal.ceiling - watched.journal.floor + 1  # before the last group was tidied up after
        assert held <= 100 + tidying.SLACK + 2 * group  # one piece behind each group would leave 30 of them

    on_a_loop(test, tmp_path, replace(ENDLESS, max_updates=100))


def test_reads_are_bounded_in_number_and_bytes_and_go_no_further_than_what_is_published(tmp_path: Path) -> None:
    async def test(watched: Watched) -> None:
        updates = [update(7, seq) for seq in range(1, 1001)]
        watched.append(*updates)
        assert watched.journal.read(1, 10, 1 << 20) == []
        await watched.journal.flush(10)
        read = watched.journal.read
        assert read(1, 5000, 1 << 30) == updates[:MAX_READ]
        assert read(990, 5000, 1 << 30) == updates[989:]
        assert read(5, 7, 1 << 30) == updates[4:7]
        assert read(5, 900, len(updates[4].payload) * 3) == updates[4:7]
        assert read(5, 900, 1) == updates[4:5]
        assert read(0, 900, 1 << 30) == read(1001, 2000, 1 << 30) == read(7, 6, 1 << 30) == []

    on_a_loop(test, tmp_path)


@pytest.mark.parametrize(
    ("bound", "value"), [("WAITING_UPDATES", 5), ("WAITING_BYTES", 4 * len(update(7, 1).payload) + 1)]
)
def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int) -> None:
    """Five updates, while the disk is stuck; then there is room again."""
    moves = threading.Event()
    real = Store.append

    def append(self: Store, entries: Sequence[Entry]) -> None:
        assert moves.wait(10)
        real(self, entries)

    monkeypatch.setattr(Store, "append", append)
    monkeypatch.setattr(disk, bound, value)

    async def test(watched: Watched) -> None:
        for seq in range(1, 6):
            await asyncio.wait_for(watched.journal.room(), 1)
            watched.append(update(7, seq))
        room = asyncio.create_task(watched.journal.room())
        await asyncio.sleep(0.05)
        assert not room.done()
        moves.set()
        await room
        assert watched.journal.ceiling > 0

    try:
        on_a_loop(test, tmp_path)
    finally:
        moves.set()


def test_a_commit_that_fails_holds_everything_and_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fails = failing_appends(monkeypatch)
    caplog.set_level("INFO")

    async def test(watched: Watched) -> None:
        watched.append(update(7, 1))
        await watched.journal.flush(10)
        fails.append(True)
        watched.append(update(7, 2))
        watched.append(update(7, 3))
        await until(lambda: watched.journal.trouble)
        room = asyncio.create_task(watched.journal.room())
        assert not await watched.journal.flush(0.6)  # more than two attempts
        assert [each.seq for each in watched.published] == [1]
        assert watched.journal.ceiling == 1
        assert not room.done()
        assert watched.journal.read(1, 3, 1 << 20) == [update(7, 1)]
        fails.clear()
        assert await watched.journal.flush(10)
        await room
        assert [each.seq for each in watched.published] == [1, 2, 3]
        assert watched.journal.trouble is None

    on_a_loop(test, tmp_path)
    lines = [record.message for record in caplog.records if record.name == "publisher.journal"]
    assert len(lines) == 2
    assert lines[0].startswith("journal failing reason=database or disk is full")
    assert lines[1].startswith("journal heals after_s=")


def test_the_end_does_not_wait_for_a_journal_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = failing_appends(monkeypatch)

    async def test(watched: Watched) -> None:
        fails.append(True)
        watched.append(update(7, 1))
        assert not await watched.journal.flush(0.05)

    on_a_loop(test, tmp_path)


def test_a_bug_in_the_committer_is_raised_on_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def append(self: Store, entries: Sequence[Entry]) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Store, "append", append)

    async def test(watched: Watched) -> None:
        watched.append(update(7, 1))
        with pytest.raises(ZeroDivisionError):
            await watched.journal.crashed

    on_a_loop(test, tmp_path)


def test_a_damaged_update_ends_a_read_and_raises_the_floor(tmp_path: Path) -> None:
    async def test(watched: Watched) -> None:
        watched.append(*[update(7, seq) for seq in range(1, 11)])
        await watched.journal.flush(10)
        other = sqlite3.connect(tmp_path / "journal.db")
        other.execute("UPDATE updates SET payload = payload || ' ' WHERE id IN (5, 6)")
        other.commit()
        other.close()
        assert [each.seq for each in watched.journal.read(1, 10, 1 << 20)] == [1, 2, 3, 4]
        assert watched.journal.floor == 1
        assert watched.journal.read(5, 10, 1 << 20) == []
        assert watched.journal.floor in (7, 8)
        floor = watched.journal.floor
        assert [each.seq for each in watched.journal.read(floor, 10, 1 << 20)] == list(range(floor, 11))

    on_a_loop(test, tmp_path)


def test_a_second_publisher_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    async def test(_watched: Watched) -> None:
        with pytest.raises(UsageError, match=r"--data-dir .*: is in use by another publisher \(pid \d+\)"):
            DiskJournal(tmp_path, ENDLESS, 8, synced=False)

    on_a_loop(test, tmp_path)
    on_a_loop(_nothing, tmp_path)  # the lock is free again


async def _nothing(_watched: Any) -> None:
    pass


@pytest.mark.parametrize("what", ["file", "parent"])
def test_a_directory_that_can_not_be_is_one_line(tmp_path: Path, what: str) -> None:
    (tmp_path / "file").touch()
    directory = tmp_path / "file" if what == "file" else tmp_path / "file" / "below"

    async def run() -> None:
        with pytest.raises(UsageError, match=r"--data-dir .*: (File exists|Not a directory)"):
            DiskJournal(directory, ENDLESS, 7, synced=False)

    asyncio.run(run())
