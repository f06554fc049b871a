"""What a command writes where it is told to: a file, or standard output."""

import sys
from pathlib import Path

from execgate.wire.errors import UsageError


def write_output(name: str, text: str, flag: str = "") -> None:
    """Write to a file, or to standard output where `name` is `-`.

    Args:
        name: of the file.
        text: the whole of it.
        flag: that named it, for the error.

    Raises:
        UsageError: it can't be written.
    """
    if name == "-":
        sys.stdout.write(text)
        return
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{flag} {name}: {error.strerror or error}".lstrip()) from None
