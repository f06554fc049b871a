"""Figures of `/stats`: those of several workers as one, and the few that fit in a line."""

from collections.abc import Sequence
from typing import Any

# These are the same for all, or belong to one process: a sum would mean nothing.
_WORST = frozenset({"feed_lag_ms", "gc_pause_ms", "loop_lag_ms", "uptime_s"})
_LEAST = frozenset({"seq"})
_OWN = frozenset({"process", "pid", "epoch", "state", "ready"})


def add_up(figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the sum of `figures`, key by key, nested dicts too.

    Lags and uptime are the greatest, `seq` is the least (the position that all have passed), and what names a
    process is left out.
    """
    total: dict[str, Any] = {}
    for key in dict.fromkeys(key for figure in figures for key in figure):
        values = [figure[key] for figure in figures if key in figure]
        if key in _OWN:
            continue
        if isinstance(values[0], dict):
            total[key] = add_up(values)
        elif key in _WORST:
            total[key] = max(values)
        else:
            total[key] = min(values) if key in _LEAST else sum(values)
    return total


def status_line(figures: dict[str, Any]) -> str:
    """Return the few `figures` that systemd shows of a gateway; a supervisor without reports has none yet."""
    feed = figures.get("feed", {})
    words = {
        "feed": feed.get("state"),
        "seq": feed.get("seq"),
        "connections": figures.get("connections"),
        "subscribers": sum(figures.get("subscribers", {}).values()),
        "delivered": figures.get("delivered"),
        "queued_bytes": figures.get("queued_bytes"),
        "loop_lag_ms": figures.get("loop_lag_ms"),
        "restarts": figures.get("restarts"),
    }
    return " ".join(f"{name}={value}" for name, value in words.items() if value is not None)
