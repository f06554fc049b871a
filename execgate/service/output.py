"""What a command writes where it is told to: a file, or standard output.

What runs for long looks first whether the file can be written (`check_output`). Where that fails all the same at
its end, it says so and has failed (`keep_output`): that is about the machine then, not about how it was called.
"""

import sys
from pathlib import Path
from typing import Any

import ujson

from execgate.wire.errors import UsageError


def as_json(content: Any) -> str:
    """Return JSON for a file."""
    return ujson.dumps(content, indent=2, escape_forward_slashes=False) + "\n"


def check_output(flag: str, name: str | None) -> None:
    """Refuse a file that can't be written before a run, not after it; None is no file.

    Raises:
        UsageError: names the flag and the file.
    """
    if name is None or name == "-":
        return
    try:
        Path(name).open("a").close()
    except OSError as error:
        raise _unwritable(flag, name, error) from None


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
        raise _unwritable(flag, name, error) from None


def keep_output(program: str, flag: str, name: str | None, text: str) -> bool:
    """Write at the end of a run; return whether it is written, or not wanted.

    Args:
        program: says on standard error what could not be written.
        flag: as `write_output` has it.
        name: as `write_output` has it; None is no file.
        text: as `write_output` has it.
    """
    if name is None:
        return True
    try:
        write_output(name, text, flag)
    except UsageError as error:
        print(f"{program}: {error}", file=sys.stderr, flush=True)
        return False
    return True


def _unwritable(flag: str, name: str, error: OSError) -> UsageError:
    return UsageError(f"{flag} {name}: {error.strerror or error}".lstrip())
