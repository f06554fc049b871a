"""When a run must not be believed: its numbers would be the measuring side's, not the server's."""

from benchmarks.running import Figures

CLIENT_CORE_BUSY_MOST = 0.92
CLIENT_BEHIND_MOST_US = 20_000
FEED_BEHIND_MOST_US = 100_000


def why_void(figures: Figures) -> str:
    """Return why a run must not be believed, "" if it may.

    The measuring side is whatever shares the client's core: the client, one thread, and the feeder. Its core being
    full is no excuse for a server whose own is fuller: then that was the bottleneck, or was one too. A client that
    spins between the orders of a schedule is always busy, so for it only being late tells.
    """
    if late := feed_late(figures["feed_behind_us"]):
        return late
    if figures["behind_us"] > CLIENT_BEHIND_MOST_US:
        return f"the client fell {figures['behind_us'] / 1000:.0f} ms behind its schedule"
    client_core = figures["client_core_busy"]
    if not figures["spins"] and client_core > CLIENT_CORE_BUSY_MOST and figures["server_busy"] < client_core:
        return f"the client was the bottleneck (its core {client_core:.0%} busy)"
    return differs(figures)


def feed_late(behind_us: int) -> str:
    """Return "" if the updates left on their schedule, or nearly."""
    return (
        f"the feed fell {behind_us / 1000:.0f} ms behind its schedule" if behind_us > FEED_BEHIND_MOST_US else ""
    )


def differs(figures: Figures) -> str:
    """Return "" if all copies that were looked at had the content that the feeder made."""
    count = figures["content_differs"]
    return f"{count} copies of an update differed from what was fed" if count else ""
