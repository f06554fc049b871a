"""The log in memory against a list of everything ever appended."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execgate.wire.history import MemoryLog
from execgate.wire.update import Kind, Update


def update(seq: int, size: int = 0) -> Update:
    return Update(Kind.DATA, b"ex.Q.", 1, seq, seq, 0, b"", b"x" * size)


def naive_kept(appended: list[Update], max_updates: int, max_bytes: int) -> list[Update]:
    """The longest tail within both bounds, the newest in any case."""
    for start in range(len(appended)):
        tail = appended[start:]
        if len(tail) <= max_updates and sum(len(u.payload) for u in tail) <= max_bytes:
            return tail
    return appended[-1:]


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 12), max_size=25),
    max_updates=st.integers(1, 10),
    max_bytes=st.integers(0, 60),
    first=st.integers(-2, 28),
    last=st.integers(-2, 28),
)
def test_it_holds_the_newest_within_both_bounds_and_reads_any_range(
    sizes: list[int], max_updates: int, max_bytes: int, first: int, last: int
) -> None:
    log = MemoryLog(max_updates, max_bytes)
    appended: list[Update] = []
    for seq, size in enumerate(sizes, 1):
        appended.append(update(seq, size))
        log.append(appended[-1])
        kept = naive_kept(appended, max_updates, max_bytes)
        assert (log.floor, log.ceiling) == (kept[0].seq, seq)
        assert log.read(log.floor, log.ceiling) == kept
        assert log.read(first, last) == [one for one in kept if first <= one.seq <= last]


def test_an_empty_log_has_its_floor_above_its_ceiling_and_reads_nothing() -> None:
    log = MemoryLog(10, 1000)
    assert (log.floor, log.ceiling) == (1, 0)
    assert log.read(0, 10) == []
    assert log.read(1, 0) == []


@pytest.mark.parametrize("seq", [0, 1, 3, 4])
def test_a_seq_that_is_not_the_next_is_our_bug(seq: int) -> None:
    log = MemoryLog(10, 1000)
    log.append(update(1))
    with pytest.raises(ValueError, match=f"seq {seq} after 1"):
        log.append(update(seq))
    assert log.ceiling == 1
    log.append(update(2))
