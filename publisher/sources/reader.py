"""Reading a descriptor that may block, in short jobs on a thread, so that neither the loop nor the exit waits.

Regular files, pipes, named pipes and terminals alike. The line source is its one user.
"""

import asyncio
import os
import select
import stat

from execgate.wire.errors import UsageError

CHUNK_BYTES = 128 * 1024
_POLL_MS = 100
"""The longest that a job waits for data, and so the longest that an end waits for a job."""


def open_file(flag: str, path: str) -> int:
    """Open a file, or a named pipe whose writer may come later, for reading.

    Raises:
        UsageError: it can't be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise UsageError(f"{flag}: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{flag}: is a directory, expected a file")
    return descriptor


class Reader:
    """Chunks of one descriptor, which it closes only if it is told to own it."""

    def __init__(self, descriptor: int, *, owned: bool) -> None:
        self._descriptor = descriptor
        self._owned = owned

    async def read(self) -> bytes:
        """Return the next chunk, empty at the end.

        Raises:
            OSError: the descriptor can't be read (any more).
        """
        loop = asyncio.get_running_loop()
        while True:
            job = loop.run_in_executor(None, self._read_if_ready)
            try:
                chunk = await asyncio.shield(job)
            except asyncio.CancelledError:
                await asyncio.wait([job])  # soon over; the descriptor must outlive it
                raise
            if chunk is not None:
                return chunk

    def close(self) -> None:
        """Close the descriptor; no read may be under way."""
        if self._owned:
            os.close(self._descriptor)

    def _read_if_ready(self) -> bytes | None:
        """Wait a little for data; None where none came."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if not poll.poll(_POLL_MS):
            return None
        try:
            return os.read(self._descriptor, CHUNK_BYTES)
        except BlockingIOError:  # somebody else who shares the pipe was faster
            return None
