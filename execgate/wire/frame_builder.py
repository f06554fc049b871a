"""Building WebSocket frames (RFC 6455 section 5.2). Called by everything that writes to a WebSocket."""

import struct
from enum import IntEnum

from execgate.wire.close_codes import CloseCode

MAX_CONTROL_PAYLOAD = 125
_FIN = 0x80
_MASKED = 0x80
_LENGTH_16 = 126
_LENGTH_64 = 127


class Opcode(IntEnum):
    """RFC 6455 section 5.2."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


def header(opcode: int, length: int, *, fin: bool = True, masked: bool = False) -> bytes:
    """Return the frame header for a payload of `length` bytes, without the mask itself."""
    first = opcode | _FIN if fin else opcode
    mask_bit = _MASKED if masked else 0
    if length < _LENGTH_16:
        return bytes((first, mask_bit | length))
    if length < 1 << 16:
        return struct.pack("!BBH", first, mask_bit | _LENGTH_16, length)
    return struct.pack("!BBQ", first, mask_bit | _LENGTH_64, length)


def build(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """Return one unmasked frame, as a server sends it."""
    return header(opcode, len(payload), fin=fin) + payload


def build_masked(opcode: int, payload: bytes, mask: bytes, *, fin: bool = True) -> bytes:
    """Return one frame masked with the 4 bytes `mask`, as a client sends it."""
    return header(opcode, len(payload), fin=fin, masked=True) + mask + xor_mask(mask, payload)


def close_payload(code: int, reason: str = "") -> bytes:
    """Return the payload of a close frame, its reason cut at a character to fit a control frame."""
    text = reason.encode(errors="replace")[: MAX_CONTROL_PAYLOAD - 2].decode(errors="ignore").encode()
    return struct.pack("!H", code) + text


def build_close(code: int = CloseCode.NORMAL, reason: str = "") -> bytes:
    """Return an unmasked close frame."""
    return build(Opcode.CLOSE, close_payload(code, reason))


def xor_mask(mask: bytes, data: bytes) -> bytes:
    """Apply a 4-byte mask (RFC 6455 section 5.3); its own inverse.

    Whole-number XOR is the fastest that pure Python has; programs hand the parser
    `tornado.speedups.websocket_mask` instead, which is C.
    """
    length = len(data)
    repeated = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(data) ^ int.from_bytes(repeated)).to_bytes(length)
