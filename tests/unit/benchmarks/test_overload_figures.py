"""What is read off a run under overload: rates, percentiles of the load alone, and when it was over."""

from benchmarks.overload_figures import (
    Interval,
    OrderAnswer,
    Phases,
    answers_in,
    intervals_in,
    of_gateway,
    of_orders,
    of_subscribers,
    recovery_s,
)
from benchmarks.watching import Answer, Sample

TENTH = 100_000
PHASES = Phases(calm_us=0, load_us=10 * TENTH, after_us=20 * TENTH)
WIRE = 500 + 33 + 4


def interval(number: int, p99_us: float, measured: int = 20, skimmed: int = 0) -> Interval:
    """The one that ended `number` tenths after the calm began."""
    return Interval(number * TENTH, measured, p99_us, p99_us + 1, skimmed * WIRE)


def test_the_clients_lines_are_read_and_others_passed_over() -> None:
    lines = ["start", "interval 5 20 1000 2000 537", "order 900 300", "end", "{}"]
    assert intervals_in(lines) == [Interval(5, 20, 1000, 2000, 537)]
    assert answers_in(lines) == [OrderAnswer(600, 300)]


def test_deliveries_are_those_of_the_load_skimmed_ones_counted_by_their_bytes() -> None:
    calm = [interval(number, 3_000) for number in range(1, 11)]
    load = [interval(number, 50_000, measured=200, skimmed=800) for number in range(11, 21)]
    later = [interval(number, 9_000) for number in range(21, 40)]
    found = of_subscribers([*calm, *load, *later], PHASES, 500)
    assert found["deliveries_per_s"] == 10_000
    assert found["p99_before_us"] == 3_000
    assert found["latest_us"] == 50_001
    assert found["recover_s"] == 0


def test_what_comes_late_after_the_load_still_counts_as_the_latest() -> None:
    found = of_subscribers([interval(15, 10), interval(25, 7_000_000)], PHASES, 500)
    assert found["latest_us"] == 7_000_001


def test_it_has_recovered_when_p99_has_been_normal_for_a_second_on_end() -> None:
    def recovered(p99s: list[int]) -> float | None:
        return recovery_s([interval(21 + n, p99) for n, p99 in enumerate(p99s)], PHASES.after_us, 10_000)

    assert recovered([1_000] * 10) == 0
    assert recovered([90_000] * 5 + [1_000] * 10) == 0.5
    assert recovered([90_000] * 5 + [1_000] * 9 + [90_000] + [1_000] * 10) == 1.5
    assert recovered([90_000] * 5 + [1_000] * 9) is None


def test_where_nothing_comes_any_more_nothing_has_recovered() -> None:
    assert recovery_s([interval(21 + n, 0, measured=0) for n in range(50)], PHASES.after_us, 10_000) is None


def test_orders_and_health_are_those_that_were_due_during_the_load() -> None:
    due = [PHASES.load_us - 1, *(PHASES.load_us + n for n in range(100)), PHASES.after_us]
    took = [9_999, *range(1, 101), 9_999]
    orders = of_orders([OrderAnswer(*pair) for pair in zip(due, took, strict=True)], PHASES)
    assert orders == {"orders_answered": 100, "order_p50_us": 50, "order_p99_us": 99, "order_max_us": 100}
    answers = [Answer(at, us, is_good=us != 7) for at, us in zip(due, took, strict=True)]
    samples = [Sample(n * TENTH, rss=n, server_ns=n * 90_000_000, client_ns=n * 50_000_000) for n in range(30)]
    health = of_gateway(samples, answers, PHASES)
    assert (health["health_p99_us"], health["health_max_us"], health["health_failed"]) == (99, 100, 1)
    assert (health["rss_before"], health["rss_peak"], health["rss_after"]) == (9, 29, 29)
    assert (health["server_busy"], health["client_core_busy"]) == (0.9, 0.5)


def test_without_orders_there_are_no_percentiles() -> None:
    assert of_orders([], PHASES)["order_p99_us"] is None
