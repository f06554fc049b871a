"""The heap: pauses are seen, a ramp is frozen once, and what was frozen is freed like anything else."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from execgate.service.heap import Heap


@pytest.fixture
def heap() -> Iterator[Heap]:
    heap = Heap()
    heap.start()
    yield heap
    heap.stop()


class Part:
    """Something that a connection is made of, and that may be part of a cycle."""

    def __init__(self) -> None:
        self.other: Part | None = None


def test_a_full_collection_is_seen_as_a_pause(heap: Heap) -> None:
    gc.disable()
    try:
        parts = [Part() for _ in range(20_000)]
        assert heap.longest_pause_s == 0
        gc.collect()
    finally:
        gc.enable()
    assert 0 < heap.longest_pause_s < 5
    assert len(parts) == 20_000


def test_nothing_is_seen_once_stopped() -> None:
    heap = Heap()
    heap.start()
    heap.stop()
    assert gc.get_freeze_count() == 0, "given back to the collector"
    gc.collect()
    assert heap.longest_pause_s == 0


def test_young_objects_are_collected_in_small_parts_while_it_watches() -> None:
    before = gc.get_threshold()
    heap = Heap()
    heap.start()
    youngest, middle, oldest = gc.get_threshold()
    heap.stop()
    assert youngest * (middle + 1) < 3_000, "of what is collected at once without the oldest"
    assert youngest * middle * oldest <= 70_000, "the oldest no less often than by default"
    assert gc.get_threshold() == before


def test_a_ramp_is_frozen_and_a_trickle_is_not(heap: Heap) -> None:
    before = gc.get_freeze_count()
    parts = [Part() for _ in range(1_000)]
    assert not heap.settle(249)
    assert gc.get_freeze_count() == before
    assert heap.settle(1_000)
    assert gc.get_freeze_count() >= before + 1_000
    assert not heap.settle(1_000), "nobody has come since"
    assert len(parts) == 1_000


def test_after_a_fall_the_next_ramp_counts_from_there(heap: Heap) -> None:
    assert heap.settle(5_000)
    assert not heap.settle(0)
    assert heap.settle(300)


def test_what_is_frozen_is_freed_with_its_last_reference(heap: Heap) -> None:
    part = Part()
    seen = weakref.ref(part)
    assert heap.settle(1_000)
    del part
    assert seen() is None


def test_young_garbage_is_collected_before_the_freeze_not_kept_by_it(heap: Heap) -> None:
    one, other = Part(), Part()
    one.other, other.other = other, one
    seen = weakref.ref(one)
    del one, other
    assert heap.settle(1_000)
    assert seen() is None
