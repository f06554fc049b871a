"""The oracle: what was published, and for each client whether its stream tells the truth about it.

It judges one event after the other, as `docs/protocol.md` has them: what was received, what was told as lost, by
whose fault, with which range and count; and at the end that nothing is left without a fate.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from execgate.wire.events import PLAIN
from execgate.wire.update import Kind, Update, decode, epoch_text
from gateway.core.interest import Interest
from tests.simulation.plan import ClientPlan

if TYPE_CHECKING:
    from tests.simulation.world import World

_PREFIX = PLAIN.prefix.decode()
Name = tuple[bytes, bytes]


class Violation(AssertionError):  # noqa: N818  # of what must be true
    """What the simulation looks for."""


class Truth:
    """All that was ever committed or published, by epoch and seq."""

    def __init__(self) -> None:
        self.epochs: list[str] = []
        self.updates: dict[str, list[Update]] = {}  # seq s at s - 1
        self.texts: dict[str, list[str]] = {}
        self._tseqs: dict[tuple[str, bytes], int] = {}

    def begins(self, epoch: int) -> None:
        """A publisher starts in `epoch`."""
        text = epoch_text(epoch)
        if text not in self.updates:
            self.epochs.append(text)
            self.updates[text], self.texts[text] = [], []

    def note(self, update: Update) -> None:
        """`update` exists; it must be the one that had its number before, or the next."""
        text = epoch_text(update.epoch)
        updates = self.updates[text]
        if update.seq <= len(updates):
            if updates[update.seq - 1] != update:
                raise Violation(f"seq {update.seq} of epoch {text} names two payloads")
            return
        if update.seq != len(updates) + 1:
            raise Violation(f"seq {update.seq} of epoch {text} comes after {len(updates)}")
        tseq = self._tseqs.get((text, update.topic), 0) + 1
        if update.tseq != tseq:
            raise Violation(f"seq {update.seq} of epoch {text} has tseq {update.tseq}, expected {tseq}")
        self._tseqs[text, update.topic] = tseq
        updates.append(update)
        self.texts[text].append(update.payload.decode())

    def published(self, frames: Sequence[bytes]) -> None:
        """The publisher sends these on its feed."""
        message = decode(frames)
        if message.kind == Kind.DATA:
            self.note(message)

    def matching(self, epoch: str, after: int, until: int, interest: Interest) -> list[Update]:
        """What an interest is owed of seqs `after` + 1 to `until`."""
        if until <= after:
            return []
        return [u for u in self.updates[epoch][after:until] if interest.matches(u.topic)]


class Oracle:
    """One client's account, over all its sessions.

    Attributes:
        position: what it would resume behind, as the protocol says: epoch and seq.
        settled: of `epoch`; all that matched up to it has its fate.
    """

    def __init__(self, world: "World", name: str, plan: ClientPlan) -> None:
        self.position: tuple[str, int] | None = None
        self.epoch: str | None = None
        self.settled = 0
        self._world = world
        self._name = name
        self._plan = plan
        self.interest = Interest(plan.topics)
        self._merged: dict[Name, int] = {}  # of mode conflate: skipped seqs whose newer one has not come
        self._carried: dict[Name, int] = {}  # the same, of sessions that have ended
        self.begin_session()

    # -- the client's side

    def begin_session(self) -> None:
        """A new connection: its counts begin anew."""
        self._carried.update(self._merged)
        self._merged.clear()
        self.received = self.dropped = self.skipped = 0
        self.beat: dict[str, Any] = {}
        self.is_subscribed = False
        self._asked: dict[Any, tuple[Interest, tuple[str, int] | None, bool]] = {}  # by id: what `asks` said
        self._since: tuple[str, int] | None = None
        self._snapshot: int | None = None  # its position, while it may be under way
        self._snapshot_names: dict[Name, int] = {}
        self._left: int | None = None  # of max_messages

    def asks(self, request: Any, interest: Interest, since: tuple[str, int] | None, *, snapshot: bool) -> None:
        """The client subscribes."""
        self._asked[request] = (interest, since, snapshot)

    @property
    def is_asking(self) -> bool:
        """Whether a request of this session has no answer yet."""
        return bool(self._asked)

    # -- what comes

    def take(self, text: str, message: dict[str, Any]) -> None:
        """Judge one event."""
        event, data = message["event"], message["data"]
        if event == "receive-execs":
            self._receive(text, data)
        elif event == "subscribed":
            self._subscribed(data, message.get("id"))
        elif event == "heartbeat":
            self._heartbeat(data)
        elif event == "gap":
            self._gap(data)
        elif event == "feed":
            self._feed(data)
        elif event == "unsubscribed":
            self._unsubscribed(data)
        elif event == "error":
            raise self._wrong(f"error {data}")

    def _receive(self, text: str, data: dict[str, Any]) -> None:
        epoch, seq = data["epoch"], data["seq"]
        if not self.is_subscribed:
            raise self._wrong(f"seq {seq} before it was told that it is subscribed")
        if self.epoch is None:  # it subscribed before the gateway knew its feed: nobody was owed what came before
            self.epoch, self.settled = epoch, seq - 1
        if epoch != self.epoch:
            raise self._wrong(f"seq {seq} of epoch {epoch} while in {self.epoch}")
        truth = self._world.truth
        if seq > len(truth.updates[epoch]):
            raise self._wrong(f"seq {seq}, which was never published")
        update = truth.updates[epoch][seq - 1]
        if text[len(_PREFIX) : -1] != truth.texts[epoch][seq - 1]:
            raise self._wrong(f"seq {seq} with other bytes")
        if not self.interest.matches(update.topic):
            raise self._wrong(f"seq {seq} of topic {update.topic!r}, which it did not ask for")
        self.received += 1
        self.position = (epoch, seq)
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise self._wrong(f"seq {seq} beyond max_messages")
        if self._snapshot is not None and seq <= self._snapshot:
            self._receive_newest(update)
            return
        self._end_snapshot(is_whole=True)
        if seq <= self.settled:
            raise self._wrong(f"seq {seq} after {self.settled}: double, out of order, or told as lost")
        self._skip(epoch, seq - 1)
        self.settled = seq
        if update.key:
            self._merged.pop((update.topic, update.key), None)
            self._carried.pop((update.topic, update.key), None)

    def _receive_newest(self, update: Update) -> None:
        name = (update.topic, update.key)
        if name in self._snapshot_names or not update.key:
            raise self._wrong(f"seq {update.seq} in a snapshot: {name} had come, or has no key")
        if self._snapshot_names and update.seq <= max(self._snapshot_names.values()):
            raise self._wrong(f"seq {update.seq} out of order in a snapshot")
        assert self._snapshot is not None
        assert self.epoch is not None
        self._snapshot_names[name] = update.seq
        if self._world.is_calm:
            for later in self._world.truth.updates[self.epoch][update.seq : self._snapshot]:
                if (later.topic, later.key) == name:
                    raise self._wrong(f"seq {update.seq} in a snapshot, where {later.seq} is newer")

    def _end_snapshot(self, *, is_whole: bool) -> None:
        if self._snapshot is None:
            return
        until, self._snapshot = self._snapshot, None
        if not is_whole or not self._world.is_calm or self.epoch is None:
            return
        for update in self._world.truth.matching(self.epoch, 0, until, self.interest):
            if update.key and (update.topic, update.key) not in self._snapshot_names:
                raise self._wrong(f"a snapshot without seq {update.seq}, or a newer one of its name")

    def _skip(self, epoch: str, until: int) -> None:
        """Nothing that matches may stand between what is settled and `until`, but in mode conflate."""
        owed = self._world.truth.matching(epoch, self.settled, until, self.interest)
        if not owed:
            return
        if self._plan.mode != "conflate":
            raise self._wrong(f"lost {_seqs(owed)}: nobody told")
        for update in owed:
            if not update.key:
                raise self._wrong(f"lost seq {update.seq}, which has no key, in mode conflate")
            self._merged[update.topic, update.key] = update.seq
        self.skipped += len(owed)

    def _advance(self, until: int, why: str) -> None:
        """All up to `until` has passed, and nothing of it waits any more."""
        if self.epoch is None:
            return
        if until > len(self._world.truth.updates[self.epoch]):
            raise self._wrong(f"{why} {until}, which was never published")
        owed = self._world.truth.matching(self.epoch, self.settled, until, self.interest)
        if owed:
            raise self._wrong(f"lost {_seqs(owed)}: {why} {until} says that they have passed")
        if self._merged:
            raise self._wrong(f"merged, and no newer one came: {self._merged} before {why} {until}")
        self.settled = max(self.settled, until)

    def _subscribed(self, data: dict[str, Any], request: Any) -> None:
        if request != next(iter(self._asked), None):
            raise self._wrong(f"an answer to {request}, where {list(self._asked)} wait")
        interest, since, snapshot = self._asked.pop(request)
        if since is not None:
            self._since = since
            if self._asked and not data["recovered"] and data["gap"] is None:
                return  # another request has replaced it before it was known how it is served
        epoch, seq, gap, since = data["epoch"], data["seq"], data["gap"], self._since
        self._left = self._plan.max_messages
        if data["recovered"]:
            if since != (epoch, seq):
                raise self._wrong(f"subscribed {data} where it said {since}")
        elif gap is not None:
            if since is None or gap["from"] != since[1] + 1:
                raise self._wrong(f"subscribed {data} where it said {since}")
            self._check_missed(data, gap, since, is_snapshot=snapshot)
            self._carried.clear()
            self._merged.clear()
        elif self.is_subscribed and self.epoch == epoch and self._snapshot is None and not snapshot:
            self._advance(seq, "subscribed at")
        self._end_snapshot(is_whole=False)
        self.is_subscribed = True
        self.interest = interest
        self.epoch, self.settled = epoch, seq
        if epoch is None:
            return
        self._check_exists(seq, "subscribed at")
        if snapshot and not data["recovered"]:
            self._snapshot, self._snapshot_names = seq, {}
        elif self.position is None or self.position[0] != epoch or seq > self.position[1]:
            self.position = (epoch, seq)

    def _check_missed(
        self, data: dict[str, Any], gap: dict[str, Any], since: tuple[str, int], *, is_snapshot: bool
    ) -> None:
        why, epochs, is_strict = gap["why"], self._world.truth.epochs, self._world.plan.config.is_strict
        if why in ("evicted", "unavailable"):
            if data["epoch"] != since[0] or data["seq"] != gap["to"]:
                raise self._wrong(f"subscribed {data} where it said {since}")
            self._check_why(data["epoch"], gap["to"], why, is_snapshot=is_snapshot)
        elif why == "epoch":
            if data["epoch"] == since[0] or gap["to"] is not None or (data["seq"] and not is_snapshot):
                raise self._wrong(f"subscribed {data} where it said {since}")
            if is_strict and epochs.index(data["epoch"]) < epochs.index(since[0]):
                raise self._wrong(f"subscribed {data}, an older epoch than that of {since}")
        else:  # `future`, among others: nobody has a position that never was
            raise self._wrong(f"subscribed {data} where it said {since}")

    def _check_why(self, epoch: str, last: int, why: str, *, is_snapshot: bool = False) -> None:
        """Whether it may be told that what is up to `last` can't be had."""
        world = self._world
        if why == "evicted" and epoch == world.truth.epochs[-1] and not is_snapshot and last >= world.floor:
            raise self._wrong(f"told as evicted up to {last}, and the publisher holds {world.floor}")
        if why == "unavailable" and world.plan.config.is_strict:
            raise self._wrong(f"told as unavailable up to {last}, and the publisher was hardly away")

    def _check_exists(self, seq: int, what: str) -> None:
        assert self.epoch is not None
        if seq > len(self._world.truth.updates[self.epoch]):
            raise self._wrong(f"{what} {seq}, which was never published")

    def _heartbeat(self, data: dict[str, Any]) -> None:
        epoch, seq = data["epoch"], data["seq"]
        self._end_snapshot(is_whole=True)
        if self.epoch is None and epoch is not None:
            self.epoch, self.settled = epoch, seq
        if epoch != self.epoch:
            raise self._wrong(f"a heartbeat of epoch {epoch} while in {self.epoch}")
        if epoch is None:
            return
        if seq < self.settled:
            raise self._wrong(f"a heartbeat at {seq} after {self.settled}")
        self._advance(seq, "a heartbeat at")
        if self.position is None or self.position[0] != epoch or seq > self.position[1]:
            self.position = (epoch, seq)
        if data["dropped"] != self.dropped or data["conflated"] != self.skipped or data["sent"] > self.received:
            raise self._wrong(
                f"{data} where {self.received} came, {self.dropped} were told, {self.skipped} were merged"
            )
        self.beat = data

    def _gap(self, data: dict[str, Any]) -> None:
        first, last, count, why = data["from"], data["to"], data["count"], data["why"]
        self._end_snapshot(is_whole=False)
        if self.epoch is None:
            return
        if first <= self.settled:
            raise self._wrong(f"{data} after {self.settled}")
        self._advance(first - 1, "a gap from")
        if why == "epoch":
            self._carried.clear()
            return  # `feed` follows
        if why == "slow":
            owed = self._world.truth.matching(self.epoch, first - 1, last, self.interest)
            right = [first, last, len(owed)]
            if self._plan.mode != "volatile" or not owed or [owed[0].seq, owed[-1].seq, count] != right:
                raise self._wrong(f"{data} where {_seqs(owed)} match")
            self.dropped += count
        elif why == "upstream":
            self._check_upstream(first, last)
            self._carried.clear()
        else:
            self._check_why(self.epoch, last, why)
            self._carried.clear()
        self._check_exists(last, "a gap to")
        self.settled = last

    def _check_upstream(self, first: int, last: int) -> None:
        world = self._world
        if world.plan.config.is_strict and self.epoch == world.truth.epochs[-1] and last >= world.floor:
            raise self._wrong(f"{first} to {last} lost upstream, and the publisher holds {world.floor}")

    def _feed(self, data: dict[str, Any]) -> None:
        self._end_snapshot(is_whole=False)
        if data["state"] == "epoch-changed":
            if data["previous"] != self.epoch and self.epoch is not None:
                raise self._wrong(f"feed {data} while in {self.epoch}")
            if self._merged:
                raise self._wrong(f"merged, and no newer one came: {self._merged} before {data}")
            self.epoch, self.settled = data["epoch"], 0
            self._carried.clear()
        elif self.is_subscribed and not self._asked:  # else it may be where the gateway stands
            if data["epoch"] != self.epoch:
                raise self._wrong(f"feed {data} while in {self.epoch}")
            self._advance(data["seq"], f"feed {data['state']} at")

    def _unsubscribed(self, data: dict[str, Any]) -> None:
        if data["reason"] == "max_messages" and (self._left is None or self._left - self.skipped > 0):
            raise self._wrong(f"{data}, and {self._left} were left")
        self.is_subscribed = False

    # -- the end

    @property
    def is_at_head(self) -> bool:
        """Whether it has been told that it has all."""
        epoch = self._world.truth.epochs[-1]
        return self.epoch == epoch and self.settled == self._world.head and self.beat.get("seq") == self.settled

    def check_end(self) -> None:
        """When all is quiet: everything has its fate, and the last heartbeat has counted it."""
        left = {**self._merged, **self._carried}
        if left:
            raise self._wrong(f"merged, and no newer one ever came: {left}")
        if self.beat["sent"] != self.received:
            raise self._wrong(f"{self.beat} where {self.received} came")

    def _wrong(self, what: str) -> Violation:
        return Violation(f"{self._name} ({self._plan.mode}, {','.join(self._plan.topics)}): {what}")


def _seqs(updates: Iterable[Update]) -> str:
    return " ".join(str(update.seq) for update in updates)
