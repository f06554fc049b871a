"""What people see of a run: the screen, the line, and the tables in their three forms."""

import re

from loadgen.core.figures import Figures
from loadgen.core.screen import Progress, line, screen
from loadgen.core.tables import Table, as_html, as_markdown, as_text, tables_of
from loadgen.core.verdict import Asked, judge
from tests.unit.loadgen.core.making import histogram, record

RECORD = record(
    delivered=2_000,
    delivery_us=histogram([*[2_000] * 1_998, 7_000, 9_000]),
    orders_sent=40,
    orders_answered=37,
    orders_timed_out=2,
    orders_disconnected=1,
    response_us=histogram([3_000] * 37),
    missing=3,
    gaps=1,
    errors={"closed 1006": 4, "a<b|c": 1},
)
FIGURES = Figures([RECORD])
PROGRESS = Progress("night", "measure", 1.0, 30.0, 3)
VERDICT = judge(Asked(2, 3, 1.0, 40.0), FIGURES)


def test_the_screen_has_rates_percentiles_faults_and_health_within_its_width() -> None:
    lines = screen(PROGRESS, RECORD, FIGURES, 100)
    text = "\n".join(lines)
    for expected in (
        "run night: measure, 1 of 30 s",
        "connected 2 of 3",
        "1 gaps (3 missing)",
        "closed 1006 4",
        "CPU 20% of a core",
    ):
        assert expected in text
    now = next(row for row in lines if row.startswith("delivery, now"))
    assert now.split()[2:] == ["2.00", "2.00", "2.00", "-", "9.01"], "1,000 samples are not enough for p99.9"
    narrow = screen(PROGRESS, RECORD, FIGURES, 51)
    assert max(map(len, narrow)) <= 51
    assert next(row for row in narrow if row.startswith("delivery, now")).split()[2:] == ["2.00", "2.00", "9.01"]
    assert " ".join(" ".join(narrow).split()).endswith(screen(PROGRESS, RECORD, FIGURES, 300)[-1]), (
        "what is long is folded, not cut"
    )
    assert max(map(len, screen(PROGRESS, RECORD, FIGURES, 30))) <= 30


def test_the_line_has_the_same_in_short() -> None:
    text = line(PROGRESS, RECORD, FIGURES)
    assert text.startswith("measure 1/30 s connected=2 delivered/s=2,000 delivery_p50=2.00ms")
    assert "order_p99=- " in text
    assert text.endswith("lost=3 errors=5 cpu=20%")


def test_tables_show_the_sum_of_the_orders_and_every_error() -> None:
    tables = tables_of(FIGURES.as_dict(), VERDICT.as_dict(), {"broken_streams": {"1.2.3.4:5": "1 gaps"}})
    rows = {row[0]: row[1:] for table in tables for row in table.rows}
    ends = ("answered", "rejected", "timed out", "disconnected", "outstanding")
    assert [rows[f"... of them {end}"] for end in ends] == [("37",), ("0",), ("2",), ("1",), ("0",)]
    assert rows["orders sent"] == ("40",)
    assert rows["error: closed 1006"] == ("4",)
    assert rows["1.2.3.4:5"] == ("1 gaps",)
    assert rows["SUSPECT"] == ("only 2 of 3 clients were connected at some time while it measured",)


def test_a_table_is_written_in_three_forms() -> None:
    tables = [Table("T", ("", "a|b"), [("x<y", "1,000"), ("z", "2")], note="n")]
    assert as_text(tables) == "T\n         a|b\n  x<y  1,000\n  z        2\n  n"
    assert as_text(tables, 5) == as_text(tables), "a column has the first one beside it, however narrow it is"
    wide = [Table("W", ("", "b", "c"), [("x", "1", "234")], note="n")]
    assert as_text(wide, 11) == "W\n     b    c\n  x  1  234\n  n"
    assert as_text(wide, 10) == "W\n     b\n  x  1\n\nW (more)\n       c\n  x  234\n  n"
    assert as_markdown(tables) == "## T\n\n|  | a\\|b |\n| --- | ---: |\n| x<y | 1,000 |\n| z | 2 |\n\nn\n"
    html = as_html(tables)
    assert "x&lt;y" in html
    assert "x<y" not in html
    assert re.sub("<[^>]+>", " ", html).split() == ["T", "a|b", "x&lt;y", "1,000", "z", "2", "n"]
