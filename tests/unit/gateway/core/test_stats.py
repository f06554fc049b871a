"""The sum of several workers: counts are added, lags are the worst, the position is what all have passed."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.stats import add_up, status_line


def test_the_figures_of_two_workers_become_one() -> None:
    first = {
        "process": "gateway-1",
        "pid": 1,
        "ready": True,
        "uptime_s": 5.0,
        "feed": {"state": "live", "epoch": "ab", "seq": 10, "feed_lag_ms": 1.5, "updates": 10},
        "orders": {"accepted": 2},
        "delivered": 100,
        "loop_lag_ms": 0.5,
    }
    second = {
        "process": "gateway-2",
        "pid": 2,
        "ready": False,
        "uptime_s": 9.0,
        "feed": {"state": "stale", "epoch": "ab", "seq": 8, "feed_lag_ms": 0.5, "updates": 8, "gaps": 1},
        "orders": {"accepted": 1, "rejected": 4},
        "delivered": 80,
        "loop_lag_ms": 2.5,
    }
    assert add_up([first, second]) == {
        "uptime_s": 9.0,
        "feed": {"seq": 8, "feed_lag_ms": 1.5, "updates": 18, "gaps": 1},
        "orders": {"accepted": 3, "rejected": 4},
        "delivered": 180,
        "loop_lag_ms": 2.5,
    }


def test_no_worker_adds_up_to_nothing() -> None:
    assert add_up([]) == {}


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 9)), max_size=4))
def test_a_figure_that_only_some_have_is_added_where_it_is(figures: list[dict[str, int]]) -> None:
    keys = {key for figure in figures for key in figure}
    assert add_up(figures) == {key: sum(figure.get(key, 0) for figure in figures) for key in keys}


def test_the_line_for_systemd_has_the_few_figures_that_are_known() -> None:
    one = {"feed": {"state": "live", "seq": 7}, "connections": 3, "subscribers": {"all": 1, "volatile": 2}, "x": 1}
    assert status_line(one) == "feed=live seq=7 connections=3 subscribers=3"
    assert status_line({"restarts": 0}) == "subscribers=0 restarts=0"
