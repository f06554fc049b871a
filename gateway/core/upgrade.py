"""The WebSocket handshake as a decision (RFC 6455 section 4.2): headers in, an answer or a refusal out."""

import base64
import binascii
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from execgate.wire import deflate
from execgate.wire.errors import ExtensionError
from execgate.wire.events import SUBPROTOCOL

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_VERSION = "13"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there will be no WebSocket; `kind` is what it is counted under."""

    status: HTTPStatus
    kind: str
    reason: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The bytes that answer the handshake, and what was agreed on.

    Attributes:
        has_subprotocol: whether the client offered our subprotocol.
        deflate_bits: of the server's window, where messages may be compressed; else 0.
    """

    head: bytes
    has_subprotocol: bool
    deflate_bits: int = 0


def decide(
    method: str, headers: Mapping[str, str], allowed_origins: Collection[str], *, may_deflate: bool = False
) -> Acceptance | Refusal:
    """Judge a request for `/ws`.

    Args:
        method: of the request.
        headers: case-insensitive.
        allowed_origins: exact origins that may connect besides the same host's; `*` allows all.
        may_deflate: whether permessage-deflate is accepted where it is offered; else no extension is looked at.
    """
    if method != "GET":
        return _refuse(HTTPStatus.METHOD_NOT_ALLOWED, "handshake", f"{method}: expected GET", Allow="GET")
    if "websocket" not in _words(headers.get("Upgrade", "")):
        return _refuse(
            HTTPStatus.UPGRADE_REQUIRED, "handshake", "expected a WebSocket handshake", Upgrade="websocket"
        )
    if "upgrade" not in _words(headers.get("Connection", "")):
        return _refuse(HTTPStatus.BAD_REQUEST, "handshake", "Connection: expected Upgrade")
    version = headers.get("Sec-WebSocket-Version", "")
    if version != _VERSION:
        return _refuse(
            HTTPStatus.UPGRADE_REQUIRED,
            "handshake",
            f"Sec-WebSocket-Version {version[:20]!r}: expected {_VERSION}",
            Sec_WebSocket_Version=_VERSION,
        )
    key = headers.get("Sec-WebSocket-Key", "")
    if not _is_key(key):
        return _refuse(HTTPStatus.BAD_REQUEST, "handshake", "Sec-WebSocket-Key: expected 16 bytes in base64")
    if headers.get("Content-Length", "0") != "0" or headers.get("Transfer-Encoding"):
        return _refuse(HTTPStatus.BAD_REQUEST, "handshake", "a body: expected none with a handshake")
    origin = headers.get("Origin")
    if origin is not None and not _is_allowed(origin, headers.get("Host", ""), allowed_origins):
        return _refuse(
            HTTPStatus.FORBIDDEN, "origin", f"Origin {origin[:100]!r}: not this host, and not in --allowed-origin"
        )
    has_subprotocol = SUBPROTOCOL in [w.strip() for w in headers.get("Sec-WebSocket-Protocol", "").split(",")]
    deflate_bits = 0
    if may_deflate:
        try:
            deflate_bits = deflate.agree(headers.get("Sec-WebSocket-Extensions", ""))
        except ExtensionError as error:
            return _refuse(HTTPStatus.BAD_REQUEST, "handshake", f"Sec-WebSocket-Extensions: {error}")
    return Acceptance(_head(key, has_subprotocol, deflate_bits), has_subprotocol, deflate_bits)


def _refuse(status: HTTPStatus, kind: str, reason: str, **headers: str) -> Refusal:
    return Refusal(status, kind, reason, {name.replace("_", "-"): value for name, value in headers.items()})


def _words(header: str) -> list[str]:
    return [word.strip().lower() for word in header.split(",")]


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _is_allowed(origin: str, host: str, allowed_origins: Collection[str]) -> bool:
    if origin in allowed_origins or "*" in allowed_origins:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and parts.netloc.lower() == host.lower()


def _head(key: str, has_subprotocol: bool, deflate_bits: int) -> bytes:
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())
    protocol = f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n".encode() if has_subprotocol else b""
    extension = f"Sec-WebSocket-Extensions: {deflate.answer(deflate_bits)}\r\n".encode() if deflate_bits else b""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n" + protocol + extension + b"\r\n"
    )
