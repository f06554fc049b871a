"""Permessage-deflate (RFC 7692) in the one form that a fan-out can afford: no message refers to another one.

The server keeps no context for a session, so an update is compressed once for all who agreed on the same window,
and a session that is silent costs no memory. The handshake calls `agree`, an envelope of the hub compresses, the
frame parser inflates. docs/adr/0009-permessage-deflate-without-context.md has the reasons.
"""

import re
import zlib
from collections.abc import Iterator

from execgate.wire.errors import ExtensionError, InflateError
from execgate.wire.events import PLAIN, Envelope
from execgate.wire.frame_builder import Opcode, header

EXTENSION = "permessage-deflate"
RSV1 = 0x40
"""Of a message's first frame: the message is compressed (section 6)."""

WINDOW_BITS = 12
"""Windows of 4 KiB, unless a client asks for less: with 2^15 an update of 40 rows is as long (798 bytes for 797),
and a client would need eight times the memory; with 2^10 it takes 82 us instead of 31."""
LEVEL = 6
"""Of zlib: 383 bytes at 10 rows where level 1 makes 425, for 2 us more, once an update; level 9 makes 383 too
(757 for 797 at 40 rows, for 6 us more)."""
MIN_BYTES = 160
"""A shorter message is sent as it is: compressing it would save some 50 bytes at most, about the header of the
packet that it travels in. An update without a row has about 180."""

_MIN_BITS, _MAX_BITS = 9, 15  # zlib makes no raw stream of 2^8, which RFC 7692 knows too
_TAIL = b"\x00\x00\xff\xff"  # of an empty block, which ends each message and is left out (section 7.2.1)
_FINAL = b"\x03\x00"  # a block that ends the stream: zlib then says whether it stood at the end of a block
_PADDED_TAIL = b"\x00" + _TAIL  # behind a sender's own final block (section 7.2.3.4)

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PIECE = re.compile(rf'[ \t]*({_TOKEN})(?:[ \t]*=[ \t]*(?:({_TOKEN})|"((?:[^"\\]|\\.)*)"))?[ \t]*')
_EMPTY = re.compile(r"[ \t]*(?=,|$)")
_BITS = re.compile(r"[89]|1[0-5]")  # no leading zero, no sign (section 7.1.2)

Parameters = list[tuple[str, str | None]]


def agree(offers: str) -> int:
    """Choose from what a client offers in `Sec-WebSocket-Extensions`.

    Returns:
        The bits of the server's window, 9 to `WINDOW_BITS`, by the first offer that can be accepted; 0: none.

    Raises:
        ExtensionError: the header does not follow its grammar (RFC 6455 section 9.1: the handshake fails).
    """
    for name, parameters in list(_read_offers(offers)):
        bits = _accept(parameters) if name == EXTENSION else 0
        if bits:
            return bits
    return 0


def answer(bits: int) -> str:
    """Return the extension as the handshake's answer names it, after `agree` chose `bits`.

    A server may ask for each of these without an offer of it, but for limits of the client's window, of which
    there are none: nothing is kept between messages.
    """
    return f"{EXTENSION}; server_no_context_takeover; client_no_context_takeover; server_max_window_bits={bits}"


def _accept(parameters: Parameters) -> int:
    """Return the window of one offer; 0 declines it: unknown, repeated or wrong parameters, or a window of 2^8."""
    values = dict(parameters)
    if len(values) != len(parameters):
        return 0
    bits = WINDOW_BITS
    for name, value in parameters:
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                return 0
        elif name == "client_max_window_bits":
            if value is not None and not _BITS.fullmatch(value):
                return 0
        elif name == "server_max_window_bits":
            if value is None or not _BITS.fullmatch(value) or int(value) < _MIN_BITS:
                return 0
            bits = min(bits, int(value))
        else:
            return 0
    return bits


def _read_offers(text: str) -> Iterator[tuple[str, Parameters]]:
    """Yield each extension of a header with its parameters (RFC 6455 section 9.1)."""
    position = 0
    while position <= len(text):
        empty = _EMPTY.match(text, position)
        if empty:  # the grammar's lists may have empty elements
            position = empty.end() + 1
            continue
        name, value, position = _read_piece(text, position)
        if value is not None:
            raise ExtensionError(f"extension {name[:40]!r} has a value")
        parameters: Parameters = []
        while text[position : position + 1] == ";":
            parameter, value, position = _read_piece(text, position + 1)
            parameters.append((parameter, value))
        if text[position : position + 1] not in ("", ","):
            raise ExtensionError(f"extensions: unexpected {text[position : position + 20]!r}")
        position += 1
        yield name, parameters


