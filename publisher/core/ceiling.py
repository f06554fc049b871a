"""PURE: may an epoch go on after a start, or could a seq then name two payloads? docs/adr/0011-journal.md has why.

Next to the journal stands a small file, the ceiling. It says what may have been published, so that a journal which
has less is found out: its tail was lost, and its epoch must not go on.
"""

import zlib
from typing import NamedTuple

LINE_BYTES = 160
"""Of the file, padded: written by one `pwrite` into one sector."""


class Ceiling(NamedTuple):
    """What may have been published of an epoch.

    Attributes:
        published: the last seq that may have been, exact as long as the machine runs (not yet synced).
        reserved: never less than `published`, and on disk for sure before any seq up to it is used.
        boot: names the run of the machine under which it was written.
    """

    epoch: int
    published: int
    reserved: int
    boot: str


def encode(ceiling: Ceiling) -> bytes:
    """Return the file's one line: readable, of a fixed length, with a checksum."""
    words = b"epoch=%016x published=%d reserved=%d boot=%s" % (
        ceiling.epoch,
        ceiling.published,
        ceiling.reserved,
        ceiling.boot.encode(),
    )
    return b"%b crc=%08x" % (words, zlib.crc32(words)) + b" " * (LINE_BYTES - len(words) - 14) + b"\n"


def decode(line: bytes) -> Ceiling | None:
    """Read the line; None for anything that is not one, whole and unharmed."""
    words, found, crc = line.rstrip().rpartition(b" crc=")
    try:
        if not found or int(crc, 16) != zlib.crc32(words):
            return None
        facts = dict(word.split("=", 1) for word in words.decode().split(" "))
        return Ceiling(int(facts["epoch"], 16), int(facts["published"]), int(facts["reserved"]), facts["boot"])
    except (ValueError, KeyError):
        return None


def why_not(epoch: int, last: int, ceiling: Ceiling | None, boot: str) -> str | None:
    """Say why `epoch`, of which the journal holds up to `last`, must not go on; None where it may.

    Args:
        epoch: the journal's.
        last: seq of the last update that the journal holds.
        ceiling: as it was found, None where there is none.
        boot: of this run of the machine; empty where it is not known, which is like another one.
    """
    if ceiling is None:
        return "the ceiling file is missing or damaged, so nobody knows what was published"
    if ceiling.epoch != epoch:
        return f"the ceiling file is of epoch {ceiling.epoch:016x}"
    if boot and ceiling.boot == boot:
        if last < ceiling.published:
            return f"seq {last + 1} to {ceiling.published} were published and are missing"
        return None
    if last < ceiling.reserved:
        return f"the machine went down in mid-run: seqs after {last} may have been published"
    return None
