"""`execgate loadgen find-capacity` against real daemons whose limit is known: it finds that, and says what it was.

A busy machine may make a trial unbelievable, as it should: then the knee is a lower bound and told as one.
"""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from loadgen.run_folder import StoredRun
from tests.harness import running, wait_until

QUICK = (
    "--warm-up",
    "0.5",
    "--for",
    "0.5",
    "--interval",
    "0.25",
    "--cool",
    "0.05",
    "--connect-timeout-ms",
    "10000",
)


pytestmark = pytest.mark.slow


@contextmanager
def serving(folder: Path, *source: str, room: int = 100) -> Iterator[str]:
    """A publisher with `source`, and a gateway with room for so many connections: its URL."""
    feed = f"ipc://{folder}/feed"
    with running("publisher", "--pub", feed, *source) as publisher:
        publisher.ready()
        limit = ("--max-connections", str(room))
        with running("gateway", "--listen", "127.0.0.1:0", "--feed", feed, *limit) as gateway:
            yield f"ws://{gateway.ready()['listen']}/ws"


def find(url: str, tmp_path: Path, *more: str) -> tuple[dict[str, Any], int, str]:
    """Search; return what was told, the exit status, and what was printed."""
    told = tmp_path / "told.json"
    kept = ("--run-dir", str(tmp_path), "--name", "a", "--json", str(told))
    with running("loadgen", "find-capacity", "--url", url, *QUICK, *kept, *more) as process:
        status = process.wait(120)
    return json.loads(told.read_text()), status, process.words()


def test_the_knee_of_a_gateway_with_room_for_three_is_three(tmp_path: Path) -> None:
    with serving(tmp_path, "--rate", "50", room=3) as url:
        told, status, words = find(url, tmp_path, "--slo", "lost==0", "--start", "4")
    assert told["trials"][0]["outcome"] == "failed", f"who was turned away was, on the busiest machine: {words}"
    assert {one["outcome"] for one in told["trials"] if one["value"] > 3} <= {"failed"}, words
    assert "failed" not in {one["outcome"] for one in told["trials"] if one["value"] <= 3}, words
    knee = told["knee"]
    if all(one["outcome"] != "unbelievable" for one in told["trials"]):
        assert (knee["low"], knee["high"], knee["is_lower_bound"], knee["confidence"]) == (3, 4, False, "high")
        assert told["limited_by"]["resource"] == "a limit of the server's own"
        assert status == 0
        assert "3 subscribers hold; 4 do not" in words
    # Each trial is a run of its own that can be told again, and the page has it all.
    for one in told["trials"]:
        assert StoredRun(tmp_path / "a" / one["folder"]).manifest["config"]["subscribers"] == one["value"]
    assert told == json.loads((tmp_path / "a" / "capacity.json").read_text())
    assert told["words"] in (tmp_path / "a" / "capacity.html").read_text()


def test_updates_are_pushed_at_the_rate_that_is_searched_for(tmp_path: Path) -> None:
    ingest = f"ipc://{tmp_path}/ingest"
    load = ("--var", "rate", "--ingest", ingest, "--subscribers", "2", "--start", "200", "--most", "200")
    with serving(tmp_path, "--source", "ingest", "--ingest", ingest) as url:
        told, _, words = find(url, tmp_path, *load, "--slo", "lost==0,p50<30s")
    assert told["trials"][0]["value"] == 200
    for one in told["trials"]:
        if one["value"] < 50:
            continue  # a search on a busy machine comes to rates of which half a second sees nothing
        delivered_per_s = one["rates"]["delivered_per_s"]
        assert delivered_per_s > one["value"] / 2, f"somebody pushes, however busy the machine is: {words}"
        if one["outcome"] == "held":  # two subscribers; half a second is short, and its edges count
            assert delivered_per_s == pytest.approx(2 * one["value"], rel=0.2), words
    if {one["outcome"] for one in told["trials"]} == {"held"}:
        assert (told["knee"]["low"], told["knee"]["is_lower_bound"], len(told["trials"])) == (200, True, 3), words


def test_a_signal_ends_it_with_what_is_known(tmp_path: Path) -> None:
    search = ("--var", "orders", "--subscribers", "0", "--order-clients", "1", "--for", "60", "--name", "a")
    with (
        serving(tmp_path, "--rate", "1") as url,
        running("loadgen", "find-capacity", "--url", url, "--run-dir", str(tmp_path), *QUICK, *search) as process,
    ):
        trial = tmp_path / "a" / "01-100" / "intervals.jsonl"
        wait_until(lambda: trial.exists() and "measure" in trial.read_text(), "the first trial measures", 30)
        status = process.stop(signal.SIGINT, 30)
    assert status == 97, process.words()
    found = json.loads((tmp_path / "a" / "capacity.json").read_text())
    assert (found["trials"], found["knee"]["why_stopped"]) == ([], "it was asked to end")
    assert (trial.parent / "verdict.json").exists(), "the trial was ended, not killed"


def test_a_server_that_is_not_there_ends_it_at_once(tmp_path: Path) -> None:
    told, status, words = find("ws://127.0.0.1:1/ws", tmp_path, "--start", "2")
    assert status == 97, words
    assert len(told["trials"]) == 1
    assert "nobody was reached: " in told["knee"]["why_stopped"]
