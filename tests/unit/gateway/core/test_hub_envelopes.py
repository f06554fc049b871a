"""Envelopes in the hub: an update is prepared once for all that chose the same, however many its groups."""

from execgate.wire.events import PLAIN, Envelope
from gateway.core.hub import Hub
from gateway.core.interest import EVERY_TOPIC, Interest
from tests.unit.gateway.core.test_hub import Member, flush


class Counting(Envelope):
    """Counts the frames that it makes."""

    made = 0

    def frame(self, data: bytes) -> bytes:
        self.made += 1
        return b"<" + data + b">"


def test_a_frame_is_prepared_once_an_envelope_and_shared() -> None:
    hub: Hub[Member] = Hub()
    counting = Counting(b"", b"")
    plain, *wrapped = [Member() for _ in range(5)]
    hub.join(plain, EVERY_TOPIC)
    hub.join(wrapped[0], EVERY_TOPIC, envelope=counting)
    hub.join(wrapped[1], EVERY_TOPIC, envelope=counting)
    hub.join(wrapped[2], Interest(["a"]), envelope=counting)
    hub.join(wrapped[3], EVERY_TOPIC, 1, counting)
    hub.stage(b"a", 1, b"1")
    assert flush(hub) == 4
    assert plain.frames == [PLAIN.frame(b"1")]
    assert [member.frames for member in wrapped] == [[b"<1>"]] * 4
    assert len({id(frame) for member in wrapped for frame in member.frames}) == 1
    assert counting.made == 1


def test_an_envelope_that_nobody_chose_costs_nothing() -> None:
    hub: Hub[Member] = Hub()
    counting = Counting(b"", b"")
    member = Member()
    group = hub.join(member, EVERY_TOPIC, envelope=counting)
    hub.join(Member(), EVERY_TOPIC)
    hub.leave(member, group)
    hub.stage(b"a", 1, b"1")
    flush(hub)
    assert counting.made == 0
    assert len(hub._shared) == 1
