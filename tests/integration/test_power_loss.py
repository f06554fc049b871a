"""Power is lost at every write and every fsync of the journal, by a trace of a real one's.

With `--durability power` what may have been published is kept. With either, one (epoch, seq) never names two
payloads. The controls: the same with an fsync that does nothing, and without the ceiling.
"""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from execgate.wire.update import Update
from publisher.journal.reader import Reader
from publisher.journal.schema import JournalError
from publisher.journal.store import Store
from tests import power
from tests.power import Disk, Kind, Operation
from tests.unit.publisher.journal.making import ENDLESS, extend, update

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler: power failures were NOT tested"),
]
EPOCH = 7
GROUPS = 10
MARKS = "marks"
_WORK = """
import os, sys
from pathlib import Path
from publisher.journal.checkpointer import Checkpointer
from tests.unit.publisher.journal.making import entry, store, update
from tests.integration.test_power_loss import EPOCH, GROUPS, MARKS, text
import threading
directory = Path(sys.argv[1])
one = store(directory, synced=sys.argv[2] == "power", lag=5)
marks = os.open(directory / MARKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
checkpointer = Checkpointer(directory, threading.Lock())
for number in range(1, 2 * GROUPS, 2):
    group = [update(EPOCH, seq, text=text(seq)) for seq in (number, number + 1)]
    one.append([entry(group, b"batch %d" % number)])
    os.write(marks, b"%d\\n" % (number + 1))  # from now on it may be published
    one.tidy(0, idle=True)
    if number % 8 == 3:
        checkpointer._checkpoint()
    if number % 8 == 7:
        one.settle()
checkpointer.end()
one.close()
"""
"""A journal's life: all that the committer and the checkpointer do to files, in one thread."""


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory whose fsync costs nothing, if there is one: thousands of journals are begun in it."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as found:
        yield Path(found)


def text(seq: int) -> str:
    """What makes an update some pages long, now and then."""
    return "y" * (6_000 if seq % 5 == 0 else 300)


def trace(folder: Path, durability: str) -> list[Operation]:
    live = folder / "live"
    live.mkdir()
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, **power.environment(folder, live), "PYTHONPATH": root}
    subprocess.run([sys.executable, "-c", _WORK, str(live), durability], check=True, env=environment, cwd=root)
    found = list(power.read_trace(folder / "trace"))
    assert {Kind.WRITE, Kind.SYNC} <= {each.kind for each in found}
    return found


class Judge:
    """Begins a journal anew on what a disk may hold, and says what is wrong with it."""

    def __init__(self, directory: Path, durability: str) -> None:
        self.outcomes: Counter[str] = Counter()
        self._directory = directory
        self._is_power = durability == "power"
        self._seen: set[tuple[int, frozenset[tuple[str, bytes]]]] = set()

    def look(self, image: dict[str, bytes], published: int) -> None:
        """`published` of the epoch's updates may have been published when the power was lost."""
        image.pop(MARKS, None)
        if (known := (published, frozenset(image.items()))) in self._seen:
            return
        self._seen.add(known)
        shutil.rmtree(self._directory, ignore_errors=True)
        power.write_image(image, self._directory)
        try:
            after = Store(self._directory, ENDLESS, 1_000, synced=False, boot="after the failure")
        except (JournalError, sqlite3.Error) as error:
            raise AssertionError(f"of {published} acknowledged updates some are lost: {error}") from None
        try:
            goes_on = after.recovered.epoch == EPOCH
            self.outcomes["goes on" if goes_on else "new"] += 1
            wanted = [update(EPOCH, seq, text=text(seq)) for seq in range(1, published + 1)]
            if self._is_power and wanted:
                assert self._read(published) == wanted, f"of {published} acknowledged updates some are lost"
            later = extend(after, 3, text="another")
            doubles = {(each.epoch, each.seq) for each in wanted} & {(each.epoch, each.seq) for each in later}
            assert not doubles, f"two payloads for one seq: {doubles}"
        finally:
            after.close()

    def _read(self, last: int) -> list[Update]:
        reader = Reader(self._directory, EPOCH, 0)
        try:
            return list(reader.read(1, last, 1 << 30))
        finally:
            reader.close()


def lose_power_everywhere(operations: list[Operation], judge: Judge) -> int:
    """Lose it after each operation; return how many of them could be undone, added up."""
    disk, rng = Disk(), random.Random(1)
    published = undone = 0
    for done in operations:
        disk.take(done)
        if done.name == MARKS:
            published = int(done.data)
        undone += disk.unsynced
        for image in disk.images(rng):
            judge.look(image, published)
    assert published == 2 * GROUPS
    return undone


@pytest.mark.parametrize("durability", ["process", "power"])
def test_power_lost_at_any_write_or_fsync_costs_nothing_that_was_acknowledged_and_doubles_no_seq(
    tmp_path: Path, memory: Path, durability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = trace(tmp_path, durability)
    judge = Judge(memory / "image", durability)
    assert lose_power_everywhere(operations, judge) > len(operations), "the failures undid something"
    assert judge.outcomes["new"] > 20, judge.outcomes
    assert judge.outcomes["goes on"] > 0, judge.outcomes  # not told from an end that left everything on the disk
    if durability == "power":
        deaf = [each for each in operations if each.kind is not Kind.SYNC]
        with pytest.raises(AssertionError, match="acknowledged updates some are lost"):
            lose_power_everywhere(deaf, Judge(memory / "image", durability))
    else:
        monkeypatch.setattr("publisher.journal.recovery.why_not", lambda *_: None)
        with pytest.raises(AssertionError, match="two payloads for one seq"):
            lose_power_everywhere(operations, Judge(memory / "image", durability))
