"""What a source is: the seam behind which every way for execs to come in stands.

`app` runs one task for each source, which takes a batch and sends it down the road before it asks for the
next: a source that is not asked does not read, so nothing piles up in here.
"""

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple, Protocol

from execgate.wire.errors import ExecgateError, RowError
from publisher.core.rows import Row
from publisher.log import Range


class SourceError(ExecgateError):
    """A source can give nothing more although it is not at its end; the others go on, the exit status is 1."""


class Batch(NamedTuple):
    """Checked rows that came together, and their position in the source that they came from.

    Attributes:
        rows: at least one.
        number: line of a file, message of ingest, update of synthetic; from 1.
        batch_id: the producer's name of it, at most 128 bytes: a batch with one is taken once. Empty: it has none.
        settle: called once on the loop, with where the batch is kept, or why it was refused; not at all where the
            publisher ends before it knows.
    """

    rows: list[Row]
    number: int
    batch_id: bytes = b""
    settle: Callable[[Range | RowError], None] | None = None


class Source(Protocol):
    """One way for execs to come in."""

    name: str
    """As it was asked for: `synthetic`, `file:PATH`, `-`, `ingest`."""
    unit: str
    """What a batch's number counts: `line`, `message`, `update`."""

    def batches(self) -> AsyncIterator[Batch]:
        """Yield batches when they are due, until there will be no more. What is refused is counted, not raised."""
        ...

    def close(self) -> None:
        """Let go of files and sockets; the iterator is not used any more."""
        ...
