"""Power failures, made of a trace of what a process did to its files (`io_trace.c`).

A disk keeps what was synced. Of what was written since, it may have everything, nothing, or any sectors of it; a
file's removal is kept when its directory is synced, its making with its first sync.
"""

import random
import struct
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

SECTOR_BYTES = 512
_HEAD = struct.Struct("=BBHIq")
_SOURCE = Path(__file__).with_name("io_trace.c")


class Kind(IntEnum):
    """As in `io_trace.c`."""

    WRITE = 1
    TRUNCATE = 2
    SYNC = 3
    UNLINK = 4


class Operation(NamedTuple):
    """One: `offset` is a length for TRUNCATE; the directory itself has no name."""

    kind: Kind
    name: str
    offset: int
    data: bytes


def environment(folder: Path, watched: Path) -> dict[str, str]:
    """Compile the shim; return what a process needs in its environment to be traced into `folder`/trace."""
    shim = folder / "io_trace.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(shim), str(_SOURCE), "-ldl"], check=True)
    return {
        "LD_PRELOAD": str(shim),
        "IO_TRACE_DIR": str(watched.resolve()),
        "IO_TRACE_FILE": str(folder / "trace"),
    }


def read_trace(path: Path) -> Iterator[Operation]:
    """Yield what was done, in order."""
    content, at = path.read_bytes(), 0
    while at < len(content):
        kind, name_bytes, _, data_bytes, offset = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        name, data = content[at : at + name_bytes].decode(), content[at + name_bytes :][:data_bytes]
        at += name_bytes + data_bytes
        yield Operation(Kind(kind), name, offset, data)


Content = bytes | None
"""Of a file; None where there is none."""


@dataclass
class _File:
    durable: Content = None
    since: list[Operation] = field(default_factory=list)  # not synced


class Disk:
    """What a disk holds, and what it has been told since."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}

    def take(self, done: Operation) -> None:
        """The process did something."""
        file = self._files.setdefault(done.name, _File())
        if done.kind is not Kind.SYNC:
            file.since.append(done)
        elif done.name:
            file.durable, file.since = _after(file.durable, file.since), []
        else:  # the directory: what was removed is, now
            for each in self._files.values():
                removals = [at for at, one in enumerate(each.since) if one.kind is Kind.UNLINK]
                if removals:
                    each.durable, each.since = None, each.since[removals[-1] + 1 :]

    @property
    def unsynced(self) -> int:
        """Operations that a power failure may undo."""
        return sum(len(file.since) for file in self._files.values())

    def images(self, rng: random.Random) -> Iterator[dict[str, bytes]]:
        """Yield what may be found after a power failure now: all, what is synced alone, and some of the rest."""
        yield self._image({name: file.since for name, file in self._files.items()})
        if self.unsynced:
            yield self._image({})
            yield self._image({name: list(_some(file.since, rng)) for name, file in self._files.items()})

    def _image(self, kept: Mapping[str, list[Operation]]) -> dict[str, bytes]:
        found = {name: _after(file.durable, kept.get(name, ())) for name, file in self._files.items() if name}
        return {name: content for name, content in found.items() if content is not None}


def write_image(image: Mapping[str, bytes], directory: Path) -> None:
    """Make the files of an image."""
    directory.mkdir()
    for name, content in image.items():
        (directory / name).write_bytes(content)


def _after(content: Content, operations: Iterable[Operation]) -> Content:
    found = None if content is None else bytearray(content)
    for kind, _, offset, data in operations:
        if kind is Kind.UNLINK:
            found = None
            continue
        if found is None:
            found = bytearray()
        end = offset + len(data)
        if len(found) < end:
            found.extend(bytes(end - len(found)))
        if kind is Kind.TRUNCATE:
            del found[offset:]
        else:
            found[offset:end] = data
    return None if found is None else bytes(found)


def _some(operations: Iterable[Operation], rng: random.Random) -> Iterator[Operation]:
    """Each operation whole, not at all, or some sectors of it."""
    for each in operations:
        chance = rng.random()
        if chance < 1 / 3 or (each.kind is not Kind.WRITE and chance < 2 / 3):
            yield each
        elif chance < 2 / 3:
            at = 0
            while at < len(each.data):
                piece = SECTOR_BYTES - (each.offset + at) % SECTOR_BYTES
                if rng.random() < 0.5:
                    yield each._replace(offset=each.offset + at, data=each.data[at : at + piece])
                at += piece
