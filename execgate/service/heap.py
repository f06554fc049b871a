"""The heap under Python's garbage collector: how long it was held up by it, and what is put out of its reach.

A full collection looks at every object that may be part of a cycle: with 15,000 connections that takes longer than
a delivery may. What a connection is made of lives as long as it does, and is freed when its last reference goes;
so after a ramp it is frozen: moved where the collector does not look (`gc.freeze`).
"""

import gc
import time
from typing import Any

_GROWTH = 250
"""Connections that have come since the heap was last frozen, for it to be worth doing again."""

_YOUNG = 1
"""Collect the two young generations before a freeze: what handshakes leave behind, not the whole heap."""

_THRESHOLDS = (700, 3, 30)
"""Python's own are 700, 10, 10: what 390 handshakes leave was collected at once, in 2.5 ms. Now it is in three
parts; the oldest generation is collected as often as ever.
"""


class Heap:
    """Watches the collector of this process; `settle` is called from time to time.

    Attributes:
        longest_pause_s: of all collections since `start`.
    """

    def __init__(self) -> None:
        self.longest_pause_s = 0.0
        self._began_s = 0.0
        self._settled = 0
        self._thresholds_before = gc.get_threshold()

    def start(self) -> None:
        """Begin to watch; what the imports have made is frozen at once."""
        self._thresholds_before = gc.get_threshold()
        gc.set_threshold(*_THRESHOLDS)
        gc.collect()
        gc.freeze()
        gc.callbacks.append(self._watch)

    def stop(self) -> None:
        """Stop watching, and give everything back to the collector."""
        if self._watch in gc.callbacks:
            gc.callbacks.remove(self._watch)
        gc.unfreeze()
        gc.set_threshold(*self._thresholds_before)

    def settle(self, connections: int) -> bool:
        """Freeze the heap if enough `connections` have come since the last time; return whether it was done."""
        if connections - self._settled < _GROWTH:
            self._settled = min(self._settled, connections)
            return False
        gc.collect(_YOUNG)
        gc.freeze()
        self._settled = connections
        return True

    def _watch(self, phase: str, _info: dict[str, Any]) -> None:
        now_s = time.perf_counter()
        if phase == "start":
            self._began_s = now_s
        else:
            self.longest_pause_s = max(self.longest_pause_s, now_s - self._began_s)
