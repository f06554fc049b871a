"""Reading WebSocket frames (RFC 6455): bytes in, events out, for either side of a connection.

Rules, which the property tests hold against a naive model:

- any split of the input gives the same events (byte by byte, or a thousand frames in one read);
- parsing never recurses, and its cost grows with the bytes fed, however they are split;
- the first violation is the last event: a `Failure` with the close code that the peer is owed;
- text is checked as it arrives, so a bad byte fails before its message is whole;
- after a `Closing` or a `Failure` whatever follows is ignored;
- a compressed message (where `inflates`) is inflated as it arrives, its bound being on what it inflates to.

Memory is bounded by `max_message_bytes`. The parser knows no clock: whoever holds it asks `is_mid_message` to
enforce a time limit.
"""

import codecs
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from execgate.wire.close_codes import CloseCode, may_be_sent
from execgate.wire.deflate import RSV1, Inflater, most_deflated
from execgate.wire.errors import InflateError
from execgate.wire.frame_builder import MAX_CONTROL_PAYLOAD, Opcode, xor_mask

Unmask: TypeAlias = Callable[[bytes, bytes], bytes]

DEFAULT_MAX_MESSAGE_BYTES = 64 * 1024
DEFAULT_MAX_FRAGMENTS = 64


@dataclass(slots=True)
class Text:
    """A whole text message, valid UTF-8."""

    text: str


@dataclass(slots=True)
class Binary:
    """A whole binary message."""

    data: bytes


@dataclass(slots=True)
class Ping:
    """To be answered with a pong of the same payload."""

    payload: bytes


@dataclass(slots=True)
class Pong:
    """An answer to a ping, or unsolicited."""

    payload: bytes


@dataclass(slots=True)
class Closing:
    """The peer closes; `code` is None where it gave none."""

    code: int | None
    reason: str


@dataclass(slots=True)
class Failure:
    """The peer broke the protocol: close with `code` and `reason`."""

    code: CloseCode
    reason: str


Event: TypeAlias = Text | Binary | Ping | Pong | Closing | Failure


