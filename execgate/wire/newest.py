"""PURE: the newest of each topic and key, bounded: what a snapshot is made of.

Who was updated least recently falls out first. Two of them exist where there is a journal: one of updates, on the
loop, and one of row numbers, on the committer's thread, which knows by it what must outlive retention. Fed the
same updates they hold, and let go of, the same keys.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, TypeVar

MAX_BYTES = 256 * 1024 * 1024
"""Of payload, whatever the number of keys: a key's newest may be a megabyte."""

Name = tuple[bytes, bytes]
"""Topic and key."""

Value = TypeVar("Value")


class Newest(Generic[Value]):
    """Topic and key to what is newest there; an empty key is nobody's and is never held.

    Args:
        max_keys: how many are held at most; 0 holds nothing.
        max_bytes: of payload held at most.
    """

    def __init__(self, max_keys: int, max_bytes: int = MAX_BYTES) -> None:
        self._max_keys = max_keys
        self._max_bytes = max_bytes
        self._bytes = 0
        self._held: OrderedDict[Name, tuple[Value, int]] = OrderedDict()

    def put(self, name: Name, value: Value, size: int) -> list[Name]:
        """Set what is newest; return the names that had to go for it (`name` itself, where it can't be held).

        Args:
            name: topic and key; the key is not empty.
            value: what is newest there.
            size: its bytes of payload.
        """
        held = self._held
        before = held.get(name)
        held[name] = (value, size)
        if before is None:
            self._bytes += size
        else:
            held.move_to_end(name)
            self._bytes += size - before[1]
        if len(held) <= self._max_keys and self._bytes <= self._max_bytes:
            return []
        gone = []
        while held and (len(held) > self._max_keys or self._bytes > self._max_bytes):
            name, (_, size) = held.popitem(last=False)
            self._bytes -= size
            gone.append(name)
        return gone

    def get(self, name: Name) -> Value | None:
        """What is newest there, None where nothing is held."""
        held = self._held.get(name)
        return None if held is None else held[0]

    def clear(self) -> None:
        """Let go of everything."""
        self._held.clear()
        self._bytes = 0

    def values(self) -> Iterable[Value]:
        """All that is held, the least recently updated first."""
        return (value for value, _ in self._held.values())
