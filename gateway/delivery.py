"""The innermost loop of the fan-out: one chunk, every subscriber of a group, one system call each.

Runs as it stands, and compiled by Cython where `setup.py` found a compiler; `delivery.pxd` beside it gives the
types and the compiled `push`, which makes the system call without the interpreter in between (ADR 6).
"""

from gateway.core.hub import Door

try:
    import cython
except ImportError:
    from gateway import uncompiled as cython

IS_COMPILED: bool = cython.compiled
NOT_TRIED = -1
"""Returned by the door of a subscriber that may not be written to now."""
GONE = -2
"""The peer is gone: the socket says so."""


if not cython.compiled:

    def push(door: Door, chunk: bytes) -> int:
        """Write `chunk` through `door`; return how many bytes it took, NOT_TRIED or GONE."""
        try:
            return door(chunk)
        except BlockingIOError:
            return 0
        except OSError:
            return GONE


def write_each(doors: list[Door], chunk: bytes) -> list[tuple[int, int]]:
    """Write `chunk` through every door; return (position, what it returned) of those that did not take all of it.

    Nothing that a door calls may change `doors`.
    """
    size = len(chunk)
    short: list[tuple[int, int]] = []
    for position, door in enumerate(doors):
        written = push(door, chunk)
        if written != size:
            short.append((position, written))
    return short
