"""Retention and compaction on real SQLite, against a list of everything ever appended."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from execgate.wire.update import Update
from publisher.journal import tidying
from publisher.journal.store import Store
from publisher.log import Retention
from tests.unit.publisher.journal.making import ENDLESS, entry, extend, store, update
from tests.unit.publisher.journal.test_store import contents

SIZE = len(update(7, 20).payload)
"""Of an update from seq 10 to 99."""


def tidy_all(one: Store, now_us: int = 0) -> None:
    while one.tidy(now_us, idle=True):
        pass


@pytest.mark.parametrize(
    (
        "retention",
        "now_us",
        "first",
    ),  # of bytes half: the empty tables of so small a file take more than the bound
    [
        (ENDLESS, 0, 1),
        (replace(ENDLESS, max_updates=5), 0, 16),
        (replace(ENDLESS, max_updates=1), 0, 20),
        (replace(ENDLESS, max_bytes=8 * SIZE), 0, 17),
        (replace(ENDLESS, max_bytes=8 * SIZE - 1), 0, 18),
        (replace(ENDLESS, max_bytes=1), 0, 20),  # the newest is held in any case
        (replace(ENDLESS, max_age_s=0.005), 20_000, 15),  # update N is of N ms
        (replace(ENDLESS, max_age_s=1.0), 10_000_000, 20),
        (replace(ENDLESS, max_age_s=1.0), 0, 1),  # a clock that was set back
    ],
)
def test_each_bound_lets_go_of_the_oldest_and_recovery_finds_the_same(
    tmp_path: Path, retention: Retention, now_us: int, first: int
) -> None:
    one = store(tmp_path, retention, lag=3)
    updates = extend(one, 20)
    tidy_all(one, now_us)
    assert one.floor == first
    assert contents(tmp_path, one) == updates[first - 1 :]
    again = store(tmp_path, retention)
    assert (again.recovered.epoch, again.recovered.last, again.floor) == (7, 20, first)
    assert again.recovered.tseqs == {"ex.A.": 20}  # retention does not lose it
    assert again.recovered.compacted_bytes + again.recovered.tail_bytes == sum(
        len(each.payload) for each in updates[first - 1 :]
    )
    one.close()
    again.close()


def test_in_a_busy_time_pieces_are_worth_their_transaction_and_bounded(tmp_path: Path) -> None:
    one = store(tmp_path, replace(ENDLESS, max_updates=10), lag=10)
    seq = 0
    for _ in range(3):
        one.append([entry([update(7, seq + number) for number in range(1, 1001)])])
        seq += 1000
    assert one.tidy(0, idle=False)
    assert one.floor == 1 + tidying.PIECE
    while one.tidy(0, idle=False):
        pass
    assert 2990 - tidying.SLACK <= one.floor <= 2991
    before = one.floor
    extend(one, 5)
    assert not one.tidy(0, idle=False)
    assert one.floor == before
    one.close()


def test_the_space_of_deleted_updates_is_used_again(tmp_path: Path) -> None:
    one = store(tmp_path, replace(ENDLESS, max_updates=100), lag=10)
    sizes = []
    for _ in range(8):
        extend(one, 300, text="x" * 1000)
        tidy_all(one)
        one._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        sizes.append((tmp_path / "journal.db").stat().st_size)
    assert sizes[-1] <= sizes[1] * 1.1
    one.close()


MIB = 1024 * 1024
FULL = 18 * MIB
BOUND = 4 * MIB


def fill(one: Store, payload_bytes: int, *, tidies: bool) -> None:
    """Append FULL bytes of updates, groups of 50."""
    text = "x" * (payload_bytes - SIZE)
    seq = one._last
    for _ in range(FULL // payload_bytes // 50):
        group = [update(7, number, key=f"k{number % 10}", text=text) for number in range(seq + 1, seq + 51)]
        one.append([entry(group)])
        seq += 50
        if tidies:
            one.tidy(0, idle=False)


def file_bytes(one: Store, directory: Path) -> int:
    one._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return (directory / "journal.db").stat().st_size


def greatest_bytes(one: Store) -> int:
    """What docs/publisher.md promises of a file whose bound is BOUND."""
    page_bytes = int(one._connection.execute("PRAGMA page_size").fetchone()[0])
    return (BOUND * 65 // 64 + tidying.FREE_PAGES * page_bytes) * 16 // 15 + tidying.BITE_PAGES * page_bytes


@pytest.mark.parametrize("payload_bytes", [300, 500, 2100, 5000])  # of 2,100 one is on each page of 4,096
def test_the_bound_of_bytes_is_one_of_the_file(tmp_path: Path, payload_bytes: int) -> None:
    one = store(tmp_path, replace(ENDLESS, max_bytes=BOUND), lag=10)
    fill(one, payload_bytes, tidies=True)
    assert one.floor > 1
    assert BOUND * 0.7 < one._tidying._count_pages() <= BOUND * 65 // 64
    assert file_bytes(one, tmp_path) < greatest_bytes(one)
    one.close()


def test_a_file_whose_bound_was_lowered_gets_smaller_in_bites(tmp_path: Path) -> None:
    one = store(tmp_path)
    fill(one, 4000, tidies=False)
    assert file_bytes(one, tmp_path) > FULL
    one.close()
    one = store(tmp_path, replace(ENDLESS, max_bytes=BOUND), lag=10)
    before, floor, bites = one._tidying.spare_pages, 0, 0
    assert not before
    while one.tidy(0, idle=False):
        assert one.floor - floor <= tidying.PIECE + 1
        floor, spare = one.floor, one._tidying.spare_pages
        bites += spare > 0
    assert bites > (FULL - greatest_bytes(one)) / 4096 / tidying.BITE_PAGES / 2
    assert file_bytes(one, tmp_path) < greatest_bytes(one)
    (found,) = one._connection.execute("PRAGMA integrity_check").fetchone()
    assert found == b"ok"
    last = one._last
    assert [each.seq for each in contents(tmp_path, one)] == list(range(one.floor, last + 1))
    one.close()


def test_a_journal_that_was_made_without_goes_on_and_shrinks_once_it_is_made_anew(tmp_path: Path) -> None:
    one = store(tmp_path)
    fill(one, 4000, tidies=False)
    one.close()
    by_hand(tmp_path, "PRAGMA auto_vacuum = 0; VACUUM")
    one = store(tmp_path, replace(ENDLESS, max_bytes=BOUND), lag=10)
    tidy_all(one)
    assert file_bytes(one, tmp_path) > FULL  # it stays at its peak, and what is free is used again
    fill(one, 4000, tidies=False)
    assert file_bytes(one, tmp_path) < FULL * 1.5
    floor, last = one.floor, one._last
    one.close()
    by_hand(tmp_path, "PRAGMA auto_vacuum = INCREMENTAL; VACUUM")  # as docs/publisher.md says
    one = store(tmp_path, replace(ENDLESS, max_bytes=BOUND), lag=10)
    assert (one.recovered.begun_because, one.floor, one._last) == (None, floor, last)
    assert file_bytes(one, tmp_path) > FULL
    tidy_all(one)
    assert file_bytes(one, tmp_path) < greatest_bytes(one)
    one.close()


def by_hand(directory: Path, script: str) -> None:
    with closing(sqlite3.connect(directory / "journal.db")) as connection:
        connection.executescript(script)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.sampled_from("ABC"), st.sampled_from(["", "k", "l", "m"])),
            st.sampled_from(["tidy", "restart"]),
        ),
        max_size=40,
    ),
    max_updates=st.integers(1, 12),
    max_keys=st.integers(0, 5),
    lag=st.integers(0, 12),
)
@example(steps=[("A", "l"), "tidy", ("A", "k")], max_updates=1, max_keys=1, lag=0)  # `l` goes, and then all ends
def test_the_newest_of_each_key_outlives_retention_and_restarts(
    tmp_path: Path, steps: list[tuple[str, str] | str], max_updates: int, max_keys: int, lag: int
) -> None:
    shutil.rmtree(tmp_path, ignore_errors=True)
    retention = replace(ENDLESS, max_updates=max_updates, max_keys=max_keys)
    one = store(tmp_path, retention, lag=lag)
    tseqs: dict[str, int] = {}
    newest: dict[tuple[bytes, bytes], Update] = {}
    seq = 0
    for step in [*steps, "restart"]:
        if step == "tidy":
            tidy_all(one)
            assert one.floor == max(1, seq - max_updates + 1)
        elif isinstance(step, str):
            one._connection.close()  # as by kill -9
            one = store(tmp_path, retention, lag=lag, new_epoch=8)
            assert (one.recovered.epoch, one.recovered.last) == (7, seq)
            assert one.recovered.tseqs == tseqs
            assert list(one.recovered.newest.values()) == list(newest.values())
        else:
            symbol, key = step
            seq += 1
            topic = f"ex.{symbol}."
            tseqs[topic] = tseqs.get(topic, 0) + 1
            one.append([entry([update(7, seq, tseqs[topic], topic, key)])])
            if key:
                newest.pop((topic.encode(), key.encode()), None)
                newest[topic.encode(), key.encode()] = update(7, seq, tseqs[topic], topic, key)
                while len(newest) > max_keys:
                    del newest[next(iter(newest))]
    tidy_all(one)
    rows = one._connection.execute("SELECT count(*) FROM kept UNION ALL SELECT count(*) FROM newest").fetchall()
    assert all(count <= max_keys for (count,) in rows)  # nothing piles up beside the updates
    one.close()
