"""PURE: the address of a server under test. Called by the settings; it resolves and connects nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

_EXPECTED = "expected ws://HOST:PORT/PATH or wss://HOST:PORT/PATH, such as ws://127.0.0.1:8124/ws"
_PORTS = {"ws": 80, "wss": 443}  # RFC 6455 section 3


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and what to ask for in the upgrade.

    Attributes:
        certificate_name: the name that the server's certificate must be for; None for a plain connection.
        source: the address of this machine to connect from; None leaves it to the kernel.
    """

    host: str
    port: int
    path: str
    certificate_name: str | None = None
    source: str | None = None

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL and in the Host field; IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        scheme = "ws" if self.certificate_name is None else "wss"
        return f"{scheme}://{self.authority}{self.path}"


def parse_target(text: str) -> Target:
    """Read a WebSocket URL.

    Raises:
        ValueError: says what was expected.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(_EXPECTED) from None
    wrong = parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc or parts.fragment
    if wrong or port == 0 or not text.isascii() or any(character <= " " for character in text):
        raise ValueError(_EXPECTED)
    path = parts.path or "/"
    if parts.query:
        path += f"?{parts.query}"
    host = str(parts.hostname)
    return Target(host, port or _PORTS[parts.scheme], path, host if parts.scheme == "wss" else None)


def from_each(targets: Sequence[Target], sources: Sequence[str]) -> list[Target]:
    """Return every target from every source: who takes turns at these uses all pairs evenly."""
    return [replace(target, source=source) for source in sources or (None,) for target in targets]
