"""Which differences are real: the interval covers as often as it says, and too few runs tell nothing."""

from math import gamma, inf, pi, sqrt
from random import Random

import pytest

from loadgen.core.comparison import (
    NO,
    REAL,
    UNKNOWN,
    compare,
    comparison_tables,
    difference,
    other_settings,
    quantile_99,
)
from loadgen.core.figures import Figures
from tests.unit.loadgen.core.making import histogram, record


def beyond(t: float, degrees: int) -> float:
    """The share of Student's distribution beyond -t and t, by integrating its density."""
    scale: float = gamma((degrees + 1) / 2) / (sqrt(degrees * pi) * gamma(degrees / 2))
    steps = 20_000
    width = t / steps
    inside = sum(
        scale * (1 + ((n + 0.5) * width) ** 2 / degrees) ** (-(degrees + 1) / 2) * width for n in range(steps)
    )
    return 1.0 - 2.0 * float(inside)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 60, 120])
def test_the_table_of_t_is_that_of_its_density(degrees: int) -> None:
    assert beyond(quantile_99(degrees), degrees) == pytest.approx(0.01, abs=0.0001)


def test_between_two_entries_the_wider_interval_is_taken() -> None:
    assert quantile_99(11.9) == quantile_99(10) > quantile_99(12)
    assert quantile_99(0.3) == quantile_99(1)
    assert quantile_99(inf) == 2.576


def test_equal_servers_seldom_differ_and_unequal_ones_are_told_apart() -> None:
    random = Random(7)

    def runs(mean: float) -> list[float]:
        return [random.gauss(mean, 1.0) for _ in range(5)]

    same = sum(difference("x", runs(50), runs(50)).real == REAL for _ in range(2000))
    apart = sum(difference("x", runs(50), runs(55)).real == REAL for _ in range(200))
    assert same < 40, "1 % of 2000 is 20"
    assert apart > 190


@pytest.mark.parametrize(
    ("a", "b", "real"),
    [
        ([5.0], [9.0, 9.1], UNKNOWN),
        ([5.0, 5.1], [9.0], UNKNOWN),
        ([0.0, 0.0], [0.0, 0.0], NO),
        ([0.0, 0.0], [3.0, 3.0], REAL),
        ([5.0, 5.0], [5.004, 5.004], NO),
        ([5.0, 5.1, 4.9], [9.0, 9.1, 9.2], REAL),
        ([5.0, 9.0, 1.0], [9.0, 5.0, 4.0], NO),
    ],
)
def test_each_kind_of_difference(a: list[float], b: list[float], real: str) -> None:
    assert difference("x", a, b).real == real


def test_figures_that_a_side_cannot_quote_are_not_compared() -> None:
    def run(count: int, lost: int) -> dict[str, object]:
        return Figures([record(delivery_us=histogram([5000] * count), missing=lost)]).as_dict()

    found = {one.name: one for one in compare([run(1000, 0), run(1000, 0)], [run(1000, 4), run(500, 4)])}
    assert "delivery.p90, ms" in found
    assert "delivery.p99, ms" not in found, "500 samples are too few"
    assert found["lost"].as_dict() == {"a": 0.0, "b": 4.0, "interval": [4.0, 4.0], "real": "real"}
    assert "duplicates" not in found, "nothing on either side"
    rows = {row[0]: row for row in comparison_tables(list(found.values()), {})[0].rows}
    assert rows["lost"] == ("lost", "0.00", "4.00", "-", "4.00 to 4.00", "real")


def test_what_was_not_the_same_is_named() -> None:
    def manifest(name: str, rate: float, cores: int) -> dict[str, object]:
        return {
            "config": {"name": name, "orders_per_s": rate},
            "git": "abc",
            "versions": {"python": "3.11"},
            "machine": {"cores": cores},
        }

    a, b = [manifest("a1", 5.0, 2), manifest("a2", 5.0, 2)], [manifest("b", 5.0, 4), manifest("c", 6.0, 4)]
    assert other_settings(a, b) == {"--orders-per-s": ("5.0", "5.0, 6.0"), "cores": ("2", "4")}
