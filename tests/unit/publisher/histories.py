"""A log that lives in memory, with all that replay reads of one, for tests of it."""

from execgate.wire.history import MemoryLog
from execgate.wire.update import Kind, Update


def update(seq: int, *, epoch: int = 7, key: bytes = b"", payload: bytes = b"{}") -> Update:
    return Update(Kind.DATA, b"ex.A.", epoch, seq, seq, seq, key, payload)


class FakeLog:
    """Holds `floor` to `ceiling`; the keys of updates go round among `keys`."""

    def __init__(self, count: int = 0, *, epoch: int = 7, keys: int = 3, payload_bytes: int = 2) -> None:
        self.epoch = epoch
        self._keys = keys
        self._payload = b"x" * payload_bytes
        self._held = MemoryLog(1_000_000, 1 << 40)
        self._newest: dict[bytes, Update] = {}
        self._floor = 1
        self.reads: list[tuple[int, int]] = []
        self.grow(count)

    @property
    def floor(self) -> int:
        return max(self._floor, self._held.floor)

    @property
    def ceiling(self) -> int:
        return self._held.ceiling

    def grow(self, count: int) -> None:
        for seq in range(self.ceiling + 1, self.ceiling + count + 1):
            made = update(seq, epoch=self.epoch, key=b"%d" % (seq % self._keys), payload=self._payload)
            self._held.append(made)
            self._newest.pop(made.key, None)
            self._newest[made.key] = made

    def let_go(self, below: int) -> None:
        self._floor = below

    def read(self, first: int, last: int, max_bytes: int) -> list[Update]:
        self.reads.append((first, last))
        found: list[Update] = []
        size = 0
        for update in self._held.read(max(first, self._floor), last):
            size += len(update.payload)
            if found and size > max_bytes:
                break
            found.append(update)
        return found

    def newest(self) -> list[Update]:
        return list(self._newest.values())
