"""Figures of a run: which records make which, and which are quoted at all."""

import pytest

from loadgen.core.figures import DRAIN, HOPS, MEASURE, RAMP, SCALARS, WARM_UP, Figures, samples_needed, scalars
from loadgen.core.recorder import HISTOGRAMS
from tests.unit.loadgen.core.making import histogram, record


def test_each_latency_is_of_its_own_phases() -> None:
    phases = {RAMP: 1, WARM_UP: 2, MEASURE: 4, DRAIN: 8}
    buckets = {phase: {key: {n: n} for key in HISTOGRAMS} for phase, n in phases.items()}
    figures = Figures(record(phase, **buckets[phase]) for phase in phases)
    counts = {name: latency["count"] for name, latency in figures.as_dict()["latencies"].items()}
    assert {name: counts.pop(name) for name in HOPS} == dict.fromkeys(HOPS, 4)
    assert counts == {"delivery": 4, "order": 12, "order_service": 12, "connect": 15, "connect_service": 15}


def test_faults_count_over_the_whole_run_and_rates_over_what_was_measured() -> None:
    told = Figures(
        [
            record(RAMP, delivered=5, missing=1, errors={"connect reset": 1}),
            record(MEASURE, 2.0, delivered=300, told_missing=2),
            record(DRAIN, delivered=7, duplicates=1),
        ]
    ).as_dict()
    assert told["streams"]["delivered"] == 312
    assert (told["streams"]["lost"], told["streams"]["duplicates"]) == (3, 1)
    assert told["errors"] == {"connect reset": 1}
    assert told["rates"]["delivered_per_s"] == 150.0


@pytest.mark.parametrize(
    ("percent", "needed"), [(50.0, 20), (90.0, 100), (99.0, 1000), (99.9, 10_000), (100.0, 1)]
)
def test_a_percentile_takes_ten_samples_beyond_it(percent: float, needed: int) -> None:
    assert samples_needed(percent) == needed


def test_what_has_too_few_samples_is_not_quoted() -> None:
    few = Figures([record(delivery_us=histogram(range(999)))]).as_dict()["latencies"]["delivery"]
    enough = Figures([record(delivery_us=histogram(range(1000)))]).as_dict()["latencies"]["delivery"]
    assert (few["p90"], few["p99"], few["max"]) == (899, None, 998)
    assert (enough["p99"], enough["p99.9"]) == (989, None)


def test_the_client_s_health_is_that_of_the_time_that_was_measured() -> None:
    figures = Figures(
        [
            record(RAMP, cpu_share=1.0, behind_us=10**6),
            record(seconds=3.0, cpu_share=0.1, steal_share=0.0, clock_step_us=-400, loop_lag_us=21_000),
            record(seconds=1.0, cpu_share=0.5, steal_share=0.4, connected_low=1),
        ]
    )
    client = figures.as_dict()["client"]
    assert (client["cpu_share"], client["cpu_share_greatest"], client["steal_share"]) == (0.2, 0.5, 0.1)
    assert (client["behind_us"], client["clock_step_us"], client["loop_lag_us"]) == (900, 400, 21_000)
    assert (figures.lagging, figures.connected_low) == (1, 1)


def test_the_server_s_share_is_of_a_core() -> None:
    assert Figures([record()]).as_dict()["server"] is None
    records = [
        record(seconds=2.0, server_cpu_s=3.0, server_thread_share=n / 10, server_rss_bytes=n) for n in (5, 4)
    ]
    assert Figures(records).as_dict()["server"] == {"cpu_share": 1.5, "thread_share": 0.45, "rss_bytes": 5}


def test_every_scalar_has_a_number() -> None:
    orders = {"orders_sent": 9, "orders_answered": 4, "orders_rejected": 1, "orders_unsent": 2}
    found = scalars(Figures([record(errors={"a": 2, "b": 1}, **orders)]).as_dict())
    assert sorted(found) == sorted(SCALARS)
    assert (found["errors"], found["orders_unanswered"]) == (3, 6)
