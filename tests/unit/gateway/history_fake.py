"""A publisher's history as a script: what it holds, and what it does with each request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from execgate.wire.replay import End, Failed, Gone
from execgate.wire.update import Kind, Update
from gateway.history import HistoryClient, OnEnd, OnItems, Outcome


def update(seq: int, epoch: int = 7, topic: bytes = b"ex.A.", key: bytes = b"", size: int = 0) -> Update:
    payload = b'{"seq":%d,"epoch":%d,"fill":"%s"}' % (seq, epoch, b"x" * size)
    return Update(Kind.DATA, topic, epoch, seq, seq, 0, key, payload)


def beat(seq: int, epoch: int = 7) -> Update:
    return Update(Kind.HEARTBEAT, b"", epoch, seq, 0, 0, b"", b"")


@dataclass
class Asked:
    """A request that waits for its answer; a snapshot's range is 0 to 0."""

    epoch: int
    first: int
    last: int
    on_items: OnItems
    on_end: OnEnd


class FakeHistory:
    """Stands where a `HistoryClient` would; answers when the test says so.

    Attributes:
        log: by epoch, what is held.
        asked: replays, in order, from the beginning.
        waiting: those without an end.
        snapshots: the same for snapshots.
    """

    def __init__(self) -> None:
        self.log: dict[int, dict[int, Update]] = {}
        self.asked: list[tuple[int, int, int]] = []
        self.waiting: list[Asked] = []
        self.snapshots: list[Asked] = []
        self.make: Callable[[int, int], Update] = update

    @property
    def as_client(self) -> HistoryClient:
        return cast("HistoryClient", self)

    def publish(self, first: int, last: int, epoch: int = 7) -> None:
        self.log.setdefault(epoch, {}).update({seq: self.make(seq, epoch) for seq in range(first, last + 1)})

    def retain_from(self, seq: int, epoch: int = 7) -> None:
        self.log[epoch] = {each: held for each, held in self.log[epoch].items() if each >= seq}

    def replay(self, epoch: int, first: int, last: int, on_items: OnItems, on_end: OnEnd) -> None:
        assert 1 <= first <= last
        self.asked.append((epoch, first, last))
        self.waiting.append(Asked(epoch, first, last, on_items, on_end))

    def snapshot(self, on_items: OnItems, on_end: OnEnd) -> None:
        self.snapshots.append(Asked(0, 0, 0, on_items, on_end))

    def answer(self, most: int | None = None, outcome: Outcome | None = None, at_once: int = 100) -> None:
        """Answer the oldest request as the publisher does: with `most` items and `outcome`, or all and End."""
        asked = self.waiting.pop(0)
        held = self.log.get(asked.epoch, {})
        if asked.first not in held and outcome is None:
            newest = max(self.log) if self.log else 0
            seqs = self.log.get(newest, {})
            low, high = (min(seqs), max(seqs)) if seqs else (1, 0)
            asked.on_end(Gone(newest, low, high))
            return
        items = [held[seq] for seq in range(asked.first, asked.last + 1) if seq in held][:most]
        for start in range(0, len(items), at_once):
            asked.on_items(items[start : start + at_once])
        is_whole = len(items) == asked.last - asked.first + 1
        asked.on_end(outcome or (End(asked.epoch, asked.last) if is_whole else Failed("not whole")))
