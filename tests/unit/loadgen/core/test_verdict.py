"""The verdict: each reason not to believe a run, from which value on, and what a run comes to."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from loadgen.core.figures import DRAIN, Figures
from loadgen.core.junit import junit_xml
from loadgen.core.report import make_report
from loadgen.core.requirement import parse_requirement
from loadgen.core.verdict import INVALID, IS_INCOMPLETE, SUSPECT, VALID, Asked, judge
from tests.unit.loadgen.core.making import histogram, record

PLAN = Asked(subscribers=2, clients=2, measure_s=4.0)
GOOD: dict[str, Any] = {"delivered": 100, "delivery_us": histogram([5_000] * 100)}
ORDERS = Asked(0, 2, 4.0, orders_per_s=100.0)


def run_of(plan: Asked = PLAN, *requirements: str, **fields: Any) -> Any:
    """Judge a run of four records that are good apart from `fields`."""
    figures = Figures(record(**{**GOOD, **fields}) for _ in range(4))
    return judge(plan, figures, [parse_requirement(text) for text in requirements])


@pytest.mark.parametrize(
    ("fields", "level", "reason"),
    [
        ({}, VALID, ""),
        ({"cpu_share": 0.79}, VALID, ""),
        ({"cpu_share": 0.8}, SUSPECT, "used 80% of a core"),
        ({"cpu_share": 0.95}, INVALID, "used 95% of a core"),
        ({"cpu_wait_share": 0.049}, VALID, ""),
        ({"cpu_wait_share": 0.05}, SUSPECT, "got no CPU for 5.0% of the time"),
        ({"cpu_wait_share": 0.3}, INVALID, "got no CPU for 30.0% of the time"),
        ({"behind_us": 20_000}, SUSPECT, "fell 20 ms behind"),
        ({"behind_us": 200_000}, INVALID, "fell 200 ms behind"),
        ({"loop_lag_us": 20_000}, VALID, ""),
        ({"loop_lag_us": 20_001}, INVALID, "late by more than 20 ms in 4 of 4 records"),
        ({"steal_share": 0.01}, SUSPECT, "1.0% of the machine's CPU"),
        ({"steal_share": 0.05}, INVALID, "5.0% of the machine's CPU"),
        ({"clock_step_us": -1_000}, SUSPECT, "clock jumped by 1.0 ms"),
        ({"clock_step_us": 10_000}, INVALID, "clock jumped by 10.0 ms"),
        ({"gateway_clock_us": {"a": [1_000, 1_999]}}, VALID, ""),
        ({"gateway_clock_us": {"a": [1_000, -1_999]}}, VALID, ""),
        (
            {"gateway_clock_us": {"a": [100, 1_100]}},
            SUSPECT,
            "gateway's clock is +1.100 ms, give or take 0.100 ah",
        ),
        ({"gateway_clock_us": {"a": [100, -9_000], "b": [1, 0]}}, SUSPECT, "(by a, the furthest of 2) ahead"),
        ({"publisher_clock_us": {"a": [1_000, -1_999]}}, VALID, ""),
        ({"publisher_clock_us": {"a": [100, -1_100]}}, SUSPECT, "publisher's clock is -1.100 ms"),
        ({"machine_busy_share": 0.97}, SUSPECT, "97% busy"),
        ({"negative_latencies": 1}, INVALID, "4 updates came before they were stamped"),
        ({"connected_low": 1}, SUSPECT, "only 1 of 2 clients"),
    ],
)
def test_each_reason_has_its_limits(fields: dict[str, Any], level: str, reason: str) -> None:
    verdict = run_of(**fields)
    assert verdict.level == level
    assert [reason in found.text for found in verdict.reasons] == ([True] if level != VALID else [])


def test_one_bad_record_of_many_is_suspect() -> None:
    records = [record(**GOOD) for _ in range(19)] + [record(**GOOD, loop_lag_us=30_000)]
    assert judge(Asked(2, 2, 20.0), Figures(records)).level == SUSPECT


@pytest.mark.parametrize(
    ("doubted_us", "by_us", "of_1000", "level", "reason"),
    [
        (5_000, 99, 1_000, VALID, ""),  # 2 % of 5 ms is 0.1 ms; 0.2 ms are allowed
        (5_000, 201, 1_000, SUSPECT, "p50 of delivery latency is between 4.8 and 5.0 ms"),
        (5_000, 498, 1_000, SUSPECT, "p50 of delivery latency is between 4.5 and 5.0 ms"),
        (5_000, 510, 1_000, INVALID, "p50 of delivery latency is between 4.5 and 5.0 ms"),
        (9_000, 4_000, 5, VALID, ""),  # too few for a p99
        (9_000, 4_000, 20, INVALID, "p99 of delivery latency is between 5.0 and 9.0 ms"),
    ],
)
def test_how_far_a_percentile_may_be_off(
    doubted_us: int, by_us: int, of_1000: int, level: str, reason: str
) -> None:
    fields: dict[str, Any] = {
        "delivered": 1_000,
        "delivery_us": histogram([5_000] * (1_000 - of_1000) + [doubted_us] * of_1000),
        "delivery_doubted_us": histogram([doubted_us] * of_1000),
        "delivery_least_us": histogram([doubted_us - by_us] * of_1000),
    }
    verdict = run_of(**fields)
    assert verdict.level == level
    assert [reason in found.text for found in verdict.reasons] == ([True] if level != VALID else [])


@pytest.mark.parametrize(
    ("requirement", "held"),
    [("p99<10ms", True), ("p99<9ms", None), ("p99<5.1ms", None), ("p99<5ms", False), ("p50<6ms", True)],
)
def test_a_requirement_is_judged_by_both_bounds(requirement: str, held: bool | None) -> None:
    fields: dict[str, Any] = {
        "delivered": 1_000,
        "delivery_us": histogram([5_000] * 980 + [9_000] * 20),
        "delivery_doubted_us": histogram([9_000] * 20),
        "delivery_least_us": histogram([5_000] * 20),
    }
    (judged,) = run_of(PLAN, requirement, **fields).requirements
    assert judged.held is held
    assert ("between 5.0" in judged.found) is (held is None)


def test_a_doubtful_p99_9_makes_nothing_invalid() -> None:
    fields: dict[str, Any] = {
        "delivered": 10_000,
        "delivery_us": histogram([5_000] * 9_980 + [9_000] * 20),
        "delivery_doubted_us": histogram([9_000] * 20),
        "delivery_least_us": histogram([5_000] * 20),
    }
    assert run_of(**fields).level == SUSPECT


@pytest.mark.parametrize(
    ("sent", "unsent", "level"), [(100, 0, VALID), (99, 0, VALID), (98, 0, INVALID), (95, 5, SUSPECT)]
)
def test_the_load_that_was_asked_for_must_have_been_offered(sent: int, unsent: int, level: str) -> None:
    assert run_of(ORDERS, delivered=0, delivery_us={}, orders_sent=sent, orders_unsent=unsent).level == level


def test_a_clock_is_of_no_concern_to_orders() -> None:
    assert run_of(ORDERS, orders_sent=100, clock_step_us=10**6).level == VALID


def test_a_run_that_was_cut_short_or_reached_nobody_is_incomplete() -> None:
    assert judge(Asked(2, 2, 9.0), Figures([record(**GOOD)])).incomplete == ("measured 1.0 of 9 s",)
    assert "no update came" in run_of(delivered=0, delivery_us={}).incomplete[0]
    nobody = judge(PLAN, Figures([record("ramp", connects=0)]))
    assert nobody.incomplete[0] == "no client was ever connected"
    assert nobody.outcome == "incomplete"


@pytest.mark.parametrize(
    ("fields", "requirements", "outcome"),
    [
        ({}, [], "held"),
        ({}, ["p50<50ms", "lost==0"], "held"),
        ({"missing": 1}, ["p50<50ms", "lost==0"], "broken"),
        ({}, ["p99.9<50ms"], "incomplete"),
        ({"missing": 1}, ["p99.9<50ms", "lost==0"], "broken"),
        ({"missing": 1, "cpu_share": 1.0}, ["lost==0"], "invalid"),
        ({"cpu_share": 0.94}, ["lost==0"], "held"),
    ],
)
def test_what_a_run_comes_to(fields: dict[str, Any], requirements: list[str], outcome: str) -> None:
    verdict = run_of(PLAN, *requirements, **fields)
    assert verdict.outcome == outcome
    words = {"incomplete": ", but incomplete", "broken": ", a requirement is broken"}
    assert verdict.words == verdict.level + words.get(outcome, "")


@pytest.mark.parametrize(
    ("fields", "failures", "errors"),
    [({}, 0, 1), ({"missing": 1}, 1, 1), ({"cpu_share": 1.0}, 0, 3), ({"missing": 1, "cpu_share": 1.0}, 0, 3)],
)
def test_junit_has_a_case_for_each_requirement(fields: dict[str, Any], failures: int, errors: int) -> None:
    verdict = run_of(PLAN, "lost==0", "p99.9<1s", **fields)
    suite = ET.fromstring(junit_xml("n<1", 4.0, verdict))
    assert [case.get("name") for case in suite][2:] == ["lost==0", "p99.9<1s"]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", str(failures), str(errors))
    assert len(suite.findall("*/failure")) == failures
    assert len(suite.findall("*/error")) == errors


def test_a_report_judges_by_its_manifest() -> None:
    manifest = {"plan": {"subscribers": 2, "clients": 2, "measure_s": 1.0}, "config": {"require": ["lost==0"]}}
    figures = Figures([record(**GOOD, missing=1), record(DRAIN)])
    report = make_report(manifest, figures, {"failures": {"refused": 3}})
    assert report.verdict.outcome == "broken"
    assert report.as_dict()["figures"]["streams"]["lost"] == 4 - 3
    assert report.as_dict()["failures"] == {"refused": 3}


@pytest.mark.parametrize(
    ("readings", "told"),
    [
        ([[400, -7], [90, 40], [100, 1]], {"offset_us": 40, "uncertainty_us": 90}),
        # For an hour it was known to be right, and then it was not.
        ([[5, 1], [400, 3_000], [5, 2]], {"offset_us": 3_000, "uncertainty_us": 400}),
        ([[400, 1_000], [400, -3_000]], {"offset_us": -3_000, "uncertainty_us": 400}),
        # Two that may both be true, whichever is more for certain.
        ([[90_000, 4_090_001], [20, 4_000_010]], {"offset_us": 4_000_010, "uncertainty_us": 20}),
    ],
)
def test_of_a_clock_the_surest_answer_is_told_unless_another_contradicts_it_by_being_further_off(
    readings: list[list[int]], told: dict[str, int]
) -> None:
    clocks = [{}, *({"a": reading} for reading in readings), {"b": [7, 7]}]
    figures = Figures(record(**GOOD, publisher_clock_us=clock) for clock in clocks)
    assert figures.as_dict()["clocks"]["publisher"] == {"a": told, "b": {"offset_us": 7, "uncertainty_us": 7}}
    assert figures.as_dict()["clocks"]["gateway"] == {}


def test_the_tables_say_whose_clock_is_how_far_off_and_where_that_is_not_known() -> None:
    def told(**clocks: Any) -> dict[str, str]:
        run = make_report(
            {"plan": {"subscribers": 2, "clients": 2, "measure_s": 1.0}, "config": {"require": []}},
            Figures([record(**GOOD, **clocks)]),
            {},
        )
        rows = next(table.rows for table in run.tables() if table.title == "Who worked")
        return {row[0]: row[1] for row in rows if "clock ahead" in row[0]}

    gateway, publisher = "gateway: its clock ahead of ours", "publisher: its clock ahead of ours"
    assert told() == {publisher: "not known: the server does not tell"}
    same = {"a": [100, 20]}
    assert told(gateway_clock_us=same, publisher_clock_us=same) == dict.fromkeys(
        (gateway, publisher), "+0.020 ms, give or take 0.100: no difference"
    )
    two = {"a": [100, 20], "b": [100, -2_000]}
    found = told(gateway_clock_us=two, publisher_clock_us=same)
    assert found[gateway] == "-2.000 ms, give or take 0.100 (by b, the furthest of 2)"
    assert found[publisher].endswith("no difference; not known by 1 of 2 gateways")


def test_what_updates_do_not_say_is_told_as_not_measured() -> None:
    assert run_of().not_measured == ()
    assert "no sequence" in run_of(unnumbered=1).not_measured[0]
    assert "no timestamp" in run_of(delivery_us={}).not_measured[0]
    judged = run_of(PLAN, "lost==0", unnumbered=1)
    assert (judged.requirements[0].held, judged.outcome) == (None, "incomplete")


def test_a_process_that_died_makes_a_run_invalid_and_a_server_that_died_incomplete() -> None:
    four = Figures(record(**GOOD) for _ in range(4))
    died = judge(PLAN, four, (), {"died": ["process 1 ended with status -9"]})
    assert died.level == INVALID
    assert "process 1 ended with status -9: what its clients saw is missing" in [one.text for one in died.reasons]
    ended = judge(PLAN, four, (), {"servers_died": ["the local publisher ended with status 1"]})
    assert ended.incomplete[0] == "the local publisher ended with status 1"
    assert ended.outcome == IS_INCOMPLETE
