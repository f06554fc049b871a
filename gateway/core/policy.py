"""Who a session is and what it may do: the one object that a session asks.

Today everybody may do everything; tokens and rights will be a second implementation of `Policy`.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Rights:
    """What one session may do.

    Attributes:
        may_order: whether `order-request` is open to it.
        messages_per_s: inbound messages a second; None for no limit.
        max_topics: how many patterns one subscription may name.
    """

    may_order: bool
    messages_per_s: float | None
    max_topics: int

    def may_take(self, pattern: str) -> bool:  # noqa: ARG002  # the seam: an open policy does not look at it
        """Whether the session may subscribe to `pattern`."""
        return True


class Policy(Protocol):
    """Decides once, at the handshake, what a peer may do."""

    def rights_of(self, host: str, is_loopback: bool) -> Rights:
        """Return the rights of a peer that connects from `host`."""
        ...


class OpenPolicy:
    """Everybody may take everything and order; peers on this machine are not rate-limited (`trust.md`)."""

    def __init__(self, messages_per_s: float, max_topics: int) -> None:
        self._remote = Rights(True, messages_per_s or None, max_topics)
        self._local = Rights(True, None, max_topics)

    def rights_of(self, host: str, is_loopback: bool) -> Rights:  # noqa: ARG002  # the same for every host
        """Return one of two shared objects: rights cost no memory a session."""
        return self._local if is_loopback else self._remote