def _read_piece(text: str, position: int) -> tuple[str, str | None, int]:
    piece = _PIECE.match(text, position)
    if piece is None:
        raise ExtensionError(f"extensions: expected a name at {text[position : position + 20]!r}")
    name, value, quoted = piece.groups()
    if quoted is not None:
        value = re.sub(r"\\(.)", r"\1", quoted)
        if not re.fullmatch(_TOKEN, value):
            raise ExtensionError(f"extensions: {value[:20]!r} is no token")
    return name, value, piece.end()


def compress(data: bytes, bits: int = WINDOW_BITS) -> bytes:
    """Return the payload of a compressed message (section 7.2.1).

    A new compressor for each costs no more than a kept one that is flushed (19.0 us for 18.6 at 2 KB).
    """
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -bits)
    return compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)[: -len(_TAIL)]


class DeflatedEnvelope(Envelope):
    """Another envelope, compressed where that pays; one object for all sessions with the same window."""

    __slots__ = ("_bits",)

    def __init__(self, inner: Envelope, bits: int) -> None:
        super().__init__(inner.prefix, inner.suffix)
        self._bits = bits

    def frame(self, data: bytes) -> bytes:
        """Return the prepared frame; a plain one where that is no longer."""
        message = b"".join((self.prefix, data, self.suffix))
        if len(message) >= MIN_BYTES:
            payload = compress(message, self._bits)
            if len(payload) < len(message):
                return header(Opcode.TEXT | RSV1, len(payload)) + payload
        return header(Opcode.TEXT, len(message)) + message


DEFLATED: dict[int, Envelope] = {bits: DeflatedEnvelope(PLAIN, bits) for bits in range(_MIN_BITS, WINDOW_BITS + 1)}
"""The envelope of each window that `agree` chooses."""


def most_deflated(max_bytes: int) -> int:
    """Return how long the payload of a message of `max_bytes` may be: what can't be compressed grows a little.

    zlib adds 5 bytes to each stored block of 16 KiB; other encoders' blocks are shorter.
    """
    return max_bytes + (max_bytes >> 6) + 64


class Inflater:
    """One compressed message on its way in: no more than `max_bytes` come of it, nor are many more inflated.

    Use: `take` each piece of its payload, then `finish`; each returns what became readable.

    Raises:
        InflateError: from either; the message is lost.
    """

    __slots__ = ("_deflated_room", "_room", "_stream", "_trailer")

    def __init__(self, max_bytes: int) -> None:
        self._room = max_bytes
        self._deflated_room = most_deflated(max_bytes)  # blocks that inflate to nothing cost time all the same
        self._stream = zlib.decompressobj(-_MAX_BITS)
        self._trailer = b""  # what came behind a final block

    def take(self, piece: bytes) -> bytes:
        """Inflate the next bytes of the payload."""
        self._deflated_room -= len(piece)
        if self._deflated_room < 0:
            raise InflateError("a compressed message longer than its bound", is_too_big=True)
        if self._stream.eof:
            self._trailer += piece[: len(_PADDED_TAIL)]
            return b""
        try:
            # Never 0, which zlib takes for no bound at all.
            data = self._stream.decompress(piece, self._room + 1)
        except zlib.error as error:
            raise InflateError(f"not compressed as it should be: {error}") from None
        self._room -= len(data)
        if self._room < 0:
            raise InflateError("inflates to more than a message may have", is_too_big=True)
        if self._stream.eof:
            self._trailer = self._stream.unused_data[: len(_PADDED_TAIL) + 1]
        return data

    def finish(self) -> bytes:
        """The payload is whole: inflate the end that its sender left out."""
        if self._stream.eof:
            data = b""
            is_whole = self._trailer + _TAIL in (_TAIL, _PADDED_TAIL)
        else:
            data = self.take(_TAIL + _FINAL)
            is_whole = self._stream.eof and not self._trailer
        if not is_whole:
            raise InflateError("a compressed message that is cut, or has more behind its end")
        return data
