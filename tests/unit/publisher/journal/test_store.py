"""The store on real SQLite: what is appended is found again, with all that numbering and snapshots need."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from execgate.wire.update import Update
from publisher.journal import store as store_module
from publisher.journal.ceiling import BLOCK, read_ceiling
from publisher.journal.reader import Reader
from publisher.journal.schema import JournalError
from publisher.journal.store import Store
from publisher.log import Range
from tests.unit.publisher.journal.making import BOOT, ENDLESS, entry, extend, store, update


def contents(directory: Path, one: Store) -> list[Update]:
    """All updates of the epoch, by the reader."""
    reader = Reader(directory, one.recovered.epoch, one.recovered.base)
    found: list[Update] = []
    seq = one.floor
    while updates := reader.read(seq, 1 << 40, 1 << 30):
        found += updates
        seq = updates[-1].seq + 1
    reader.close()
    return found


def test_what_was_appended_is_read_back_and_goes_on_after_an_end_without_close(tmp_path: Path) -> None:
    first = store(tmp_path)
    assert (first.recovered.epoch, first.recovered.begun_because) == (7, "the journal is new")
    sizes = (1, 3, 128, 200)  # of groups: whole statements and what is left of them
    updates: list[Update] = []
    for size in sizes:
        group = [update(7, len(updates) + number) for number in range(1, size + 1)]
        first.append([entry(group[:1]), *([entry(group[1:])] if group[1:] else [])])
        updates += group
    assert contents(tmp_path, first) == updates
    second = store(tmp_path, new_epoch=8)  # the first is never closed, as after kill -9
    assert (second.recovered.epoch, second.recovered.begun_because) == (7, None)
    assert (second.recovered.last, second.floor) == (sum(sizes), 1)
    assert second.recovered.tseqs == {"ex.A.": sum(sizes)}
    assert contents(tmp_path, second) == updates
    for one in (first, second):
        one.close()


def test_a_group_that_comes_again_is_kept_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saying that it may be published had failed, when it was in the database already."""
    one = store(tmp_path)
    group = [entry([update(7, 1), update(7, 2)])]
    with monkeypatch.context() as failing:
        failing.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        one._ceiling._now = one._ceiling._now._replace(reserved=10)  # type: ignore[union-attr]
        with pytest.raises(OSError, match="Input/output"):
            one.append(group)
    one.append(group)
    assert [each.seq for each in contents(tmp_path, one)] == [1, 2]
    one.close()


def test_a_failed_group_leaves_nothing_and_may_come_again(tmp_path: Path) -> None:
    one = store(tmp_path)
    extend(one, 3)
    one._connection.execute("PRAGMA max_page_count = 1")  # the smallest it may be: the file is full as it is
    big = [entry([update(7, 4, text="x" * 200_000)], b"id")]
    with pytest.raises(sqlite3.OperationalError, match="full"):
        one.append(big)
    assert [each.seq for each in contents(tmp_path, one)] == [1, 2, 3]
    ceiling = read_ceiling(tmp_path)
    assert ceiling is not None
    assert ceiling.published == 3
    one._connection.execute("PRAGMA max_page_count = 1000000")
    one.append(big)
    assert [each.seq for each in contents(tmp_path, one)] == [1, 2, 3, 4]
    one.close()


def test_seqs_are_reserved_on_disk_before_they_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    real = os.fsync
    one = store(tmp_path)

    def fsync(descriptor: int) -> None:
        real(descriptor)
        synced.append((tmp_path / "ceiling").read_bytes())

    monkeypatch.setattr(os, "fsync", fsync)
    extend(one, 2)
    assert len(synced) == 1
    assert b"published=0 reserved=%d " % (1 + BLOCK) in synced[0]
    one.settle()
    one.settle()
    assert len(synced) == 2
    assert b"published=2 reserved=2 " in synced[1]
    one.close()


def test_with_power_durability_nothing_is_reserved(tmp_path: Path) -> None:
    one = store(tmp_path, synced=True)
    extend(one, 2)
    assert one._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    ceiling = read_ceiling(tmp_path)
    assert ceiling is not None
    assert (ceiling.published, ceiling.reserved) == (2, 2)
    one.close()