class _ViolationError(Exception):
    """Carries a Failure out of the parsing methods; never leaves `feed`."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


# Plain numbers: comparing with a member of an enum costs several times as much.
_CONTINUATION, _TEXT, _BINARY = int(Opcode.CONTINUATION), int(Opcode.TEXT), int(Opcode.BINARY)
_PING, _PONG = int(Opcode.PING), int(Opcode.PONG)
_FIRST_CONTROL = 0x8
_OPCODES = frozenset(int(opcode) for opcode in Opcode)
_INCOMPLETE = -1
_MASKED = 0x80
_WHOLE_TEXT = 0x80 | _TEXT  # the first byte of a text message in one frame


class FrameParser:
    """The reading half of one connection.

    Args:
        server: True where the peer is a client, whose frames must be masked; a server's must not be.
        max_message_bytes: a message beyond it fails with 1009, at the header that takes it there.
        max_fragments: a message in more frames than that fails with 1008; empty frames count.
        unmask: applies a 4-byte mask; `tornado.speedups.websocket_mask` in the programs.
        inflates: whether permessage-deflate was agreed on, the peer keeping no context.
    """

    __slots__ = (
        "_decoder",
        "_ended",
        "_fin",
        "_fragments",
        "_inflater",
        "_inflates",
        "_mask",
        "_max_fragments",
        "_max_message_bytes",
        "_message",
        "_message_opcode",
        "_opcode",
        "_payload",
        "_remaining",
        "_rest",
        "_server",
        "_unmask",
    )

    def __init__(
        self,
        *,
        server: bool,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        max_fragments: int = DEFAULT_MAX_FRAGMENTS,
        unmask: Unmask = xor_mask,
        inflates: bool = False,
    ) -> None:
        self._server = server
        self._max_message_bytes = max_message_bytes
        self._max_fragments = max_fragments
        self._unmask = unmask
        self._inflates = inflates
        self._ended = False
        self._rest = b""  # the beginning of a frame header, at most 13 bytes
        # The frame under way: None between frames.
        self._opcode: int | None = None
        self._fin = False
        self._mask = b""
        self._remaining = 0
        self._payload: bytearray | None = None  # of a control frame that came in pieces
        # The message under way: None between messages.
        self._message_opcode: int | None = None
        self._message: bytearray | None = None
        self._fragments = 0
        self._decoder: codecs.IncrementalDecoder | None = None
        self._inflater: Inflater | None = None  # of a compressed message

    @property
    def is_mid_message(self) -> bool:
        """Whether a frame or a message has begun and is not whole; never after a `Closing` or a `Failure`."""
        if self._ended:
            return False
        return bool(self._rest) or self._opcode is not None or self._message_opcode is not None

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes from the socket and return what they complete, in order."""
        if self._opcode is None and self._message_opcode is None and not (self._rest or self._ended):
            text = self._whole_text(data)
            if text is not None:
                return [Text(text)]
        events: list[Event] = []
        if self._ended:
            return events
        if self._rest:
            data = self._rest + data
            self._rest = b""
        try:
            self._parse(data, events)
        except _ViolationError as violation:
            self._ended = True
            events.append(Failure(violation.code, violation.reason))
        return events

    def _whole_text(self, data: bytes) -> str | None:
        """Return the text if `data` is exactly one whole text frame under 64 KiB; None sends it the long way.

        That is what an order or an update looks like, and this takes 0.7 us where the long way takes 1.3. Whatever
        is wrong with the frame is left to the long way to say.
        """
        if len(data) < 6 or data[0] != _WHOLE_TEXT:
            return None
        start, length = (6, data[1] - _MASKED) if self._server else (2, data[1])
        if length >= 126:
            if length > 126:
                return None
            start, length = start + 2, data[2] << 8 | data[3]
            if length < 126:
                return None
        if start + length != len(data) or length > self._max_message_bytes:
            return None
        payload = data[start:]
        try:
            return str(self._unmask(data[start - 4 : start], payload) if self._server else payload, "utf-8")
        except UnicodeDecodeError:
            return None

    def _parse(self, data: bytes, events: list[Event]) -> None:
        position = 0
        while not self._ended:
            if self._opcode is None:
                after_header = self._read_header(data, position)
                if after_header == _INCOMPLETE:
                    self._rest = bytes(data[position:])
                    return
                position = after_header
            chunk = data[position : position + self._remaining]
            taken = len(chunk)
            position += taken
            self._remaining -= taken
            if self._mask and taken:
                chunk = self._unmask(self._mask, chunk)
                if self._remaining and taken & 3:
                    turn = taken & 3
                    self._mask = self._mask[turn:] + self._mask[:turn]
            opcode = self._opcode
            assert opcode is not None  # set by _read_header; not peer input
            if opcode >= _FIRST_CONTROL:
                self._take_control(opcode, chunk, events)
            else:
                self._take_data(opcode, chunk, events)
            if self._remaining:
                return
            self._opcode = None

    def _read_header(self, data: bytes, position: int) -> int:
        """Read one frame header; return the position after it, or _INCOMPLETE."""
        available = len(data) - position
        if available < 1:
            return _INCOMPLETE
        first = data[position]
        opcode = first & 0x0F
        compressed = first & 0x70
        if compressed and not (self._inflates and compressed == RSV1 and opcode in (_TEXT, _BINARY)):
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, "reserved bits are set")
        if opcode not in _OPCODES:
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, f"reserved opcode {opcode}")
        fin = first >= 0x80
        self._check_order(opcode, fin)
        if available < 2:
            return _INCOMPLETE
        second = data[position + 1]
        masked = second >= 0x80
        if masked != self._server:
            side = "client's frame is not masked" if self._server else "server's frame is masked"
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, side)
        length = second & 0x7F
        position += 2
        if opcode >= _FIRST_CONTROL and length > MAX_CONTROL_PAYLOAD:
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, "a control frame over 125 bytes")
        if length >= 126:
            size = 2 if length == 126 else 8
            if available < 2 + size:
                return _INCOMPLETE
            length = int.from_bytes(data[position : position + size])
            position += size
            if length >> 63:
                raise _ViolationError(CloseCode.PROTOCOL_ERROR, "a length whose first bit is set")
            if length < (126 if size == 2 else 1 << 16):
                raise _ViolationError(CloseCode.PROTOCOL_ERROR, "a length that is not in its shortest form")
        if opcode < _FIRST_CONTROL:
            most = self._max_message_bytes
            held = len(self._message) if self._message is not None else 0
            if compressed or self._inflater is not None:
                held, most = 0, most_deflated(most)  # of this frame; the inflater counts on
            if held + length > most:
                raise _ViolationError(CloseCode.TOO_BIG, f"a message over {self._max_message_bytes} bytes")
        if masked:
            mask_end = position + 4
            if mask_end > len(data):
                return _INCOMPLETE
            self._mask = data[position:mask_end]
            position = mask_end
        self._opcode, self._fin, self._remaining = opcode, fin, length
        if opcode < _FIRST_CONTROL:
            self._fragments += 1
            if self._fragments > self._max_fragments:
                raise _ViolationError(CloseCode.POLICY, f"a message in over {self._max_fragments} fragments")
            if compressed:
                self._inflater = Inflater(self._max_message_bytes)
        return position

    def _check_order(self, opcode: int, fin: bool) -> None:
        if opcode >= _FIRST_CONTROL:
            if not fin:
                raise _ViolationError(CloseCode.PROTOCOL_ERROR, "a fragmented control frame")
        elif opcode == _CONTINUATION:
            if self._message_opcode is None:
                raise _ViolationError(CloseCode.PROTOCOL_ERROR, "a continuation of no message")
        elif self._message_opcode is not None:
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, "a new message within a message")

    def _take_data(self, opcode: int, chunk: bytes, events: list[Event]) -> None:
        whole = self._fin and not self._remaining
        if self._inflater is not None:
            chunk = self._inflate(self._inflater, chunk, whole)
        elif whole and self._message is None:
            # The usual case: one frame in one read. Its text is checked by decoding it.
            self._fragments = 0
            if opcode == _BINARY:
                events.append(Binary(bytes(chunk)))
            else:
                events.append(Text(self._decode(chunk)))
            return
        if self._message_opcode is None:
            self._message_opcode = opcode
        if self._message is None:
            self._message = bytearray()
            if self._message_opcode == _TEXT:
                self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._message += chunk
        if self._decoder is not None:
            try:
                self._decoder.decode(chunk, final=whole)
            except UnicodeDecodeError:
                raise _ViolationError(CloseCode.INVALID_TEXT, "text that is not UTF-8") from None
        if whole:
            message = bytes(self._message)
            is_text = self._message_opcode == _TEXT
            events.append(Text(message.decode()) if is_text else Binary(message))
            self._message = self._message_opcode = self._decoder = self._inflater = None
            self._fragments = 0

    @staticmethod
    def _inflate(inflater: Inflater, chunk: bytes, whole: bool) -> bytes:
        try:
            data = inflater.take(chunk)
            return data + inflater.finish() if whole else data
        except InflateError as error:
            code = CloseCode.TOO_BIG if error.is_too_big else CloseCode.INVALID_TEXT
            raise _ViolationError(code, str(error)) from None

    def _take_control(self, opcode: int, chunk: bytes, events: list[Event]) -> None:
        if self._remaining:
            self._payload = (self._payload or bytearray()) + chunk
            return
        if self._payload is not None:
            chunk = bytes(self._payload + chunk)
            self._payload = None
        if opcode == _PING:
            events.append(Ping(bytes(chunk)))
        elif opcode == _PONG:
            events.append(Pong(bytes(chunk)))
        else:
            events.append(self._read_close(chunk))
            self._ended = True

    def _read_close(self, payload: bytes) -> Closing:
        if not payload:
            return Closing(None, "")
        if len(payload) == 1:
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, "a close payload of one byte")
        code = int.from_bytes(payload[:2])
        if not may_be_sent(code):
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, f"close code {code}")
        return Closing(code, self._decode(payload[2:]))

    @staticmethod
    def _decode(data: bytes) -> str:
        try:
            return str(data, "utf-8")
        except UnicodeDecodeError:
            raise _ViolationError(CloseCode.INVALID_TEXT, "text that is not UTF-8") from None
