"""What a subscriber is interested in: a set of topics named exactly, or by prefixes that end in `*`.

Two subscribers with the same interest are served by one group of the hub, so an interest is a value: equal
sets are equal, and a pattern that another one covers makes no difference.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

from execgate.wire.errors import RequestError, shown
from execgate.wire.topics import EVERYTHING, MAX_TOPIC_BYTES, is_prefix


class Interest:
    """An immutable, hashable set of patterns; `exact` topics and `prefixes` as bytes, as the feed has them."""

    __slots__ = ("exact", "patterns", "prefixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = frozenset(patterns)
        prefixes: list[bytes] = []  # sorted: one that covers others stands right before them
        for prefix in sorted(pattern[:-1].encode() for pattern in self.patterns if is_prefix(pattern)):
            if not prefixes or not prefix.startswith(prefixes[-1]):
                prefixes.append(prefix)
        exact = {pattern.encode() for pattern in self.patterns if not is_prefix(pattern)}
        self.prefixes = frozenset(prefixes)
        self.exact = frozenset(topic for topic in exact if not _is_covered(topic, prefixes))

    def __hash__(self) -> int:
        return hash((self.exact, self.prefixes))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Interest) and (self.exact, self.prefixes) == (other.exact, other.prefixes)

    def matches(self, topic: bytes) -> bool:
        """Whether `topic` is one of them."""
        return topic in self.exact or any(topic.startswith(prefix) for prefix in self.prefixes)

    def without(self, patterns: Iterable[str]) -> "Interest | None":
        """Return the interest less `patterns`, None when nothing is left."""
        left = self.patterns - frozenset(patterns)
        return Interest(left) if left else None


def _is_covered(topic: bytes, prefixes: list[bytes]) -> bool:
    """Whether one of `prefixes`, sorted and none covering another, begins `topic`."""
    at = bisect_right(prefixes, topic)
    return at > 0 and topic.startswith(prefixes[at - 1])


EVERY_TOPIC = Interest([EVERYTHING])


def read_patterns(value: Any, most: int) -> frozenset[str]:
    """Check the `topics` of a client's request.

    Raises:
        RequestError: not a list of 1 to `most` texts, each 1 to 255 bytes, `*` only at the end.
    """
    if not isinstance(value, list) or not value:
        raise RequestError("bad-field", f"topics is {shown(value)}: expected a list of at least one topic")
    if len(value) > most:
        raise RequestError("bad-field", f"{len(value)} topics: expected at most {most}")
    for pattern in value:
        if not isinstance(pattern, str) or not 0 < len(pattern) <= MAX_TOPIC_BYTES or not pattern.isascii():
            raise RequestError(
                "bad-field", f"topic {shown(pattern)}: expected 1 to {MAX_TOPIC_BYTES} ASCII characters"
            )
        if "*" in pattern[:-1]:
            raise RequestError("bad-field", f"topic {shown(pattern)}: expected '*' at the end alone")
    return frozenset(value)
