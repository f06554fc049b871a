"""A run's records as lines of a chart, and its percentile curve."""

import pytest

from loadgen.core.figures import DRAIN, Figures
from loadgen.core.series import curves, points
from tests.unit.loadgen.core.making import histogram, record

RECORDS = [
    record(
        t=1001.0 + n,
        delivered=10 * n,
        delivery_us=histogram([1000 * n] * 20),
        errors={"x": n},
        missing=1,
        told_missing=2,
        behind_us=n,
        server_cpu_s=0.5,
        server_rss_bytes=n << 20,
    )
    for n in range(1, 5)
]


def test_a_record_is_a_point_with_the_times_of_the_run() -> None:
    first, *_, last = points(RECORDS, 1, 1000.0)
    assert (first["t_s"], last["t_s"], last["phase"]) == (2.0, 5.0, "measure")
    assert (first["delivered_per_s"], last["delivered_per_s"]) == (10.0, 40.0)
    assert (first["delivery_p50_ms"], first["delivery_p90_ms"], first["delivery_max_ms"]) == (1.0, None, 1.0)
    assert (last["lost"], last["errors"], last["server_cpu"], last["server_rss_mib"]) == (3, 4, 0.5, 4.0)


def test_several_records_become_one_point() -> None:
    first, second = points(RECORDS, 3, 1000.0)
    assert (first["t_s"], first["seconds"], first["delivered_per_s"]) == (4.0, 3.0, 20.0)
    assert (first["errors"], first["lost"], first["behind_ms"], first["server_cpu"]) == (6, 9, 0.003, 0.5)
    assert first["delivery_p50_ms"] == pytest.approx(2.0, rel=0.001)
    assert second["delivered_per_s"] == 40.0


def test_a_moment_has_no_rate() -> None:
    (point,) = points([record(DRAIN, seconds=0.01, delivered=100)], 1, 0.0)
    assert point["delivered_per_s"] is None


def test_a_curve_goes_as_far_as_there_are_samples() -> None:
    figures = Figures([record(delivery_us=histogram(range(1, 10_001)), response_us=histogram([5] * 19))])
    found = curves(figures)
    assert list(found) == ["delivery"]
    percents = [percent for percent, _ in found["delivery"]]
    assert percents[0] == 0.0
    assert percents[-1] == pytest.approx(99.9)
    assert percents == sorted(percents)
    assert dict(found["delivery"])[percents[20]] == pytest.approx(9.0, rel=0.001), "p90"
