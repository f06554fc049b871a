"""What a trial of a search comes to, and how a search is told."""

import re
from typing import Any

import pytest

from loadgen.core.capacity import (
    ORDERS,
    RATE,
    SUBSCRIBERS,
    Trial,
    bars,
    curve,
    in_words,
    judge_trial,
    limit_of,
    tables,
)
from loadgen.core.figures import Figures
from loadgen.core.limits import Limiting
from loadgen.core.report import make_report
from loadgen.core.requirement import parse_requirement
from loadgen.core.search import DISTURBED, DONE, FAILED, HELD, UNBELIEVABLE, UNTOLD, Knee
from loadgen.core.tables import as_text
from tests.unit.loadgen.core.making import histogram, record

P99 = parse_requirement("p99<50ms")


def told(
    *, requirements: tuple[str, ...] = ("p99<50ms",), count: int = 2000, us: int = 9_000, **fields: Any
) -> Any:
    """What `loadgen run --json` tells of one record."""
    figures = Figures([record(delivery_us=histogram([us] * count), delivered=count, **fields)])
    plan = {"subscribers": 2, "clients": figures.whole.counts()["clients"], "measure_s": 1.0, "orders_per_s": None}
    return make_report({"plan": plan, "config": {"require": requirements}}, figures, {}).as_dict()


@pytest.mark.parametrize(
    ("run", "outcome", "why"),
    [
        (told(), HELD, ""),
        (told(us=60_000), FAILED, "p99<50ms: 60.0"),
        (told(requirements=("lost==0",), missing=3), FAILED, "lost==0: 3"),
        (told(cpu_share=0.96), UNBELIEVABLE, "short of CPU"),
        (told(cpu_share=0.96, us=60_000), UNBELIEVABLE, "short of CPU"),
        (told(count=900), UNTOLD, "p99<50ms: 900 samples"),
        (told(seconds=0.2), UNTOLD, "measured 0.2 of 1 s"),
        (
            told(clients=3, errors={"connect handshake": 2}),
            FAILED,
            "1 of 3 clients were not connected when it ended",
        ),
        # Who was turned away was, however short of CPU the client may have been.
        (told(clients=3, cpu_share=0.96), FAILED, "1 of 3 clients were not connected"),
        (told(disconnects=1, errors={"closed 4108": 1}), FAILED, "1 of 2 clients .*closed 4108: 1"),
        (told(connects=3, disconnects=1), HELD, ""),  # one came back
        (told(clients=3, errors={"connect out of file descriptors": 1}), UNBELIEVABLE, "want of descriptors"),
    ],
)
def test_a_trial_comes_to(run: Any, outcome: str, why: str) -> None:
    found, told_why = judge_trial(run, None, 2)
    assert found == outcome
    assert re.search(why, told_why) if why else told_why == ""


@pytest.mark.parametrize(("due_per_s", "outcome"), [(2_000.0, HELD), (2_022.0, HELD), (2_023.0, FAILED)])
def test_a_rate_that_was_not_delivered_is_none(due_per_s: float, outcome: str) -> None:
    """2,000 came in a second, to two clients: one of each may have fallen beside it, and 1 % is given."""
    assert judge_trial(told(), due_per_s, 2)[0] == outcome


@pytest.mark.parametrize(
    ("us", "least_us", "outcome"), [(9_000, 2_000, HELD), (60_000, 40_000, UNBELIEVABLE), (90_000, 60_000, FAILED)]
)
def test_a_doubtful_latency_is_an_answer_where_both_bounds_give_the_same(
    us: int, least_us: int, outcome: str
) -> None:
    doubted: dict[str, Any] = {
        "delivery_doubted_us": histogram([us] * 2000),
        "delivery_least_us": histogram([least_us] * 2000),
    }
    run = told(us=us, **doubted)
    assert run["verdict"]["verdict"] == "INVALID"
    assert judge_trial(run, None, 2)[0] == outcome


BUSY: dict[str, Any] = {
    "machine_busy_share": 0.9,
    "server_cpu_s": 0.1,
    "server_thread_share": 0.1,
    "server_rss_bytes": 1,
}


