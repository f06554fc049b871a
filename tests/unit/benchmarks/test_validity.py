"""A run whose measuring side was the bottleneck is void, and no other is."""

import pytest

from benchmarks.validity import (
    CLIENT_BEHIND_MOST_US,
    CLIENT_CORE_BUSY_MOST,
    FEED_BEHIND_MOST_US,
    why_void,
)

QUIET = {
    "behind_us": 0,
    "feed_behind_us": 0,
    "client_core_busy": 0.4,
    "server_busy": 0.5,
    "spins": False,
    "content_differs": 0,
}
FULL = CLIENT_CORE_BUSY_MOST + 0.01


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="nobody is busy"),
        pytest.param({"client_core_busy": FULL, "server_busy": 1.0}, id="the server is busier still"),
        pytest.param({"client_core_busy": FULL, "server_busy": FULL}, id="the server is as busy"),
        pytest.param({"client_core_busy": CLIENT_CORE_BUSY_MOST, "server_busy": 0.1}, id="busy, within the bound"),
        pytest.param({"client_core_busy": 1.0, "server_busy": 0.1, "spins": True}, id="it spins, and is in time"),
        pytest.param({"behind_us": CLIENT_BEHIND_MOST_US}, id="orders late, within the bound"),
        pytest.param({"feed_behind_us": FEED_BEHIND_MOST_US}, id="the feed late, within the bound"),
    ],
)
def test_a_run_may_be_believed_where_the_measuring_side_had_room(change: dict[str, float]) -> None:
    assert why_void(QUIET | change) == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"client_core_busy": FULL}, "the client was the bottleneck (its core 93% busy)"),
        ({"behind_us": 30_000}, "the client fell 30 ms behind its schedule"),
        ({"behind_us": 30_000, "spins": True}, "the client fell 30 ms behind its schedule"),
        ({"feed_behind_us": 200_000}, "the feed fell 200 ms behind its schedule"),
        ({"content_differs": 3}, "3 copies of an update differed from what was fed"),
    ],
)
def test_a_run_is_void_where_it_had_none_or_the_content_is_wrong(change: dict[str, float], why: str) -> None:
    assert why_void(QUIET | change) == why
