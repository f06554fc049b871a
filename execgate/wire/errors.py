"""The one error tree.

Two branches that are never mixed: `PeerError` says that bytes or words from outside are wrong (refuse the
item, or close with a code), `UsageError` says that an operator asked for something that can't be had (print
one line, exit 2). Anything else that is raised is our own bug and is left to surface.
"""


class ExecgateError(Exception):
    """Root of every error raised on purpose."""


class PeerError(ExecgateError):
    """What a peer sent is wrong; the message says what, and what was expected."""


class UpdateError(PeerError):
    """A ZeroMQ message is not an update of protocol version 1."""


class ReplayError(PeerError):
    """A message of the replay socket is not one of protocol version 1."""


class RowError(PeerError):
    """An exec, or a list of them, is refused; nothing of that message was taken."""


class RequestError(PeerError):
    """A client's event is refused; the connection lives.

    Attributes:
        code: one of `execgate.wire.events.ERROR_CODES`, sent to the client next to the message.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ExtensionError(PeerError):
    """A `Sec-WebSocket-Extensions` header does not follow its grammar; the handshake is refused."""


class InflateError(PeerError):
    """A compressed message is no DEFLATE, or inflates to more than its bound."""

    def __init__(self, message: str, *, is_too_big: bool = False) -> None:
        super().__init__(message)
        self.is_too_big = is_too_big


class ProxyHeaderError(PeerError):
    """What came where a PROXY protocol header was expected is none that we take."""


class UsageError(ExecgateError):
    """A flag, an environment variable, a file or an address can't be used; shown as one line."""


def shown(value: object) -> str:
    """Return a peer's value as it may stand in an error's message: short, whatever it is."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