@pytest.mark.parametrize(
    ("synced", "settled", "goes_on"), [(False, False, False), (False, True, True), (True, False, True)]
)
def test_after_a_power_failure_that_took_nothing(
    tmp_path: Path, synced: bool, settled: bool, goes_on: bool
) -> None:
    one = store(tmp_path, synced=synced)
    extend(one, 5)
    if settled:
        one.settle()
    again = store(tmp_path, new_epoch=8, boot="another")
    assert (again.recovered.epoch, again.recovered.last) == ((7, 5) if goes_on else (8, 0))
    one.close()
    again.close()


def test_a_new_epoch_begins_behind_the_old_one_which_stays_readable(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.append([entry([update(7, 1, key="k"), update(7, 2)], b"batch")])
    one.close()
    (tmp_path / "ceiling").unlink()
    again = store(tmp_path, new_epoch=8)
    assert "ceiling file is missing" in str(again.recovered.begun_because)
    assert (again.recovered.last, again.floor, again.recovered.tseqs) == (0, 1, {})
    assert list(again.recovered.newest.values()) == []
    later = extend(again, 3)
    assert contents(tmp_path, again) == later
    rows = again._connection.execute("SELECT epoch, seq FROM history ORDER BY epoch, seq").fetchall()
    assert [(int(epoch, 16), seq) for epoch, seq in rows] == [(7, 1), (7, 2), (8, 1), (8, 2), (8, 3)]
    reader = Reader(tmp_path, 8, again.recovered.base)
    assert reader.known(b"batch") == Range(7, 1, 2)
    again.close()
    third = store(tmp_path, new_epoch=9)
    assert (third.recovered.epoch, third.recovered.last) == (8, 3)
    third.close()
    reader.close()


def test_batch_ids_are_kept_with_their_updates_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "MAX_BATCH_IDS", 3)
    one = store(tmp_path)
    for number in range(1, 6):
        one.append([entry([update(7, number)], b"id %d" % number)])
    reader = Reader(tmp_path, 7, 0)
    assert [reader.known(b"id %d" % number) for number in range(1, 6)] == [
        None,
        None,
        Range(7, 3, 3),
        Range(7, 4, 4),
        Range(7, 5, 5),
    ]
    reader.close()
    one.close()
    again = store(tmp_path)
    again.append([entry([update(7, 6)], b"id 6")])
    again.close()


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "journal.db")
    other.execute("CREATE TABLE precious (x)")
    other.close()
    with pytest.raises(JournalError, match="no journal of a publisher"):
        store(tmp_path)


def test_a_journal_of_another_version_is_refused(tmp_path: Path) -> None:
    store(tmp_path).close()
    other = sqlite3.connect(tmp_path / "journal.db")
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(JournalError, match="of version 99, expected 1"):
        store(tmp_path)


def test_a_damaged_tail_begins_a_new_epoch_and_says_which_seq(tmp_path: Path) -> None:
    for statement, reason in (
        ("UPDATE updates SET payload = replace(payload, 'symbol', 'Symbol') WHERE id = 3", "seq 3 is damaged"),
        ("DELETE FROM updates WHERE id = 3", "seq 3 is missing"),
        ("UPDATE updates SET tseq = 9 WHERE id = 3", "seq 3 is damaged"),
    ):
        shutil.rmtree(tmp_path)
        one = store(tmp_path)
        extend(one, 5)
        one.close()
        other = sqlite3.connect(tmp_path / "journal.db")
        other.execute(statement)
        other.commit()
        other.close()
        again = store(tmp_path, new_epoch=8)
        assert (again.recovered.epoch, again.recovered.begun_because) == (8, reason)
        again.close()


def cut_points(length: int, frame: int = 4096 + 24) -> list[int]:
    """Where a power failure may cut the log: at each frame, and at places inside of it."""
    points = {0, 7, 31, length}
    for start in range(32, length, frame):
        points |= {start, start + 5, start + 24, start + 1000, start + frame - 1}
    return sorted(point for point in points if point <= length)


