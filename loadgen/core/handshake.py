"""PURE: the client's opening handshake (RFC 6455 section 4.1): bytes to send, and what the answer means.

Called by `raw_client.py`. The response head is bounded, and nothing of it is trusted before it is checked.
"""

import base64
import hashlib

from execgate.wire.errors import PeerError
from loadgen.core.target import Target

MAX_HEAD_BYTES = 8 * 1024
KEY_BYTES = 16
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_HEAD_END = b"\r\n\r\n"


class HandshakeError(PeerError):
    """The server did not answer the upgrade as it must."""


def accept_of(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept that proves that the server read `key`."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


class Handshake:
    """One opening handshake.

    Args:
        target: the server.
        nonce: `KEY_BYTES` random bytes.
        subprotocol: what to offer; None offers nothing.

    Attributes:
        request: the bytes to send.
    """

    __slots__ = ("_accept", "_head", "_subprotocol", "request")

    def __init__(self, target: Target, nonce: bytes, subprotocol: str | None) -> None:
        key = base64.b64encode(nonce)
        self._accept = accept_of(key)
        self._subprotocol = subprotocol
        self._head = b""
        offer = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
        self.request = (
            f"GET {target.path} HTTP/1.1\r\n"
            f"Host: {target.authority}\r\n"
            "Upgrade: websocket\r\n"
            "Connection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key.decode()}\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            f"{offer}\r\n"
        ).encode()

    def feed(self, data: bytes) -> bytes | None:
        """Take the next bytes; return what follows a good head (maybe nothing), None while it is not whole.

        Raises:
            HandshakeError: the answer is no upgrade, or not of this request.
        """
        self._head += data
        head, end, rest = self._head.partition(_HEAD_END)
        if len(head) > MAX_HEAD_BYTES:
            raise HandshakeError(f"a response head over {MAX_HEAD_BYTES} bytes")
        if not end:
            return None
        self._check(head)
        self._head = b""
        return rest

    def _check(self, head: bytes) -> None:
        status, *lines = head.split(b"\r\n")
        words = status.split(b" ", 2)
        if len(words) < 2 or words[0] != b"HTTP/1.1":
            raise HandshakeError(f"not an HTTP/1.1 response: {status[:80]!r}")
        if words[1] != b"101":
            raise HandshakeError(f"the server answered {status[:80].decode('latin-1')!r}, expected 101")
        fields = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)
        }
        if fields.get(b"upgrade", b"").lower() != b"websocket":
            raise HandshakeError("a 101 without 'Upgrade: websocket'")
        if b"upgrade" not in fields.get(b"connection", b"").lower():
            raise HandshakeError("a 101 without 'Connection: Upgrade'")
        if fields.get(b"sec-websocket-accept") != self._accept:
            raise HandshakeError("a Sec-WebSocket-Accept that is not of this request")
        if b"sec-websocket-extensions" in fields:
            raise HandshakeError("an extension that was not offered")
        chosen = fields.get(b"sec-websocket-protocol")
        if chosen is not None and chosen.decode("latin-1") != self._subprotocol:
            raise HandshakeError("a subprotocol that was not offered")
