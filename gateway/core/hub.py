"""The hub: which subscribers an update goes to.

Subscribers with the same interest and envelope form a group. While the feed is drained, each update's frame,
prepared once an envelope, is staged with the groups that match its topic; after the drain each group that was
touched is written once, so what piled up travels in one write, and is joined once for the whole group. The cost of
an update is proportional to the groups that match it, whatever else there is.

Pure: members are opaque here; the shell (`gateway.fanout`) writes to them.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeAlias, TypeVar

from execgate.wire.events import PLAIN, Envelope
from gateway.core.interest import Interest

Door: TypeAlias = Callable[[bytes], int]
"""Takes bytes for one member and returns how many it took, as `socket.send` does."""


Name: TypeAlias = tuple[bytes, bytes, int]
"""Topic, conflation key and seq of an update."""


class Positioned(Protocol):
    """What the hub asks of a member: room to note where it stands in its group, and what to write to.

    Whoever changes its `door` while it is a member changes it in `Group.doors` too.
    """

    position: int
    door: Door


Member = TypeVar("Member", bound=Positioned)


class Group(Generic[Member]):
    """Subscribers that get the same frames.

    Attributes:
        members: in no particular order; changed by the hub alone.
        doors: the members' own, at the same positions. A flush goes over them and looks at nothing else of a
            member: with thousands of members, memory that is not touched is what makes a write cheap.
        flushed: how many updates were written to its doors so far.
        frames: staged since the last flush, with the seqs of the first and the last.
        names: topic, key and seq of each, where `conflates`; empty else.
        envelope: makes its frames: plain, or compressed.
        conflates: whether its members want the newest of each name when they can't take all.
        sheds: whether its members would rather miss updates than get them late.
        shed: how many updates they were told to miss so far.
        remaining: how many more updates it takes (`max_messages`), None for no end. Such a group has one member.
        skipped: how many came when it had that many staged, `first_skipped` to `last_skipped`.
    """

    __slots__ = (
        "conflates",
        "doors",
        "envelope",
        "first_seq",
        "first_skipped",
        "flushed",
        "frames",
        "interest",
        "last_seq",
        "last_skipped",
        "members",
        "names",
        "remaining",
        "shed",
        "sheds",
        "skipped",
    )

    def __init__(
        self, interest: Interest, envelope: Envelope, remaining: int | None, *, conflates: bool, sheds: bool
    ) -> None:
        self.interest = interest
        self.sheds = sheds
        self.shed = 0
        self.conflates = conflates
        self.names: list[Name] = []
        self.envelope = envelope
        self.remaining = remaining
        self.members: list[Member] = []
        self.doors: list[Door] = []
        self.flushed = 0
        self.frames: list[bytes] = []
        self.first_seq = 0
        self.last_seq = 0
        self.skipped = 0
        self.first_skipped = 0
        self.last_skipped = 0


class Hub(Generic[Member]):
    """The index of groups by topic."""

    def __init__(self) -> None:
        self._shared: dict[tuple[Interest, Envelope, bool, bool], Group[Member]] = {}
        # Groups stand in dicts for their order and their cheap removal; the values mean nothing.
        self._by_topic: dict[bytes, dict[Group[Member], None]] = {}
        self._by_prefix: dict[bytes, dict[Group[Member], None]] = {}
        self._prefix_lengths: list[int] = []  # of the keys of _by_prefix
        self._prefixes_of_length = Counter[int]()
        self._touched: list[Group[Member]] = []
        self._groups: dict[Group[Member], None] = {}

    def join(
        self,
        member: Member,
        interest: Interest,
        max_messages: int | None = None,
        envelope: Envelope = PLAIN,
        *,
        conflates: bool = False,
        sheds: bool = False,
    ) -> Group[Member]:
        """Add `member`; it gets what is staged from now on. Return its group, for `leave`."""
        group = self._shared.get((interest, envelope, conflates, sheds)) if max_messages is None else None
        if group is None:
            group = Group(interest, envelope, max_messages, conflates=conflates, sheds=sheds)
            if max_messages is None:
                self._shared[interest, envelope, conflates, sheds] = group
            self._index(group)
        member.position = len(group.members)
        group.members.append(member)
        group.doors.append(member.door)
        return group

    def leave(self, member: Member, group: Group[Member]) -> None:
        """Remove `member` from its group, and the group when it was the last."""
        last, door = group.members.pop(), group.doors.pop()
        if last is not member:
            group.members[member.position] = last
            group.doors[member.position] = door
            last.position = member.position
        if not group.members:
            if group.remaining is None:
                del self._shared[group.interest, group.envelope, group.conflates, group.sheds]
            self._unindex(group)

    def stage(self, topic: bytes, seq: int, data: bytes, key: bytes = b"") -> None:
        """Stage an update with every group that `topic` matches; its frame is prepared once an envelope."""
        prepared: dict[Envelope, bytes] = {}
        for group in self._matching(topic):
            frames = group.frames
            if not frames:
                if group.remaining == 0:
                    continue
                group.first_seq = seq
                self._touched.append(group)
            elif group.remaining == len(frames):  # full
                if not group.skipped:
                    group.first_skipped = seq
                group.skipped += 1
                group.last_skipped = seq
                continue
            frame = prepared.get(group.envelope)
            if frame is None:
                frame = prepared[group.envelope] = group.envelope.frame(data)
            frames.append(frame)
            if group.conflates:
                group.names.append((topic, key, seq))
            group.last_seq = seq

    def take_touched(self) -> list[Group[Member]]:
        """Return the groups that have frames staged; the caller writes and clears them."""
        touched, self._touched = self._touched, []
        return touched

    def members(self) -> Iterator[Member]:
        """Every subscriber, each once."""
        for group in list(self._groups):
            yield from list(group.members)

    def _matching(self, topic: bytes) -> Iterator[Group[Member]]:
        """Yield each group that matches once, since no two patterns of an interest match the same topic."""
        by_prefix = self._by_prefix
        for length in self._prefix_lengths:
            if length > len(topic):
                break
            yield from by_prefix.get(topic[:length], ())
        yield from self._by_topic.get(topic, ())

    def _index(self, group: Group[Member]) -> None:
        self._groups[group] = None
        _add(self._by_topic, group.interest.exact, group)
        _add(self._by_prefix, group.interest.prefixes, group)
        self._prefixes_of_length.update(map(len, group.interest.prefixes))
        self._prefix_lengths = sorted(self._prefixes_of_length)

    def _unindex(self, group: Group[Member]) -> None:
        del self._groups[group]
        _remove(self._by_topic, group.interest.exact, group)
        _remove(self._by_prefix, group.interest.prefixes, group)
        self._prefixes_of_length.subtract(map(len, group.interest.prefixes))
        self._prefixes_of_length = +self._prefixes_of_length  # without the lengths that nobody uses any more
        self._prefix_lengths = sorted(self._prefixes_of_length)


def _add(index: dict[bytes, dict[Group[Member], None]], keys: frozenset[bytes], group: Group[Member]) -> None:
    for key in keys:
        index.setdefault(key, {})[group] = None


def _remove(index: dict[bytes, dict[Group[Member], None]], keys: frozenset[bytes], group: Group[Member]) -> None:
    for key in keys:
        groups = index[key]
        del groups[group]
        if not groups:
            del index[key]