@pytest.mark.parametrize(
    ("run", "outcome"),
    [
        (told(us=60_000, **BUSY), DISTURBED),
        (told(cpu_wait_share=0.35, **BUSY), DISTURBED),
        (told(**BUSY), HELD),  # though something else ran here
        (told(requirements=("p99<50ms", "lost==0"), us=60_000, missing=3, **BUSY), FAILED),  # that excuses no loss
        (told(clients=3, **BUSY), FAILED),
    ],
)
def test_what_something_else_made_late_is_no_answer_and_what_is_lost_is_one(run: Any, outcome: str) -> None:
    assert judge_trial(run, None, 2)[0] == outcome


def test_a_trial_that_is_not_believed_is_no_point_of_the_curve() -> None:
    run = told()
    made = [
        Trial(1, HELD, "", run, "1"),
        Trial(2, UNBELIEVABLE, "x", run, "2"),
        Trial(3, DISTURBED, "x", run, "3"),
    ]
    assert [point["p99_ms"] is None for point in curve(SUBSCRIBERS, made, P99)] == [False, True, True]


def knee(low: int = 100, high: int | None = 110, *, lower: bool = False) -> Knee:
    return Knee(low, high, lower, "high", f"{low} held 3 of 3", DONE)


@pytest.mark.parametrize(
    ("variable", "found", "words"),
    [
        (SUBSCRIBERS, knee(1_000, 1_100), "1,000 subscribers hold; 1,100 do not"),
        (RATE, knee(1_000, 1_100, lower=True), "at least 1,000 updates/s hold; 1,100 do not"),
        (ORDERS, knee(5, None, lower=True), "at least 5 orders/s hold"),
        (ORDERS, knee(0, 1), "not even 1 orders/s hold"),
        (ORDERS, knee(0, 1, lower=True), "nothing can be told: not even at 1 orders/s was the measuring side"),
        (ORDERS, knee(0, None, lower=True), "nothing was tried to the end"),
    ],
)
def test_what_was_found_is_one_line(variable: str, found: Knee, words: str) -> None:
    assert in_words(variable, found).startswith(words)


def trials() -> list[Trial]:
    made = []
    for value, us in ((100, 9_000), (200, 80_000), (100, 11_000), (150, 30_000), (100, 10_000)):
        run = told(us=us)
        outcome, why = judge_trial(run, None, 2)
        made.append(Trial(value, outcome, why, run, f"{value}"))
    return made


def test_the_curve_has_the_middle_of_each_loads_trials_by_load() -> None:
    points = curve(SUBSCRIBERS, trials(), P99)
    assert [point["value"] for point in points] == [100, 150, 200]
    assert [point["p99_ms"] for point in points] == pytest.approx([10, 30, 80], rel=0.01)
    assert {point["slo_ms"] for point in points} == {50.0}
    assert curve(ORDERS, trials(), None)[0]["p99_ms"] is None, "no orders, no latency of theirs"


def test_a_terminal_has_a_bar_for_each_load_with_the_limit_and_the_knee_in_it() -> None:
    lines = bars(SUBSCRIBERS, curve(SUBSCRIBERS, trials(), P99), P99, knee(150, 200)).splitlines()
    assert lines[0] == "p99 in ms, by subscribers (|: the limit of p99<50ms)"
    mark = lines[1].index("|")
    assert [line.index("|") for line in lines[1:]] == [mark] * 3
    lengths = [line.count("#") for line in lines[1:]]
    assert lengths == sorted(lengths)
    assert [line[mark - 1] == "#" for line in lines[1:]] == [False, False, True], "only what breaks it reaches it"
    assert [line.endswith("<- the knee") for line in lines[1:]] == [False, True, False]


def test_the_tables_tell_the_knee_each_trial_and_why_it_did_not_hold() -> None:
    text = as_text(tables(SUBSCRIBERS, trials(), knee(150, 200), Limiting("client", "high", "95% of a core")))
    assert "150 subscribers hold; 200 do not" in text
    assert "client (confidence high): 95% of a core" in text
    assert text.count("p99<50ms: 80") == 1
    assert sum(line.endswith(HELD) for line in text.splitlines()) == 4


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        (["lost==0", "p99<50ms", "p50<1ms"], "p99<50ms"),
        (["p99>1ms", "delivered_per_s<5"], None),
        ([], None),
    ],
)
def test_the_limit_in_the_chart_is_the_first_upper_one_of_a_latency(
    conditions: list[str], found: str | None
) -> None:
    limit = limit_of([parse_requirement(one) for one in conditions])
    assert (None if limit is None else str(limit)) == found
