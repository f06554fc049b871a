"""A stand-in for the publisher's disk, and the journal on it: SQLite and its thread in a few lines.

What a process has committed survives its end, not the machine's; what is synced survives both. The ceiling file is
the real one (`publisher.journal.ceiling`) over a stand-in for `os`, and whether an epoch goes on is decided by the
real `why_not`. The loop's side is the real journal in memory.
"""

from random import Random
from typing import TYPE_CHECKING

from execgate.wire.update import Update
from publisher.core import ceiling as core
from publisher.journal.ceiling import CeilingFile
from publisher.journal.memory import MemoryJournal
from publisher.log import Entry, Retention

if TYPE_CHECKING:
    from tests.simulation.nodes import Publisher
    from tests.simulation.world import World

COMMIT_S = 0.01
SLOW_COMMIT_S = 0.3


class Disk:
    """What outlives a publisher.

    Attributes:
        epoch: of `kept`; None where nothing was ever written.
        kept: the committed updates, from seq 1 on.
        synced: how many of them a power loss leaves in any case.
        boot: counts the runs of the machine.
        begun: why each epoch was begun.
    """

    O_RDWR = O_CREAT = O_CLOEXEC = 0

    def __init__(self) -> None:
        self.epoch: int | None = None
        self.kept: list[Update] = []
        self.synced = 0
        self.boot = 1
        self.begun: list[str] = []
        self._file = self._synced_file = b""

    # -- as `os`, for the ceiling file

    def open(self, path: object, flags: int, mode: int = 0) -> int:
        return 0

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        self._file = data
        return len(data)

    def fsync(self, descriptor: int) -> None:
        self._synced_file = self._file

    def close(self, descriptor: int) -> None:
        pass

    # -- the journal's

    @property
    def ceiling(self) -> core.Ceiling | None:
        return core.decode(self._file) if self._file else None

    def commit(self, updates: list[Update], *, sync: bool) -> None:
        self.kept += updates
        if sync:
            self.sync()

    def sync(self) -> None:
        self.synced = len(self.kept)

    def lose_power(self, random: Random) -> int:
        """The machine goes down: a tail that was not synced may be gone; return how many updates."""
        self.boot += 1
        left = random.choice([self.synced, random.randint(self.synced, len(self.kept)), len(self.kept)])
        lost = len(self.kept) - left
        del self.kept[left:]
        self.synced = left
        self._file = random.choice([self._file, self._synced_file])
        self._synced_file = self._file
        return lost

    def recover(self, new_epoch: int) -> None:
        """As `publisher.journal.recovery`: the epoch goes on, or `new_epoch` begins."""
        why: str | None = "new"
        if self.epoch is not None:
            why = core.why_not(self.epoch, len(self.kept), self.ceiling, str(self.boot))
        if why is not None:
            self.begun.append(why)
            self.epoch, self.kept, self.synced = new_epoch, [], 0
        self.sync()


class DiskJournal(MemoryJournal):
    """Commits in groups, on a thread of its own as far as the loop can tell; its steps are the adversary's too.

    Args:
        synced: `--durability power`.
    """

    def __init__(
        self, node: "Publisher", disk: Disk, retention: Retention, new_epoch: int, *, synced: bool
    ) -> None:
        disk.recover(new_epoch)
        assert disk.epoch is not None
        super().__init__(disk.epoch, retention)
        for update in disk.kept:
            self._history.append(update)
            if update.key:
                self._newest.put((update.topic, update.key), update, len(update.payload))
        self.file = CeilingFile(node.directory, self.epoch, len(disk.kept), str(disk.boot), synced=synced)
        self._node = node
        self._disk = disk
        self._synced = synced
        self._waiting: list[Entry] = []
        self._is_committing = False

    def append(self, entry: Entry) -> None:
        self._waiting.append(entry)
        self._commit_soon()

    def settle(self) -> None:
        """As `Store.settle`, in a pause."""
        if not self._waiting and not self._is_committing:
            self._disk.sync()
            self.file.tighten()

    def _commit_soon(self) -> None:
        if self._waiting and not self._is_committing:
            self._is_committing = True
            self._thread(self._begin)

    def _thread(self, step: "object") -> None:
        """The next step of the committer's thread; none comes when the process has died."""
        world: World = self._node.world
        slow = world.random.random() < 0.03
        delay_s = world.random.random() * (SLOW_COMMIT_S if slow else COMMIT_S)

        def run() -> None:
            if self._node.loop.is_alive:
                step()  # type: ignore[operator]

        world.scheduler.after(delay_s, run)

    def _begin(self) -> None:
        group, self._waiting = self._waiting, []
        self.file.reserve(group[-1].updates[-1].seq)
        self._thread(lambda: self._commit(group))

    def _commit(self, group: list[Entry]) -> None:
        updates = [update for entry in group for update in entry.updates]
        for update in updates:
            self._node.world.truth.note(update)
        self._disk.commit(updates, sync=self._synced or self._node.world.random.random() < 0.1)
        self._thread(lambda: self._end(group))

    def _end(self, group: list[Entry]) -> None:
        self.file.publish(group[-1].updates[-1].seq)
        self._is_committing = False
        self._node.loop.call_soon_threadsafe(self._publish, group)
        self._commit_soon()

    def _publish(self, group: list[Entry]) -> None:
        for entry in group:
            super().append(entry)
