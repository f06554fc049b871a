"""The archive: the part of the publisher's history that resuming subscribers need and the ring no longer holds.

It is fetched in pages, each once, whoever waits for it: ten thousand clients that come back together cost the
publisher one replay of what they missed. Pages are bounded in bytes, the least recently used goes first.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from execgate.service.logs import Throttle
from execgate.wire.replay import Gone
from execgate.wire.update import Update, epoch_text
from gateway.core.ring import Ring
from gateway.history import HistoryClient, Outcome, TimedOut

log = logging.getLogger("gateway.archive")

PAGE_UPDATES = 512
PAGE_BYTES = 8 * 1024 * 1024
"""Of payload: a page that is greater is had in parts, so that what is under way is bounded too."""
MAX_ASKED = 8
"""Pages that are asked for at once; the publisher answers one after the other, so more would not be faster."""
_TRIES = 2
_UNAVAILABLE_S = 1.0
"""After so many failures in a row the history is given up for so long: whoever waits for it is told."""


class Lost(NamedTuple):
    """What was asked for can't be had, up to and including `until`."""

    until: int
    why: str


class _Page:
    """Consecutive updates of one page, from wherever the first was asked for."""

    __slots__ = ("is_asked", "size", "updates")

    def __init__(self) -> None:
        self.updates: list[Update] = []
        self.size = 0
        self.is_asked = False

    def holds(self, seq: int) -> bool:
        return bool(self.updates) and self.updates[0].seq <= seq <= self.updates[-1].seq


class Archive:
    """Pages of the feed's current epoch.

    A page is asked for whole, as far as it is published, though the ring may hold its end: a follower that was
    given only what the ring has let go of would find that it has let go of more by then, for ever.

    Args:
        history: the publisher's; None if there is none.
        ring: says which epoch it is, and how far it goes.
        max_bytes: of payloads kept in pages; besides, what is under way: MAX_ASKED times PAGE_BYTES.
        on_news: called when something that was waited for has come, or will not.
        is_heard: whether the publisher's feed is. While it is silent too, a request that times out is none of the
            tries after which the history is given up: the publisher is away, and may come back with all of it.

    Attributes:
        requests: how many replays were asked for.
    """

    def __init__(
        self,
        history: HistoryClient | None,
        ring: Ring,
        max_bytes: int,
        on_news: Callable[[], None],
        is_heard: Callable[[], bool],
    ) -> None:
        self.requests = 0
        self._history = history
        self._ring = ring
        self._max_bytes = max_bytes
        self._on_news = on_news
        self._is_heard = is_heard
        self._pages: OrderedDict[int, _Page] = OrderedDict()
        self._bytes = 0
        self._asked = 0
        self._epoch: int | None = None
        self._gone = 0  # the publisher has let go of everything up to and including it
        self._failures = 0
        self._unavailable_until_s = 0.0
        self._lines = Throttle(log)

    def find(self, seq: int) -> list[Update] | Lost | None:
        """Return updates from `seq` on, below the ring's floor; None while they are fetched: ask again then."""
        ring = self._ring
        if ring.epoch != self._epoch:
            self._epoch, self._gone = ring.epoch, 0
            self._pages.clear()
            self._bytes = 0
        if self._history is None or self._epoch is None:
            return Lost(ring.floor - 1, "evicted")
        number = (seq - 1) // PAGE_UPDATES
        page = self._pages.get(number)
        if page is not None:
            self._pages.move_to_end(number)
            if page.holds(seq):
                return page.updates[seq - page.updates[0].seq :]
        if seq <= self._gone:
            return Lost(min(self._gone, ring.floor - 1), "evicted")
        if time.monotonic() < self._unavailable_until_s:
            return Lost(ring.floor - 1, "unavailable")
        if (page is None or not page.is_asked) and self._asked < MAX_ASKED:
            if page is None:
                page = self._pages[number] = _Page()
            self._fetch(self._history, self._epoch, number, page, seq)
        return None

    def _fetch(self, history: HistoryClient, epoch: int, number: int, page: _Page, seq: int) -> None:
        """Ask for what `page` lacks: what is behind its end, or all of it."""
        end = page.updates[-1].seq if page.updates else 0
        # Behind an end that retention has passed nothing can be had: such a page is begun anew.
        if self._gone <= end < seq and page.updates and page.size < PAGE_BYTES:
            first = end + 1
        else:
            first = seq if page.size >= PAGE_BYTES else max(number * PAGE_UPDATES, self._gone) + 1
            self._bytes -= page.size
            page.updates, page.size = [], 0
        last = min((number + 1) * PAGE_UPDATES, self._ring.ceiling)
        page.is_asked = True
        self._asked += 1
        self.requests += 1
        was_heard = self._is_heard()

        def on_items(items: list[Update]) -> None:
            if self._pages.get(number) is page and page.size < PAGE_BYTES:
                page.updates += items
                size = sum(len(update.payload) for update in items)
                page.size += size
                self._bytes += size

        def on_end(outcome: Outcome) -> None:
            page.is_asked = False
            self._asked -= 1
            if self._pages.get(number) is page:  # not of an epoch that is over
                is_away = isinstance(outcome, TimedOut) and not (was_heard and self._is_heard())
                self._judge(page, outcome, epoch, first, last, is_away=is_away)
                self._pages.move_to_end(number)  # whoever waits for it reads it before it may go
                if not page.updates:
                    del self._pages[number]
                self._evict()
            self._on_news()

        history.replay(epoch, first, last, on_items, on_end)

    def _judge(self, page: _Page, outcome: Outcome, epoch: int, first: int, last: int, *, is_away: bool) -> None:
        if page.updates and page.updates[-1].seq >= first:  # it has brought something: the rest is asked for again
            self._failures = 0
        elif isinstance(outcome, Gone) and (outcome.epoch != epoch or outcome.first > first):
            ring = self._ring
            gone = ring.floor - 1 if outcome.epoch != epoch else min(outcome.first - 1, ring.ceiling)
            self._gone = max(self._gone, gone)
            self._failures = 0
        else:
            self._lines.warning(
                "history not had epoch=%s from=%s to=%s why=%s", epoch_text(epoch), first, last, outcome
            )
            self._failures += not is_away
            if self._failures >= _TRIES:
                self._unavailable_until_s = time.monotonic() + _UNAVAILABLE_S

    def _evict(self) -> None:
        if self._bytes <= self._max_bytes:
            return
        for number, page in list(self._pages.items())[:-1]:
            if self._bytes <= self._max_bytes:
                return
            if not page.is_asked:
                del self._pages[number]
                self._bytes -= page.size
