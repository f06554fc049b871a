"""Groups and stages: an interval's part of a record, parts added up, and what people are told of them."""

import json
from collections.abc import Iterable
from typing import Any

from loadgen.core.figures import DRAIN, MEASURE, RAMP, Figures
from loadgen.core.sparse_check import SparseCheck
from loadgen.core.tables import as_text, tables_of
from loadgen.core.tally import Tally
from loadgen.core.verdict import Asked, judge
from tests.unit.loadgen.core.making import histogram, record


def part_of(latencies_us: Iterable[int] = (), closed: Iterable[str] = (), dropped: int = 0) -> dict[str, Any]:
    tally = Tally()
    tally.opened()
    for latency_us in latencies_us:
        tally.update(latency_us, 10)
    tally.closed.update(closed)
    check = SparseCheck(is_whole=True, conflates=False)
    check.miss(dropped, is_allowed=True)
    tally.add(check)
    return tally.take()


def test_an_interval_has_what_happened_in_it_alone() -> None:
    tally = Tally()
    tally.opened()
    tally.opened()
    tally.update(700, 10)
    tally.closed["4108"] += 1
    check = SparseCheck(is_whole=True, conflates=True)
    check.begin("e", 0)
    check.take("e", 1, "t", 1)
    check.beat("e", 4, 2)
    tally.add(check)
    first = tally.take()
    assert (first["connected"], first["connects"], first["delivered"], first["data_bytes"]) == (2, 2, 1, 10)
    assert (first["missing"], first["conflated"], first["closed"]) == (1, 2, {"4108": 1})
    assert first["delivery_us"] == histogram([700])
    tally.lost()
    tally.streams.clear()
    tally.add(check)
    second = tally.take()
    assert (second["connected"], second["connects"], second["disconnects"]) == (1, 0, 1)
    assert (second["missing"], second["conflated"], second["closed"], second["delivery_us"]) == (0, 0, {}, {})


RECORDS = [
    record(RAMP, stage="up", groups={"a": part_of([100]), "b": part_of()}, rss_bytes=1 << 20),
    record(
        MEASURE,
        stage="storm",
        groups={"a": part_of([5_000] * 20), "b": part_of([9_000_000], ["4108"], dropped=7)},
        delivery_us=histogram([5_000] * 20),
        spread_us=histogram([300] * 20),
        delivered=21,
        told_missing=2,
        rss_bytes=2 << 20,
    ),
    record(MEASURE, stage="storm", groups={"a": part_of(), "b": part_of(closed=["4108"])}, rss_bytes=3 << 20),
    record(DRAIN, stage="drain", groups={"a": part_of([1]), "b": part_of(closed=["1006"])}),
]


def test_a_run_adds_up_counts_of_all_and_latencies_of_what_was_measured() -> None:
    figures = Figures(json.loads(json.dumps(each)) for each in RECORDS).as_dict()
    a, b = figures["groups"]["a"], figures["groups"]["b"]
    assert (a["delivered"], a["delivery"]["count"], a["delivery"]["p50"]) == (22, 20, 5_003)
    assert (b["dropped"], b["closed"]) == (7, {"4108": 2, "1006": 1})
    assert list(figures["stages"]) == ["up", "storm", "drain"]
    storm = figures["stages"]["storm"]
    assert (storm["seconds"], storm["delivered"], storm["told_missing"]) == (2.0, 21, 2)
    assert storm["connected"] == RECORDS[2]["connected"]
    assert (storm["phase"], storm["rss_bytes"]) == (MEASURE, [2 << 20, 3 << 20])
    assert storm["latencies"]["delivery"]["p50"] == 5_003
    assert figures["spread"]["p50"] == 300
    assert figures["latencies"]["delivery"]["count"] == 20


def test_people_are_told_of_each_group_and_stage_and_only_where_there_are_some() -> None:
    verdict = judge(Asked(2, 2, 1.0), Figures(RECORDS)).as_dict()
    fairness = {"clients": 2, "late_us": {"least": 0.0, "who_joined_last": 1500.0}}
    text = as_text(tables_of(Figures(RECORDS).as_dict(), verdict, {"fairness": fairness}))
    [storm] = [line for line in text.splitlines() if line.startswith("  storm ")]
    assert "2.0 - 3.0" in storm
    [b] = [line for line in text.splitlines() if line.startswith("  b ")]
    assert "7 / 0" in b
    assert "4108 2, 1006 1" in b
    assert "who joined last" in text
    plain = [record(RAMP, stage=RAMP), record(MEASURE, stage=MEASURE), record(DRAIN, stage=DRAIN)]
    text = as_text(tables_of(Figures(plain).as_dict(), verdict, {}))
    assert "Stages" not in text
    assert "Groups" not in text
