"""A small disk of our own for the journal, which can be filled: a tmpfs in a mount namespace of this process."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SIZE_BYTES = 512 * 1024 * 1024
"""Room for the write-ahead log (128 MiB) and half an hour at 200 updates/s."""
_INSIDE = "EXECGATE_CHAOS_MOUNTS"


def enter_namespace(module: str, arguments: Sequence[str]) -> str | None:
    """Execute this program anew where it may mount; return why not if that is forbidden here."""
    if os.environ.get(_INSIDE):
        return None
    command = ["unshare", "-m"]
    try:
        done = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    except OSError as error:
        return f"unshare: {error.strerror}"
    if done.returncode:
        return done.stderr.strip() or "unshare -m failed"
    os.environ[_INSIDE] = "1"
    return os.execvp(command[0], [*command, sys.executable, "-m", module, *arguments])


class SmallDisk:
    """A directory on a disk of SIZE_BYTES; it is gone with the last process of the namespace.

    Args:
        directory: where it is mounted; is made.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "tmpfs", str(directory)],
            check=True,
            capture_output=True,
        )
        self._filler = directory / "filler"

    def fill(self) -> int:
        """Take all that is free; return how many bytes that were."""
        filled = 0
        with self._filler.open("wb") as filler:
            piece = os.statvfs(self._filler.parent).f_bavail * os.statvfs(self._filler.parent).f_frsize
            while piece >= 4096:
                try:
                    os.posix_fallocate(filler.fileno(), filled, piece)
                    filled += piece
                except OSError:
                    piece //= 2
        return filled

    def free(self) -> None:
        """Give it back."""
        self._filler.unlink(missing_ok=True)
