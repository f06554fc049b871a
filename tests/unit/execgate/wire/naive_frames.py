"""Slow and simple readings of RFC 6455, written from its text, that the fast parser is held against."""

from dataclasses import dataclass

NOT_SENT = {1004, 1005, 1006, 1015}
Told = tuple[str, object, object]


@dataclass
class Model:
    """Reads the whole input at once, one frame after the other, and tells (kind, value, value)."""

    server: bool = True
    max_message_bytes: int = 64 * 1024
    max_fragments: int = 64

    def read(self, data: bytes) -> list[Told]:
        """Everything that `data` makes happen; the last may be ("failure", code, "")."""
        told: list[Told] = []
        message_opcode, message, fragments = 0, b"", 0
        while data:
            first = data[0]
            fin, reserved, opcode = first >> 7, first >> 4 & 7, first & 15
            is_control = opcode >= 8
            if reserved or opcode not in (0, 1, 2, 8, 9, 10):
                return [*told, ("failure", 1002, "")]
            if is_control and not fin:
                return [*told, ("failure", 1002, "")]
            if not is_control and (opcode == 0) != (message_opcode != 0):
                return [*told, ("failure", 1002, "")]
            if len(data) < 2:
                return told
            masked, length, at = data[1] >> 7, data[1] & 127, 2
            if bool(masked) != self.server or (is_control and length > 125):
                return [*told, ("failure", 1002, "")]
            if length > 125:
                size = 2 if length == 126 else 8
                if len(data) < 2 + size:
                    return told
                shortest = 126 if size == 2 else 65536
                length, at = int.from_bytes(data[2 : 2 + size], "big"), 2 + size
                if length < shortest or length >= 2**63:
                    return [*told, ("failure", 1002, "")]
            if not is_control and len(message) + length > self.max_message_bytes:
                return [*told, ("failure", 1009, "")]
            mask = data[at : at + 4] if masked else b"\0\0\0\0"
            if len(mask) < 4:
                return told
            if not is_control:
                fragments += 1
                if fragments > self.max_fragments:
                    return [*told, ("failure", 1008, "")]
            at += 4 if masked else 0
            payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data[at : at + length]))
            is_whole = len(payload) == length
            data = data[at + length :]
            if is_control:
                if not is_whole:
                    return told
                if opcode != 8:
                    told.append(("ping" if opcode == 9 else "pong", payload, ""))
                    continue
                return [*told, read_close(payload)]
            message_opcode = message_opcode or opcode
            message += payload
            end = bool(fin) and is_whole
            if message_opcode == 1 and not is_utf8(message, whole=end):
                return [*told, ("failure", 1007, "")]
            if end:
                told.append(("text", message.decode(), "") if message_opcode == 1 else ("binary", message, ""))
                message_opcode, message, fragments = 0, b"", 0
        return told


def read_close(payload: bytes) -> Told:
    """What a close frame's payload says (sections 5.5.1 and 7.4)."""
    if not payload:
        return ("closing", None, "")
    code = int.from_bytes(payload[:2], "big")
    is_known = 1000 <= code <= 1014 and code not in NOT_SENT
    if len(payload) < 2 or not (is_known or 3000 <= code <= 4999):
        return ("failure", 1002, "")
    if not is_utf8(payload[2:], whole=True):
        return ("failure", 1007, "")
    return ("closing", code, payload[2:].decode())


def is_utf8(data: bytes, *, whole: bool) -> bool:
    """Whether `data` is UTF-8, or, unless `whole`, can still become it."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if whole or len(data) - error.start > 3:
            return False
        if data[error.start] == 0xED and len(data) - error.start == 2 and 0xA0 <= data[-1] <= 0xBF:
            return True  # a surrogate: Python's incremental decoder tells it at the third byte only
        return any(can_complete(data[error.start :], extra) for extra in range(1, 4))
    return True


def can_complete(begun: bytes, extra: int) -> bool:
    """Whether `extra` continuation bytes after `begun` can make one character."""
    # The second byte is the only one whose range depends on the first; its extremes decide (RFC 3629).
    for byte in (0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF):
        candidate = begun + bytes([byte]) + b"\x80" * (extra - 1)
        try:
            if len(candidate.decode()) == 1:
                return True
        except UnicodeDecodeError:
            continue
    return False


def decode_frames(data: bytes) -> list[tuple[bool, int, bytes]]:
    """Take frames apart that are known to be right: (fin, opcode, payload) of each."""
    frames = []
    while data:
        size = {126: 2, 127: 8}.get(data[1] & 127, 0)
        length = int.from_bytes(data[2 : 2 + size], "big") if size else data[1] & 127
        at = 2 + size
        payload = data[at : at + length]
        if data[1] & 128:
            mask, payload = data[at : at + 4], data[at + 4 : at + 4 + length]
            payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
            at += 4
        assert len(payload) == length
        frames.append((bool(data[0] & 128), data[0] & 15, payload))
        data = data[at + length :]
    return frames
