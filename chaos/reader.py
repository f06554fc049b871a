"""A client that resumes: keeps its position, connects anew to any gateway, and writes down what it gets.

It judges nothing: the audit does. What it writes has the form of `execgate.audit.records`.
"""

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, TextIO

import ujson

from chaos.client import Connection
from execgate.audit import chain
from execgate.wire import events
from loadgen.core.target import Target

_PREFIX = '{"event":"receive-execs","data":'
_UPDATE = re.compile(r'"epoch":"([0-9a-f]{16})","seq":(\d+),"tseq":\d+,"execs"')
_SEQS_KEPT = 4_096
_BACKOFF_S = (0.02, 0.5)
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


class Reader:
    """One client.

    Args:
        name: its own.
        subscription: mode and topics.
        gateways: any of which will do.
        digests: shared.
        output: gets its records.
        rng: chooses gateways and pauses.
        ignores_position: subscribe anew after each disconnect, as if nothing had come before: the control that the
            audit must find.

    Attributes:
        position: everything of `epoch` up to it has passed; None before the first `subscribed`.
        counts: of `connects`, `resumes` (that asked with a position), `recovered`, `closed-CODE`, `errors`,
            `received`, `gaps`, `stale`.
        resumed_s: of each resume, from the loss of a connection to the next `subscribed`, our pause included.
    """

    def __init__(
        self,
        name: str,
        subscription: dict[str, Any],
        gateways: list[Target],
        digests: Digests,
        output: TextIO,
        rng: random.Random,
        *,
        ignores_position: bool = False,
    ) -> None:
        self.name = name
        self.position: int | None = None
        self.counts: Counter[str] = Counter()
        self.resumed_s: list[float] = []
        self._subscription = subscription
        self._gateways = gateways
        self._digests = digests
        self._output = output
        self._rng = rng
        self._ignores_position = ignores_position
        self._tells_seqs = subscription.get("mode") == "conflate"
        self._epoch = ""
        self._is_subscribed = False
        self._lost_s: float | None = None
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._ending = False
        # The run of updates under way.
        self._first = self._last = self._count = self._chain = 0
        self._seqs: list[int] = []
        topics = subscription.get("topics", ["*"])
        self._write("client", mode=subscription.get("mode", "all"), topics=topics)

    def connect(self) -> None:
        """Connect to a gateway, any of them."""
        if self._ending:
            return
        target = self._rng.choice(self._gateways)
        self.counts["connects"] += 1
        self._is_subscribed = False
        self._connection = Connection(target, self._take, self._on_end)
        self._connecting = asyncio.get_running_loop().create_task(self._connection.connect(target))

    def drop(self) -> None:
        """Lose the connection without a word."""
        if self._connection is not None:
            self._connection.abort()

    def pause(self, paused: bool) -> None:
        """Stop reading, or read on."""
        if self._connection is not None:
            self._connection.pause(paused)

    def end(self) -> None:
        """Disconnect for good; the last record is written."""
        self._ending = True
        self.drop()
        self._flush()

    def _write(self, kind: str, **fields: Any) -> None:
        self._output.write(json.dumps({"client": self.name, "is": kind, **fields}) + "\n")

    def _on_end(self, code: int, reason: str) -> None:
        self._flush()
        self._connection = None
        self._lost_s = self._lost_s or time.monotonic()
        self.counts[f"closed-{code}"] += 1
        self._write("closed", code=code, reason=reason)
        if not self._ending:
            asyncio.get_running_loop().call_later(self._rng.uniform(*_BACKOFF_S), self.connect)

    def _take(self, text: str) -> None:
        if text.startswith(_PREFIX):
            found = _UPDATE.search(text, len(_PREFIX))
            if found is not None:
                self._take_update(found.group(1), int(found.group(2)), text[len(_PREFIX) : -1])
                return
        message = ujson.loads(text)
        take: Callable[[dict[str, Any]], None] | None = {
            events.HELLO: self._hello,
            events.SUBSCRIBED: self._subscribed,
            events.GAP: self._gap,
            events.FEED: self._feed,
            events.HEARTBEAT: self._heartbeat,
            events.DRAIN: self._drain,
            events.ERROR: self._error,
        }.get(message["event"])
        if take is not None:
            take(message["data"])

    def _take_update(self, epoch: str, seq: int, payload: str) -> None:
        self.counts["received"] += 1
        if epoch != self._epoch or (self._count and seq <= self._last) or len(self._seqs) >= MAX_PIECE:
            self._flush()
            self._epoch = epoch
        if not self._count:
            self._first = seq
        self._last = self.position = seq
        self._count += 1
        self._chain = chain.extend(self._chain, self._digests.of(seq, payload))
        if self._tells_seqs:
            self._seqs.append(seq)

    def _flush(self) -> None:
        if self._count:
            told = {"seqs": self._seqs} if self._tells_seqs else {}
            self._write(
                "received",
                epoch=self._epoch,
                first=self._first,
                last=self._last,
                count=self._count,
                hash=self._chain,
                **told,
            )
        self._count = self._chain = 0
        self._seqs = []

    def _hello(self, data: dict[str, Any]) -> None:
        asked = dict(self._subscription)
        if self.position is None and data["epoch"]:
            asked["since"] = {"epoch": data["epoch"], "seq": 0}
        elif self.position is not None and not self._ignores_position:
            asked["since"] = {"epoch": self._epoch, "seq": self.position}
            self.counts["resumes"] += 1
        self._write("asked", gateway=data["gateway"], since=asked.get("since"))
        if self._connection is not None:
            self._connection.send(json.dumps({"event": events.SUBSCRIBE, "data": asked}).encode())

    def _subscribed(self, data: dict[str, Any]) -> None:
        self._flush()
        self._is_subscribed = True
        if self._lost_s is not None:
            self.resumed_s.append(time.monotonic() - self._lost_s)
            self._lost_s = None
        self._epoch, self.position = data["epoch"], data["seq"]
        self.counts["recovered"] += data["recovered"]
        told = {name: data[name] for name in ("epoch", "seq", "recovered", "gap")}
        self._write("subscribed", **told)

    def _gap(self, data: dict[str, Any]) -> None:
        self._flush()
        self.counts["gaps"] += 1
        self.counts[f"gap-{data['why']}"] += 1
        if data["to"] is not None:
            self.position = max(self.position or 0, data["to"])
        self._write("gap", first=data["from"], last=data["to"], count=data["count"], why=data["why"])

    def _feed(self, data: dict[str, Any]) -> None:
        if data["state"] == "epoch-changed":
            self._flush()
            self._epoch, self.position = data["epoch"], data["seq"]
        self.counts[data["state"]] += 1
        self._write("feed", state=data["state"], epoch=data["epoch"], seq=data["seq"])

    def _heartbeat(self, data: dict[str, Any]) -> None:
        if not self._is_subscribed:  # it is of a position that nothing was said about yet
            return
        self._flush()
        self._epoch = data["epoch"]
        self.position = max(self.position or 0, data["seq"])
        told = {name: data[name] for name in ("epoch", "seq", "dropped", "conflated")}
        self._write("passed", **told)

    def _drain(self, _data: dict[str, Any]) -> None:
        self.counts["drains"] += 1
        self.drop()

    def _error(self, data: dict[str, Any]) -> None:
        self.counts["errors"] += 1
        self._write("error", **data)
