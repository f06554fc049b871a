"""The synthetic source: the row of 2012, repeatable by its seed whatever the pace."""

import json
from itertools import islice, pairwise

from execgate.measure import pacer
from publisher.config import PublisherConfig
from publisher.core.rows import check
from publisher.sources.synthetic import SyntheticSource, schedule, symbol_names

HERITAGE = ["sequence", "activityDateStr", "com", "price", "accountId", "symbol", "transaction"]
HERITAGE += ["description", "qty", "key", "netAmount"]


def batches(count: int, **settings: object) -> list[list[bytes]]:
    source = SyntheticSource(PublisherConfig(**settings))  # type: ignore[arg-type]
    return [[row.raw for row in source.make_rows()] for _ in range(count)]


def test_rows_are_the_payload_of_2012() -> None:
    (rows,) = batches(1, rows=3)
    assert len(rows) == 3
    for sequence, raw in enumerate(rows):
        fields = json.loads(raw)
        assert list(fields) == HERITAGE
        assert fields["sequence"] == sequence
        assert (fields["symbol"], fields["key"], fields["accountId"]) == ("QQQ", "QQQ:::S", 1772139)
        assert check(raw)[0].raw == raw


def test_a_seed_repeats_the_rows_and_pace_does_not_change_them() -> None:
    first = batches(20, seed=1, symbols=3)
    assert first == batches(20, seed=1, symbols=3, rate=5.0)
    assert first != batches(20, seed=2, symbols=3)
    assert batches(20) != batches(20)


def test_a_batch_has_one_symbol_and_all_come() -> None:
    seen = set()
    for rows in batches(400, seed=1, symbols=12, rows=2):
        symbols = {json.loads(raw)["symbol"] for raw in rows}
        assert len(symbols) == 1
        seen |= symbols
    assert seen == set(symbol_names(12))
    assert symbol_names(12)[:2] == ["QQQ", "SPY"]
    assert len(set(symbol_names(1000))) == 1000


def steps_ms(**settings: object) -> list[float]:
    offsets = [0, *islice(schedule(PublisherConfig(**settings)), 50)]  # type: ignore[arg-type]
    return [(b - a) / 1e6 for a, b in pairwise(offsets)]


def test_schedules() -> None:
    assert list(islice(schedule(PublisherConfig(rate=8.0)), 5)) == list(islice(pacer.constant_rate(8.0), 5))
    drawn = steps_ms(seed=1)
    assert all(10 <= step <= 110 for step in drawn)
    assert len(set(drawn)) > 40
    once = steps_ms(seed=1, interval_once=True, interval_ms=(20.0, 30.0))
    assert len(set(once)) == 1
    assert 20 <= once[0] <= 30
