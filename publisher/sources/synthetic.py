"""The synthetic source: the rows of 2012 at a rate or at random intervals, for ever. `app` makes it."""

import time
from collections.abc import AsyncIterator, Iterator
from random import Random

import ujson

from execgate.measure import pacer
from execgate.wire.heritage import SYMBOL, random_row
from publisher.config import DEFAULT_INTERVAL_MS, PublisherConfig
from publisher.core.rows import Row
from publisher.sources.base import Batch
from publisher.sources.waiting import Waiter

_WELL_KNOWN = (SYMBOL, "SPY", "AAPL", "MSFT", "NVDA", "AMZN", "META", "GOOG", "TSLA", "AMD")


def symbol_names(count: int) -> list[str]:
    """Return `count` symbols; the first is the one that 2012 knew."""
    made = (f"SYM{number}" for number in range(len(_WELL_KNOWN) + 1, count + 1))
    return [*_WELL_KNOWN[:count], *made]


def schedule(config: PublisherConfig) -> Iterator[int]:
    """Return the offsets at which updates are due. Its random state is its own: pace does not change the rows."""
    if config.rate is not None:
        return pacer.constant_rate(config.rate)
    random = Random(None if config.seed is None else f"pace {config.seed}")
    low_ms, high_ms = config.interval_ms or DEFAULT_INTERVAL_MS
    if config.interval_once:
        return pacer.one_random_interval(random, low_ms, high_ms)
    return pacer.random_intervals(random, low_ms, high_ms)


class SyntheticSource:
    """Batches of `rows` execs of one symbol each; the same seed makes the same rows."""

    name = "synthetic"
    unit = "update"

    def __init__(self, config: PublisherConfig) -> None:
        self._rows = config.rows
        self._random = Random(config.seed)
        self._symbols = symbol_names(config.symbols)
        self._schedule = schedule(config)

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield a batch each time one is due."""
        waiter = Waiter()
        await waiter.until(0)  # the schedule begins now
        for number, offset_ns in enumerate(self._schedule, 1):
            await waiter.until(offset_ns)
            yield Batch(self.make_rows(), number)

    def make_rows(self) -> list[Row]:
        """Return the rows of the next batch."""
        random = self._random
        symbol = self._symbols[random.randrange(len(self._symbols))]
        today = time.strftime("%Y-%m-%d")
        rows = []
        for sequence in range(self._rows):
            fields = random_row(sequence, today, random, symbol)
            rows.append(Row(ujson.dumps(fields, escape_forward_slashes=False).encode(), fields))
        return rows

    def close(self) -> None:
        """Nothing is held."""
