"""The ring against a list that forgets nothing: no hole, within its bound, every read right at its edges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execgate.wire import history as module
from execgate.wire.update import Kind, Update
from gateway.core.ring import Ring


def update(seq: int, size: int = 1, epoch: int = 7) -> Update:
    return Update(Kind.DATA, b"ex.A.", epoch, seq, seq, 0, b"", b"x" * size)


def seqs(updates: list[Update]) -> list[int]:
    return [each.seq for each in updates]


def filled(first: int, last: int, max_bytes: int = 1_000) -> Ring:
    ring = Ring(max_bytes)
    ring.restart(7, first - 1)
    for seq in range(first, last + 1):
        ring.append(update(seq))
    return ring


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 12)),
        st.tuples(st.just("restart"), st.integers(0, 5)),
        st.tuples(st.just("read"), st.integers(-3, 40)),
    ),
    max_size=60,
)


@given(_STEPS, st.integers(1, 30), st.sampled_from([1, 3, 4_096]))
def test_it_holds_the_newest_within_its_bound_without_a_hole(
    steps: list[tuple[str, int]], max_bytes: int, trim_after: int
) -> None:
    before, module._TRIM_AFTER = module._TRIM_AFTER, trim_after
    try:
        ring = Ring(max_bytes)
        ring.restart(7, 0)
        model: list[Update] = []
        position = 0
        for what, amount in steps:
            if what == "append":
                position += 1
                model.append(update(position, amount))
                ring.append(model[-1])
                while len(model) > 1 and sum(len(each.payload) for each in model) > max_bytes:
                    del model[0]
            elif what == "restart":
                position += amount
                ring.restart(7, position)
                model = []
            else:
                for last in (amount - 1, amount, amount + 3, position, position + 9):
                    assert ring.read(amount, last) == [each for each in model if amount <= each.seq <= last]
            assert (ring.epoch, ring.ceiling, ring.floor) == (7, position, position - len(model) + 1)
            assert ring.read(ring.floor, ring.ceiling) == model
            assert len(ring._updates) <= 2 * len(model) + trim_after + 1, (
                "what was let go of takes no place for long"
            )
    finally:
        module._TRIM_AFTER = before


def test_the_edges_of_a_read() -> None:
    ring = filled(11, 15)
    assert (ring.floor, ring.ceiling) == (11, 15)
    assert seqs(ring.read(11, 11)) == [11]
    assert seqs(ring.read(15, 15)) == [15]
    assert seqs(ring.read(10, 12)) == [11, 12]
    assert seqs(ring.read(14, 99)) == [14, 15]
    assert ring.read(16, 20) == ring.read(5, 10) == ring.read(13, 12) == []


def test_the_newest_is_held_whatever_its_size() -> None:
    ring = filled(1, 3, max_bytes=10)
    ring.append(update(4, size=1_000))
    assert seqs(ring.read(1, 9)) == [4]
    ring.append(update(5, size=1))
    assert seqs(ring.read(1, 9)) == [5]


@pytest.mark.parametrize("wrong", [update(3), update(2), update(5), update(4, epoch=8)])
def test_whatever_is_not_the_next_one_is_refused(wrong: Update) -> None:
    ring = filled(1, 3)
    with pytest.raises(ValueError, match="after 3 of 7"):
        ring.append(wrong)


def test_another_epoch_begins_with_nothing_and_its_bytes_anew() -> None:
    ring = filled(1, 10, max_bytes=10)
    ring.restart(8, 4)
    assert (ring.epoch, ring.floor, ring.ceiling, ring.read(1, 99)) == (8, 5, 4, [])
    for seq in range(5, 15):
        ring.append(update(seq, epoch=8))
    assert seqs(ring.read(1, 99)) == list(range(5, 15))
