"""The ceiling file: says what may have been published (`publisher.core.ceiling`), and when it must be on disk.

The store calls it in the committer's thread. Before a group is committed `reserve`, after it `publish`; in
between the file tells the truth whatever happens.
"""

import os
from pathlib import Path

from publisher.core.ceiling import LINE_BYTES, Ceiling, decode, encode

FILE_NAME = "ceiling"
BLOCK = 1_000_000
"""Seqs that are reserved at once: one fsync for so many, and a number that nobody need see."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Return what names this run of the machine; empty where the system has no such thing."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def read_ceiling(directory: Path) -> Ceiling | None:
    """Return what the file says; None where it is missing or damaged.

    Raises:
        OSError: it is there and can't be read.
    """
    try:
        with (directory / FILE_NAME).open("rb") as file:
            return decode(file.read(LINE_BYTES))
    except FileNotFoundError:
        return None


class CeilingFile:
    """The open file of one epoch.

    Args:
        synced: what is committed is on disk before it is published (`--durability power`), so nothing has to be
            reserved.

    Raises:
        OSError: it can't be written.
    """

    def __init__(self, directory: Path, epoch: int, last: int, boot: str, *, synced: bool) -> None:
        self._synced = synced
        self._now = Ceiling(epoch, last, last, boot)
        self._descriptor = os.open(directory / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._write(self._now, sync=True)
        except OSError:
            self.close()
            raise

    @property
    def is_tight(self) -> bool:
        """Whether no more is reserved than was published."""
        return self._now.reserved == self._now.published

    def reserve(self, last: int) -> None:
        """Make sure that seqs up to `last` may be used: an fsync where they are the first of a block."""
        if not self._synced and last > self._now.reserved:
            self._write(self._now._replace(reserved=last + BLOCK), sync=True)

    def publish(self, last: int) -> None:
        """Say that up to `last` will be published now. It is committed; survives our end, not the machine's."""
        self._write(self._now._replace(published=last, reserved=last if self._synced else self._now.reserved))

    def tighten(self) -> None:
        """Give back what is reserved and unused. All that was published must be on disk."""
        self._write(self._now._replace(reserved=self._now.published), sync=True)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _write(self, ceiling: Ceiling, *, sync: bool = False) -> None:
        if os.pwrite(self._descriptor, encode(ceiling), 0) != LINE_BYTES:
            raise OSError(f"{FILE_NAME}: short write")
        if sync:
            os.fsync(self._descriptor)
        self._now = ceiling
