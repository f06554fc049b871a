"""PURE: writes what a client hears of its stream, in the form that `records` reads; it judges nothing.

Called by clients that resume (the load generator's subscribers, the readers of the chaos run) for each event, in
order. It keeps the position to resume from, since that is part of what is recorded.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from execgate.audit import chain

Fields: TypeAlias = dict[str, Any]

_SEQS_KEPT = 4_096
MAX_PIECE = 512
"""Updates in one record where each seq is told."""


class Digests:
    """Digests of payloads by seq, shared by a crowd: most clients get the same text, which is hashed once."""

    def __init__(self) -> None:
        self._held: list[tuple[str, int]] = [("", 0)] * _SEQS_KEPT

    def of(self, seq: int, payload: str) -> int:
        """Return the digest of `payload`, whatever another client got as `seq`."""
        held, digest = self._held[seq % _SEQS_KEPT]
        if held != payload:
            digest = chain.digest(payload.encode())
            self._held[seq % _SEQS_KEPT] = payload, digest
        return digest


class Recording:
    """What one client writes down.

    Args:
        client: its name, its own among all that are audited together.
        digests: shared.
        write: gets each record, JSON-able.

    Attributes:
        epoch, position: everything of `epoch` up to `position` has passed; None before the first `subscribed`.
        is_subscribed: whether this connection was told so.
    """

    __slots__ = (
        "_answer",
        "_chain",
        "_count",
        "_digests",
        "_first",
        "_is_described",
        "_last",
        "_seqs",
        "_session",
        "_tells_seqs",
        "_write",
        "client",
        "epoch",
        "is_subscribed",
        "position",
    )

    def __init__(self, client: str, digests: Digests, write: Callable[[Fields], None]) -> None:
        self.client = client
        self.epoch = ""
        self.position: int | None = None
        self.is_subscribed = False
        self._digests = digests
        self._write = write
        self._is_described = False
        self._tells_seqs = False
        self._session: str | None = None
        self._answer: Fields | None = None  # `subscribed` without a position, until one comes
        # The run of updates under way.
        self._first = self._last = self._count = self._chain = 0
        self._seqs: list[int] = []

    def describe(self, mode: str, topics: Sequence[str]) -> None:
        """Say what it wants, before anything else; left out, that is what the first `subscribed` says."""
        self._is_described = True
        self._tells_seqs = mode == "conflate"
        self.write("client", mode=mode, topics=list(topics))

    def write(self, kind: str, **fields: Any) -> None:
        """Write a record as it is; what the audit does not know it skips."""
        self._write({"client": self.client, "is": kind, **fields})

    def asked(self, session: str | None, since: Fields | None) -> None:
        """A connection stands, as `session` of its gateway; the client asks for what follows `since`."""
        self._session = session
        self.is_subscribed = False
        self.write("asked", session=session, since=since)

    def update(self, epoch: str, seq: int, payload: str) -> None:
        """An update came; `payload` is the JSON of its `data` as it was received."""
        if self._answer is not None:
            self._begin_at(epoch, seq - 1)
        if epoch != self.epoch or (self._count and seq <= self._last) or len(self._seqs) >= MAX_PIECE:
            self.flush()
            self.epoch = epoch
        if not self._count:
            self._first = seq
        self._last = self.position = seq
        self._count += 1
        self._chain = chain.extend(self._chain, self._digests.of(seq, payload))
        if self._tells_seqs:
            self._seqs.append(seq)

    def flush(self) -> None:
        """Write the run of updates under way."""
        if self._count:
            told = {"seqs": self._seqs} if self._tells_seqs else {}
            self.write(
                "received",
                epoch=self.epoch,
                first=self._first,
                last=self._last,
                count=self._count,
                hash=self._chain,
                **told,
            )
        self._count = self._chain = 0
        self._seqs = []

    def subscribed(self, data: Fields) -> None:
        """A `subscribed` came."""
        self.flush()
        if not self._is_described:
            self.describe(data["mode"], data["topics"])
        self.is_subscribed = True
        if data["epoch"] is None:  # its gateway does not know the feed yet: what comes first will tell
            self._answer = data
            return
        self.epoch, self.position = data["epoch"], data["seq"]
        told = {name: data[name] for name in ("epoch", "seq", "recovered", "gap")}
        self.write("subscribed", session=self._session, **told)

    def _begin_at(self, epoch: str, seq: int) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            self.subscribed({**answer, "epoch": epoch, "seq": seq})

    def gap(self, data: Fields) -> None:
        """A `gap` came."""
        self.flush()
        if data["to"] is not None:
            self.position = max(self.position or 0, data["to"])
        self.write("gap", first=data["from"], last=data["to"], count=data["count"], why=data["why"])

    def feed(self, data: Fields) -> None:
        """A `feed` came."""
        if self._answer is not None and data["epoch"] is not None:
            self._begin_at(data["epoch"], data["seq"])
        if data["state"] == "epoch-changed":
            self.flush()
            self.epoch, self.position = data["epoch"], data["seq"]
        self.write("feed", state=data["state"], epoch=data["epoch"], seq=data["seq"])

    def heartbeat(self, data: Fields) -> None:
        """A `heartbeat` came; one before `subscribed` is of a position that nothing was said about yet."""
        if not self.is_subscribed or data["epoch"] is None:
            return
        if self._answer is not None:
            self._begin_at(data["epoch"], data["seq"])
        self.flush()
        self.epoch = data["epoch"]
        self.position = max(self.position or 0, data["seq"])
        told = {name: data[name] for name in ("epoch", "seq", "dropped", "conflated")}
        self.write("passed", **told)

    def closed(self, code: int, reason: str) -> None:
        """The connection is gone, or there was none."""
        self.flush()
        self._answer = None
        self.is_subscribed = False
        self.write("closed", code=code, reason=reason)

    def end(self) -> None:
        """The client ends by its own will: what follows its position it is not owed, if it is subscribed.

        One that is away has lost what it did not get; one that never was subscribed is in the books as such.
        """
        self.flush()
        if not self._is_described:
            self.describe("all", ["*"])
        if self.is_subscribed and self._answer is None:
            self.write("left", epoch=self.epoch, seq=self.position)
