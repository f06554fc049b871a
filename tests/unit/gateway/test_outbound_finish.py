"""The end of a stream that the peer broke: a half-close behind the close frame, whatever still waits before it."""

import pytest

from execgate.wire.close_codes import CloseCode
from execgate.wire.frame_parser import Closing
from tests.unit.gateway.fakes import GONE, Owner, Wire


class EofWire(Wire):
    """One that notes where in the stream its writing side was closed."""

    eof_at = -1

    def is_closing(self) -> bool:
        return self.aborted > 0

    def write_eof(self) -> None:
        assert self.eof_at < 0, "closed twice"
        assert not self.is_closing(), "uvloop refuses it"
        self.eof_at = len(self.received) + len(self.held)

    def close_writing(self, owner: Owner) -> None:
        owner.outbound.close(CloseCode.PROTOCOL_ERROR, "broken")
        owner.outbound.finish()


def ends_with_close(owner: Owner, wire: EofWire) -> bool:
    last = owner.events()[-1]
    return isinstance(last, Closing) and wire.eof_at == len(wire.received)


def test_the_stream_ends_behind_the_close_frame() -> None:
    wire = EofWire()
    owner = Owner(wire)
    wire.close_writing(owner)
    assert ends_with_close(owner, wire)


@pytest.mark.parametrize("sends", [[10], [10, 0, 3], [10, 3, 0]])
def test_what_waits_goes_first(sends: list[int]) -> None:
    wire = EofWire(sends=sends)
    owner = Owner(wire)
    for number in range(3):
        owner.outbound.control(b'{"event":"control","data":{"number":%d}}' % number)
    wire.close_writing(owner)
    assert wire.eof_at < 0, "the close frame waits"
    while wire.held:
        wire.pass_on()
    assert [message.get("data", {}).get("number") for message in owner.messages()] == [0, 1, 2, None]
    assert ends_with_close(owner, wire)


def test_a_peer_that_is_gone_is_not_half_closed() -> None:
    wire = EofWire(sends=[GONE])
    wire.close_writing(Owner(wire))
    assert wire.aborted
    assert wire.eof_at < 0
