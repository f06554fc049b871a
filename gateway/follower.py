"""A follower: one subscriber on its way to the head of the stream, and how far it has come."""

from typing import Any

from gateway.core.session import Since, Subscribe
from gateway.fanout import FeedState
from gateway.outbound import Outbound
from gateway.snapshots import Snapshot


class Follower:
    """One subscriber on its way to the head.

    Attributes:
        seq: its position in `epoch`; what is live for it is greater.
        snapshot: newest updates to be sent before what follows `seq`, from `snapshot_at` on; None once they are.
        answer: the `subscribed` that it waits for, None once it is said.
        heard_s: how long the feed had been heard when it asked.
        told: what it knows of the feed's state.
    """

    __slots__ = (
        "answer",
        "epoch",
        "gap",
        "heard_s",
        "interest",
        "is_blocked",
        "member",
        "mode",
        "recovered",
        "remaining",
        "seq",
        "since",
        "snapshot",
        "snapshot_at",
        "told",
        "wants_snapshot",
    )

    def __init__(self, member: Outbound, request: Subscribe, heard_s: float) -> None:
        self.member = member
        self.interest = request.interest
        self.mode = request.mode
        self.remaining = request.max_messages
        self.since: Since | None = request.since
        self.wants_snapshot = request.snapshot
        self.snapshot: Snapshot | None = None
        self.snapshot_at = 0
        self.answer: Any = (request.message_id,)
        self.recovered = False
        self.gap: dict[str, Any] | None = None
        self.epoch: int | None = None
        self.seq = 0
        self.heard_s = heard_s
        self.told = FeedState.LIVE
        self.is_blocked = False

    def begin_snapshot(self, snapshot: Snapshot) -> None:
        """Stand at the beginning of `snapshot`, and at its position behind it."""
        self.snapshot, self.snapshot_at, self.seq = snapshot, 0, snapshot.seq
