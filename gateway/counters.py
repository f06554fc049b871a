"""What a gateway process has done since it started: plain numbers, read by `/stats` and the CSV line."""

from collections import Counter

from execgate.measure.buckets import Buckets


class Counters:
    """One object a process; everything that counts something holds it.

    Attributes:
        matched: updates that concerned a subscriber, one for each: the next four are their fates, if none waits.
        delivered: updates written to sockets, one for each subscriber that got it.
        sent_bytes: of all frames written to sockets.
        dropped: updates a volatile subscriber could not take, one for each subscriber.
        shed: those of them that this process dropped because it was behind its feed.
        conflated: updates whose place a newer one took before a subscriber could take them.
        discarded: updates that were queued for a subscriber when it ended.
        orders: by how they ended: a status, `disconnected`, or `late` for an answer after the end.
        closes: by the code that this gateway sent, or `lost` where the peer was gone first.
        drained: sessions that were told to leave, because this process ends.
        refused: connections that got no session, by reason.
        upstream: what the feed brought: updates, gaps, missing, duplicates, malformed.
        flush_s: how long each flush took, to all whom it concerned.
        age_s: how old the oldest update of each flush was at its end, by its stamp.
        order_s: from an order's arrival to its end.
    """

    __slots__ = (
        "closes",
        "conflated",
        "age_s",
        "delivered",
        "discarded",
        "drained",
        "dropped",
        "flush_s",
        "matched",
        "order_s",
        "orders",
        "refused",
        "sent_bytes",
        "shed",
        "upstream",
    )

    def __init__(self) -> None:
        self.matched = 0
        self.delivered = 0
        self.sent_bytes = 0
        self.dropped = 0
        self.shed = 0
        self.conflated = 0
        self.discarded = 0
        self.drained = 0
        self.orders: Counter[str] = Counter()
        self.closes: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.upstream: Counter[str] = Counter()
        self.flush_s = Buckets()
        self.age_s = Buckets()
        self.order_s = Buckets()
