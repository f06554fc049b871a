"""The archive: the part of the publisher's history that resuming subscribers need and the ring no longer holds.

It is fetched in pages, each once, whoever waits for it: ten thousand clients that come back together cost the
publisher one replay of what they missed. Pages are bounded in bytes, the least recently used goes first.
"""

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from execgate.service.logs import Throttle
from execgate.wire.replay import Gone
from execgate.wire.update import Update, epoch_text
from gateway.core.ring import Ring
from gateway.history import HistoryClient, Outcome

log = logging.getLogger("gateway.archive")

PAGE_UPDATES = 512
_TRIES = 2
_UNAVAILABLE_S = 1.0
"""After so many tries a page is given up for so long: whoever waits for it is told."""


class Lost(NamedTuple):
    """What was asked for can't be had, up to and including `until`."""

    until: int
    why: str


class _Page:
    """Consecutive updates of one page, from wherever the first was asked for."""

    __slots__ = ("failures", "is_asked", "lost", "lost_until_s", "size", "updates")

    def __init__(self) -> None:
        self.updates: list[Update] = []
        self.size = 0
        self.is_asked = False
        self.failures = 0
        self.lost: Lost | None = None
        self.lost_until_s = 0.0  # it is believed until then


class Archive:
    """Pages of the feed's current epoch.

    Args:
        history: the publisher's; None if there is none.
        ring: what it holds is never asked for.
        max_bytes: of payloads kept in pages.
        on_news: called when something that was waited for has come, or will not.

    Attributes:
        requests: how many replays were asked for.
    """

    def __init__(
        self, history: HistoryClient | None, ring: Ring, max_bytes: int, on_news: Callable[[], None]
    ) -> None:
        self.requests = 0
        self._history = history
        self._ring = ring
        self._max_bytes = max_bytes
        self._on_news = on_news
        self._pages: OrderedDict[int, _Page] = OrderedDict()
        self._epoch: int | None = None
        self._bytes = 0
        self._lines = Throttle(log)

    def find(self, seq: int) -> list[Update] | Lost | None:
        """Return updates from `seq` on, below the ring's floor; None while they are fetched: ask again then."""
        if self._ring.epoch != self._epoch:
            self._epoch = self._ring.epoch
            self._pages.clear()
            self._bytes = 0
        if self._history is None or self._epoch is None:
            return Lost(self._ring.floor - 1, "evicted")
        number = (seq - 1) // PAGE_UPDATES
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = _Page()
        else:
            self._pages.move_to_end(number)
        if page.lost is not None and seq <= page.lost.until:
            if time.monotonic() < page.lost_until_s:
                return page.lost
            page.lost = None  # perhaps the publisher can be reached by now
        held = page.updates
        if held and held[0].seq <= seq <= held[-1].seq:
            return held[seq - held[0].seq :]
        if not page.is_asked:
            self._fetch(self._history, self._epoch, number, page, seq)
        return None

    def _fetch(self, history: HistoryClient, epoch: int, number: int, page: _Page, seq: int) -> None:
        """Ask for what `page` lacks: all of it, or what the ring has let go of since, or what is behind a loss."""
        if page.lost is not None:
            first = page.lost.until + 1
        elif page.updates and page.updates[-1].seq < seq:
            first = page.updates[-1].seq + 1
        else:
            self._bytes -= page.size
            page.updates, page.size = [], 0
            first = number * PAGE_UPDATES + 1
        last = min((number + 1) * PAGE_UPDATES, self._ring.floor - 1)
        page.is_asked = True
        self.requests += 1

        def on_items(items: list[Update]) -> None:
            if self._epoch == epoch:
                page.updates += items
                size = sum(len(update.payload) for update in items)
                page.size += size
                self._bytes += size

        def on_end(outcome: Outcome) -> None:
            page.is_asked = False
            if self._epoch == epoch:
                self._judge(page, outcome, first, last)
                self._evict()
            self._on_news()

        history.replay(epoch, first, last, on_items, on_end)

    def _judge(self, page: _Page, outcome: Outcome, first: int, last: int) -> None:
        if page.updates and page.updates[-1].seq >= last:
            page.failures = 0
            return
        if isinstance(outcome, Gone) and (outcome.epoch != self._epoch or outcome.first > first):
            until = last if outcome.epoch != self._epoch else min(outcome.first - 1, last)
            page.lost, page.lost_until_s = Lost(until, "evicted"), math.inf
            return
        page.failures += 1
        self._lines.warning(
            "history not had epoch=%s from=%s to=%s why=%s", epoch_text(self._epoch or 0), first, last, outcome
        )
        if page.failures >= _TRIES:
            page.failures = 0
            page.lost, page.lost_until_s = Lost(last, "unavailable"), time.monotonic() + _UNAVAILABLE_S

    def _evict(self) -> None:
        while self._bytes > self._max_bytes and len(self._pages) > 1:
            number, page = next(iter(self._pages.items()))
            if page.is_asked:
                self._pages.move_to_end(number)
                if all(other.is_asked for other in self._pages.values()):
                    return
                continue
            del self._pages[number]
            self._bytes -= page.size
