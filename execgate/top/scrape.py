"""One look at the metrics of many processes, all at once. Called by `app.py`."""

import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from execgate.admin import slowest_of
from execgate.top.view import Look, Row

TIMEOUT_S = 2.0
MAX_BYTES = 4 * 1024 * 1024
"""Of an answer; ours have 30 KB."""
MAX_AT_ONCE = 16


class Scraper:
    """Asks `urls`, whichever of them answer."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self._threads = ThreadPoolExecutor(min(len(urls), MAX_AT_ONCE))

    def look(self) -> list[Look]:
        """Return what each said, in their order; takes no longer than `TIMEOUT_S` and a little."""
        return list(self._threads.map(scrape, self._urls))


def slowest(paths: Sequence[str]) -> tuple[list[Row], list[Row]]:
    """Return the sessions for whom the most waits, of all admin sockets, and which of those do not answer."""
    found: list[Row] = []
    silent: list[Row] = []
    for path in paths:
        try:
            found += [{"gateway": path, **session} for session in slowest_of(path, TIMEOUT_S)]
        except (OSError, ValueError) as error:
            silent.append({"name": path, "why": getattr(error, "strerror", None) or str(error)})
    return found, silent


def scrape(url: str) -> Look:
    """Return the samples of one process, or why there are none."""
    from prometheus_client.parser import text_string_to_metric_families

    name = url.split("//", 1)[-1].removesuffix("/metrics")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            text = answer.read(MAX_BYTES).decode()
        samples = {
            (sample.name, next(iter(sample.labels.values()), "")): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    except urllib.error.HTTPError as error:
        return Look(name, time.monotonic(), {}, f"answers {error.code}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return Look(name, time.monotonic(), {}, getattr(reason, "strerror", None) or str(reason) or "no answer")
    return Look(name, time.monotonic(), samples, None)
