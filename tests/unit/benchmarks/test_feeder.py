"""The source of updates: sizes are exact, and each has what the measuring client looks for."""

import json

import pytest

from benchmarks.feeder import due_times, exactly, execs_of, form_of, phases_of, random_execs

TS_US = 1_795_000_000_000_000


@pytest.mark.parametrize("size", [100, 219, 220, 250, 500, 4_096, 65_536])
@pytest.mark.parametrize(("seq", "topic"), [(1, "ex.QQQ."), (999_999_999, "ex.S99999.")])
def test_an_update_has_exactly_the_bytes_asked_for_and_what_the_client_checks(
    size: int, seq: int, topic: str
) -> None:
    payload = exactly(size, form_of(size)(seq, TS_US, execs_of(size), topic))
    assert len(payload) == size
    data = json.loads(payload)
    assert (data["seq"], data["ts_us"]) == (seq, TS_US)
    assert data["execs"][0]["symbol"] == "QQQ"
    assert payload.index(b'"execs"') < 400  # the client looks no further for the numbers before it


def test_an_update_of_250_bytes_still_has_every_field() -> None:
    data = json.loads(form_of(250)(1, TS_US, execs_of(250), "ex.QQQ."))
    assert {"request", "rows", "timestamp", "topic", "epoch", "tseq"} <= set(data)


def test_random_rows_are_always_the_same_and_differ_from_update_to_update() -> None:
    assert random_execs(2) == random_execs(2)
    assert len(set(random_execs(2))) > 200
    assert len(json.loads(f"[{random_execs(3)[0]}]")) == 3


def test_a_schedule_of_several_rates_is_due_one_after_the_other() -> None:
    phases = phases_of("2x1.0,10x0.2,1x1")
    assert list(due_times(phases)) == pytest.approx([0, 0.5, 1.0, 1.1, 1.2])
