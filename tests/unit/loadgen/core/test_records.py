"""Records and the summary that is made from them alone."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from execgate.measure.histogram import Histogram
from loadgen.core.recorder import COUNTERS, Recorder
from loadgen.core.summary import Summary, describe

GAUGES = {"clients": 2, "orders_outstanding": 0, "cpu_s": 0.25, "rss_bytes": 1 << 20, "loop_lag_us": 7}


def take(recorder: Recorder, **totals: int) -> dict[str, Any]:
    return recorder.take(1000.0, 1.0, totals, GAUGES)


def test_a_record_holds_its_own_interval_alone() -> None:
    recorder = Recorder(Histogram())
    recorder.opened()
    recorder.update(1500, 100)
    recorder.errors["connect timeout"] += 1
    first = take(recorder, gaps=1, orders_sent=5)
    recorder.update(None, 50)
    second = take(recorder, gaps=3, orders_sent=5)
    assert (first["delivered"], first["gaps"], first["orders_sent"], first["connects"]) == (1, 1, 5, 1)
    assert first["errors"] == {"connect timeout": 1}
    assert list(first["delivery_us"].values()) == [1]
    assert (second["delivered"], second["gaps"], second["orders_sent"], second["connects"]) == (1, 2, 0, 0)
    assert (second["errors"], second["delivery_us"], second["data_bytes"]) == ({}, {}, 50)


def test_the_lowest_number_of_connected_clients_is_kept() -> None:
    recorder = Recorder(Histogram())
    recorder.opened()
    recorder.opened()
    assert take(recorder)["connected_low"] == 0, "nobody was connected when the interval began"
    recorder.closed()
    recorder.opened()
    record = take(recorder)
    assert (record["connected"], record["connected_low"]) == (2, 1)
    assert take(recorder)["connected_low"] == 2


def test_a_latency_below_zero_is_counted_as_such() -> None:
    recorder = Recorder(Histogram())
    recorder.update(-5, 1)
    record = take(recorder)
    assert (record["negative_latencies"], record["delivery_us"]) == (1, {0: 1})


@given(st.lists(st.lists(st.integers(0, 10_000_000), max_size=5), max_size=6))
def test_the_summary_of_a_written_log_is_that_of_the_run(intervals: list[list[int]]) -> None:
    recorder, live, records = Recorder(Histogram()), Summary(), []
    for latencies in intervals:
        for latency in latencies:
            recorder.update(latency, 10)
        record = take(recorder)
        live.add(record)
        records.append(record)
    written = [json.loads(json.dumps(record)) for record in records]
    summary = live.as_dict()
    assert Summary(written).as_dict() == summary
    assert summary["delivered"] == sum(map(len, intervals)) == summary["delivery_us"]["count"]
    assert set(COUNTERS) <= set(summary)


def test_a_summary_says_whether_the_streams_were_whole() -> None:
    recorder, summary = Recorder(Histogram()), Summary()
    recorder.update(1500, 100)
    summary.add(take(recorder))
    assert "streams: contiguous, 1 updates without gap" in describe(summary.as_dict(), {})
    summary.add(take(recorder, gaps=2, missing=3, duplicates=1))
    text = describe(summary.as_dict(), {"1.2.3.4:5": "2 gaps"})
    assert "streams: NOT contiguous: 2 gaps (3 updates missing), 1 duplicates" in text
    assert "1.2.3.4:5: 2 gaps" in text


def test_a_summary_shows_every_end_of_the_orders() -> None:
    summary = Summary(
        [take(Recorder(Histogram()), orders_sent=4, orders_answered=1, orders_timed_out=3, orders_late=2)]
    )
    text = describe(summary.as_dict(), {})
    assert "4 sent = 1 answered, 0 rejected, 3 timed out, 0 disconnected, 0 outstanding; 2 late answers" in text
    assert "streams" not in text