def test_power_lost_at_any_byte_of_the_log_never_gives_one_seq_two_payloads(tmp_path: Path) -> None:
    """The log's unsynced tail is lost at every frame and in between, with the ceiling's last write or without."""
    live, image = tmp_path / "live", tmp_path / "image"
    one = store(live)
    synced_ceiling = None
    published: dict[tuple[int, int], bytes] = {}
    for each in extend(one, 1):
        published[each.epoch, each.seq] = each.payload
    synced_ceiling = (live / "ceiling").read_bytes().replace(b"published=1 ", b"published=0 ")
    for each in extend(one, 6):
        published[each.epoch, each.seq] = each.payload
    wal = (live / "journal.db-wal").read_bytes()
    outcomes: dict[str, int] = {"same": 0, "new": 0}
    for ceiling in ((live / "ceiling").read_bytes(), synced_ceiling):
        for cut in cut_points(len(wal)):
            shutil.rmtree(image, ignore_errors=True)
            image.mkdir()
            shutil.copy(live / "journal.db", image)
            (image / "journal.db-wal").write_bytes(wal[:cut])
            (image / "ceiling").write_bytes(ceiling)
            after = Store(image, ENDLESS, 1000, synced=False, boot="after the failure")
            outcomes["same" if after.recovered.epoch == 7 else "new"] += 1
            seen = dict(published)
            for each in extend(after, 8, text="another"):
                assert seen.setdefault((each.epoch, each.seq), each.payload) == each.payload, f"cut at {cut}"
            after.close()
    assert outcomes["new"] > 30
    one.close()


def test_the_control_of_the_power_failure_finds_a_guard_that_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("publisher.journal.recovery.why_not", lambda *_: None)
    with pytest.raises(AssertionError, match="cut at"):
        test_power_lost_at_any_byte_of_the_log_never_gives_one_seq_two_payloads(tmp_path)


def test_a_log_cut_on_a_machine_that_never_went_down_is_found_too(tmp_path: Path) -> None:
    """The same boot, so its ceiling is exact: whatever lost the tail, a bad disk or a hand, is found out."""
    live, image = tmp_path / "live", tmp_path / "image"
    one = store(live)
    extend(one, 7)
    wal = (live / "journal.db-wal").read_bytes()
    for cut in cut_points(len(wal)):
        shutil.rmtree(image, ignore_errors=True)
        image.mkdir()
        shutil.copy(live / "journal.db", image)
        shutil.copy(live / "ceiling", image)
        (image / "journal.db-wal").write_bytes(wal[:cut])
        after = store(image, new_epoch=1000)
        assert after.recovered.epoch == 1000 or after.recovered.last == 7, f"cut at {cut}"
        after.close()
    one.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    groups=st.lists(
        st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from(["", "k", "l"])), min_size=1, max_size=5),
        max_size=12,
    ),
    end_after=st.integers(0, 12),
    synced=st.booleans(),
)
def test_recovery_finds_the_numbering_and_the_newest_of_any_history(
    tmp_path: Path, groups: list[list[tuple[str, str]]], end_after: int, synced: bool
) -> None:
    """Ends without close anywhere between two groups; a model says what must be found."""
    shutil.rmtree(tmp_path, ignore_errors=True)
    one = store(tmp_path, synced=synced)
    tseqs: dict[str, int] = {}
    newest: dict[tuple[bytes, bytes], Update] = {}
    seq = 0
    for number, group in enumerate(groups):
        if number == end_after:
            one._connection.close()
            one = store(tmp_path, synced=synced, new_epoch=8)
        updates = []
        for symbol, key in group:
            seq += 1
            topic = f"ex.{symbol}."
            tseqs[topic] = tseqs.get(topic, 0) + 1
            updates.append(update(7, seq, tseqs[topic], topic, key))
            if key:
                newest.pop((topic.encode(), key.encode()), None)
                newest[topic.encode(), key.encode()] = updates[-1]
        one.append([entry(updates)])
    one._connection.close()
    found = store(tmp_path, new_epoch=9, boot=BOOT)
    assert (found.recovered.epoch, found.recovered.last) == (7, seq)
    assert found.recovered.tseqs == tseqs
    assert list(found.recovered.newest.values()) == list(newest.values())
    found.close()
