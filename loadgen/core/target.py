"""PURE: the address of a server under test. Called by the settings; it resolves and connects nothing."""

from dataclasses import dataclass
from urllib.parse import urlsplit

_EXPECTED = "expected ws://HOST:PORT/PATH, such as ws://127.0.0.1:8124/ws"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and what to ask for in the upgrade."""

    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL and in the Host field; IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"ws://{self.authority}{self.path}"


def parse_target(text: str) -> Target:
    """Read a WebSocket URL.

    Raises:
        ValueError: says what was expected.
    """
    if text.startswith("wss://"):
        raise ValueError(f"TLS (wss://) is not supported yet; {_EXPECTED}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(_EXPECTED) from None
    wrong = parts.scheme != "ws" or not parts.hostname or "@" in parts.netloc or parts.fragment
    if wrong or port == 0 or not text.isascii() or any(character <= " " for character in text):
        raise ValueError(_EXPECTED)
    path = parts.path or "/"
    if parts.query:
        path += f"?{parts.query}"
    return Target(str(parts.hostname), port or 80, path)
