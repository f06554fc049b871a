"""The table of a case: medians, ratios to the reference, void rows, and many figures as lines."""

from benchmarks.tables import table
from tests.unit.benchmarks.rows import case, figures


def test_a_row_shows_the_medians_and_the_ratio_to_the_variant_without() -> None:
    runs = {
        "none": [figures(2_000, figure1=5), figures(3_000, figure1=5), figures(90_000, figure1=5)],
        "1 slow": [figures(3_000, figure1=6)],
        "10 % slow": [figures(3_600, figure1=8)],
    }
    assert table(case(), runs).splitlines() == [
        "  variant  vs none  p99 ms  figure 1",
        "     none     1.00     3.0         5",
        "   1 slow     1.00     3.0         6",
        "10 % slow     1.20     3.6         8",
    ]


def test_runs_that_are_void_do_not_count_and_a_row_of_nothing_else_says_why() -> None:
    runs = {
        "none": [figures(1_000, figure1=1), figures(9_000, "the feed fell behind", figure1=1)],
        "1 slow": [figures(9_000, "the client was the bottleneck", figure1=1)],
    }
    assert table(case(), runs).splitlines() == [
        "variant  vs none  p99 ms  figure 1",
        "   none     1.00     1.0         1",
        "1 slow is void: the client was the bottleneck",
    ]


def test_there_is_no_ratio_without_its_reference() -> None:
    runs = {"none": [figures(1_000, figure1=1)]}
    assert table(case(reference=""), runs).splitlines()[0] == "variant  p99 ms  figure 1"
    void = {"none": [figures(1_000, "void")], "1 slow": [figures(1_000, figure1=1)]}
    assert " - " in table(case(), void).splitlines()[1]


def test_a_figure_that_was_not_found_is_a_dash() -> None:
    assert table(case(reference=""), {"none": [figures(1_000)]}).splitlines()[1].split() == ["none", "1.0", "-"]


def test_more_than_ten_figures_stand_in_lines() -> None:
    more = {f"figure{n}": n for n in range(1, 11)}
    runs = {"none": [figures(1_000) | more], "1 slow": [figures(2_000) | more]}
    lines = table(case(columns=11), runs)
    assert [line.split() for line in lines.splitlines()[:4]] == [
        ["variant", "none", "1", "slow"],
        ["vs", "none", "1.00", "2.00"],
        ["p99", "ms", "1.0", "2.0"],
        ["figure", "1", "1", "1"],
    ]
