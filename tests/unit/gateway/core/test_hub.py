"""The hub: each member gets each update that it asked for exactly once, in order, whoever joins and leaves."""

from hypothesis import given
from hypothesis import strategies as st

from execgate.wire.events import PLAIN
from gateway.core.hub import Door, Group, Hub
from gateway.core.interest import EVERY_TOPIC, Interest
from tests.unit.gateway.core.test_interest import PATTERNS, TOPICS, matches_naively


class Member:
    """A subscriber that writes down the frames that it was given."""

    door: Door

    def __init__(self) -> None:
        self.position = -1
        self.door = self._take
        self.group: Group[Member] | None = None
        self.frames: list[bytes] = []

    def _take(self, frame: bytes) -> int:
        self.frames.append(frame)
        return len(frame)


def flush(hub: Hub[Member]) -> int:
    """Write what is staged, as the fan-out does; return how many groups it concerned."""
    touched = hub.take_touched()
    for group in touched:
        frames, group.frames = group.frames, []
        assert frames
        for taken in frames:
            for door in group.doors:
                door(taken)
        assert [member.door for member in group.members] == group.doors
        if group.remaining is not None:
            group.remaining -= len(frames)
    return len(touched)


def frame(seq: int) -> bytes:
    return PLAIN.frame(str(seq).encode())


class Model:
    """A hub next to the naive list of who wants what."""

    def __init__(self) -> None:
        self.hub: Hub[Member] = Hub()
        self.wants: dict[Member, tuple[frozenset[str], int | None]] = {}
        self.owed: dict[Member, list[bytes]] = {}
        self.seq = 0

    def join(self, patterns: frozenset[str], most: int | None) -> None:
        member = Member()
        member.group = self.hub.join(member, Interest(patterns), most)
        self.wants[member] = (patterns, most)
        self.owed[member] = []

    def leave(self, at: int) -> None:
        if self.wants:
            member = list(self.wants)[at % len(self.wants)]
            assert member.group is not None
            self.hub.leave(member, member.group)
            del self.wants[member]

    def stage(self, topic: str) -> None:
        self.seq += 1
        self.hub.stage(topic.encode(), self.seq, str(self.seq).encode())
        for member, (patterns, most) in self.wants.items():
            if matches_naively(patterns, topic) and (most is None or len(self.owed[member]) < most):
                self.owed[member].append(frame(self.seq))

    def check(self) -> None:
        flush(self.hub)
        for member, owed in self.owed.items():
            assert member.frames == owed
        members = list(self.hub.members())
        assert len(members) == len(self.wants)
        assert set(members) == set(self.wants)
        for group in self.hub._groups:
            assert [member.position for member in group.members] == list(range(len(group.members)))


_SHARED = st.sampled_from([frozenset({"*"}), frozenset({"a*"}), frozenset({"a", "b"})])
_JOIN = st.tuples(
    st.just("join"), st.one_of(_SHARED, PATTERNS.map(frozenset)), st.one_of(st.none(), st.integers(1, 4))
)
_LEAVE = st.tuples(st.just("leave"), st.integers(0, 100))
_STAGE = st.tuples(st.just("stage"), st.lists(TOPICS, min_size=1, max_size=6))


@given(st.lists(st.one_of(_JOIN, _LEAVE, _STAGE), max_size=40))
def test_members_get_what_a_naive_model_gives_them(steps: list[tuple[object, ...]]) -> None:
    model = Model()
    for step in steps:
        match step:
            case ("join", frozenset() as patterns, int() | None as most):
                model.join(patterns, most)
            case ("leave", int() as at):
                model.leave(at)
            case ("stage", list() as topics):
                for topic in topics:
                    model.stage(topic)
        model.check()
    while model.wants:
        model.leave(0)
    hub = model.hub
    leftovers = (hub._groups, hub._shared, hub._by_topic, hub._by_prefix, hub._prefix_lengths)
    assert not any(leftovers), "an empty hub keeps nothing"
    assert not hub._prefixes_of_length


def test_one_frame_is_prepared_for_all_groups() -> None:
    hub: Hub[Member] = Hub()
    members = [Member() for _ in range(3)]
    for member, patterns in zip(members, (["*"], ["a*"], ["a"]), strict=True):
        hub.join(member, Interest(patterns))
    hub.stage(b"a", 1, b"1")
    assert flush(hub) == 3
    assert len({id(member.frames[0]) for member in members}) == 1


def test_equal_interests_share_a_group_and_limited_ones_never_do() -> None:
    hub: Hub[Member] = Hub()
    first, second, limited = Member(), Member(), Member()
    group = hub.join(first, EVERY_TOPIC)
    assert hub.join(second, Interest(["*", "a"])) is group
    assert hub.join(limited, EVERY_TOPIC, 1) is not group


def test_an_update_that_two_patterns_match_comes_once() -> None:
    hub: Hub[Member] = Hub()
    member = Member()
    hub.join(member, Interest(["ab", "a*", "b"]))
    hub.stage(b"ab", 1, b"1")
    hub.stage(b"b", 2, b"2")
    hub.stage(b"c", 3, b"3")
    flush(hub)
    assert member.frames == [frame(1), frame(2)]


def test_nothing_is_touched_where_nobody_matches() -> None:
    hub: Hub[Member] = Hub()
    hub.join(Member(), Interest(["a"]))
    hub.stage(b"b", 1, b"1")
    assert flush(hub) == 0


def test_a_group_left_by_its_last_member_while_frames_are_staged_is_harmless() -> None:
    hub: Hub[Member] = Hub()
    member = Member()
    group = hub.join(member, EVERY_TOPIC, 2)
    hub.stage(b"a", 1, b"1")
    hub.leave(member, group)
    flush(hub)
    assert member.frames == []
