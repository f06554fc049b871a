"""One publisher a journal: an flock(2), which the kernel lets go of whatever way we end."""

import fcntl
import os
from pathlib import Path

from publisher.journal.schema import JournalError

FILE_NAME = "lock"


def take(directory: Path) -> int:
    """Return a descriptor that holds the lock until it is closed.

    Raises:
        JournalError: another process has it.
        OSError: the file can't be made.
    """
    descriptor = os.open(directory / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise JournalError(f"is in use by another publisher{f' (pid {holder})' if holder else ''}") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    return descriptor
