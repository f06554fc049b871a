"""The benchmarks measure what they say: short runs of the measuring client, the feeder and the gateway."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import overload, rolling, storm
from benchmarks.running import Work, run, take_only
from benchmarks.servers import OURS, SERVERS
from benchmarks.storm import Storm

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

needs_machine = pytest.mark.skipif(
    shutil.which("cc") is None or (os.cpu_count() or 1) < 2,
    reason="NOT TESTED: a benchmark needs a C compiler and two cores",
)


@needs_machine
def test_lagging_connections_meet_their_modes_policy_and_the_others_alone_are_measured() -> None:
    """Of six the 1st never reads (mode all), the 2nd reads slowly (volatile); four take half of the topics."""
    said = (take_only(["*"]), take_only(["*"], "volatile"))

    def say(index: int) -> tuple[str, ...]:
        return said[index] if index < len(said) else take_only(["ex.S1."])

    flags = ("--send-buffer-kib", "16", "--outbound-kib", "256")
    work = Work(6, 400, 1, size=4_096, topics=2, stuck=1, slow=1, skimmed=2, say=say, flags=flags)
    figures = run(SERVERS[OURS], work)
    assert (figures["connected"], figures["failed"], figures["closed_by_server"]) == (6, 0, 0)
    assert figures["closed_slow"] == 1
    assert figures["dropped"] > 0
    assert figures["bytes_per_item"] == 4_096 + 33
    assert figures["whole_updates"] > 0  # came to exactly the two that are measured
    assert figures["messages"] - 2 <= figures["missing"] <= figures["messages"]  # every other update is not theirs
    assert figures["skimmed_bytes"] > 0
    assert 0 < figures["slow_bytes"] < figures["skimmed_bytes"] / 2  # one is slow, two are skimmed
    assert (figures["duplicates"], figures["reordered"], figures["content_differs"]) == (0, 0, 0)


@needs_machine
@pytest.mark.parametrize(("change", "is_void"), [("", False), ("| sed -u s/price/prize/", True)])
def test_what_a_server_delivers_is_compared_with_what_was_fed(change: str, is_void: bool) -> None:
    limit = SERVERS["limit"]

    def command(port: int) -> list[str]:
        return ["sh", "-c", f"cat {change} | exec '{limit.command(port)[0]}' {port}"]

    figures = run(replace(limit, command=command), Work(64, 50, 1, rows=3))
    assert figures["messages"] >= 64
    assert bool(figures["content_differs"]) is is_void


@needs_machine
def test_compressed_messages_are_counted_as_they_come() -> None:
    figures = run(SERVERS[OURS], Work(2, 100, 1, rows=10, deflate=True, flags=("--deflate",)))
    assert figures["failed"] == 0
    assert figures["messages"] > 0
    assert figures["bytes_per_item"] < 1_000  # 2,058 plain


@needs_machine
@pytest.mark.parametrize("is_new", [False, True], ids=["from the ring", "older than the rings of two"])
def test_a_storm_gets_all_that_it_is_owed_once_and_costs_the_publisher_one_replay_of_each_page(
    is_new: bool,
) -> None:
    """Hundreds resume at once, beside who is live; a gateway that has just started has none of it in its ring."""
    said = take_only(["ex.LIVE."])
    gateways = 2 if is_new else 1
    work = Storm(
        20, 50, 0.5, say=lambda _index: said, clients=400, is_new=is_new, journal=is_new, gateways=gateways
    )
    figures = storm.measure(SERVERS[OURS], work)
    assert (figures["failed"], figures["wrong"], figures["void"]) == (0, 0, "")
    assert figures["replays_a_page"] == is_new
    assert figures["live_during"] > 0
    assert 0 < figures["arrived_during_us"] <= figures["p99_during_us"]


@needs_machine
def test_overload_is_watched_from_the_calm_before_to_the_calm_after() -> None:
    flags = ("--idle-s", "600", "--emit-volatile", "--send-buffer-kib", "16")
    figures = overload.measure(SERVERS[OURS], Work(20, 4_000, 1, slow=2, skimmed=10, flags=flags))
    assert figures["deliveries_per_s"] > 0
    assert figures["dropped"] > 0
    assert figures["orders_answered"] > 0
    assert figures["health_failed"] == 0
    assert figures["rss_peak"] >= figures["rss_before"] > 0
    assert None not in (figures["recover_s"], figures["order_p99_us"], figures["health_p99_us"])


def bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@needs_machine
def test_a_case_prints_its_table_and_saves_its_runs(tmp_path: Path) -> None:
    saved = tmp_path / "runs.json"
    ended = bench("compression-update", "--rounds", "1", "--json", str(saved))
    assert ended.returncode == 0, ended.stderr
    assert "100 rows" in ended.stdout
    runs = json.loads(saved.read_text())["runs"]
    assert list(runs)[:2] == ["0 rows", "1 row"]
    assert runs["100 rows"][0]["compressed_bytes"] < runs["100 rows"][0]["plain_bytes"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "unknown case 'nope'"),
        (["profile"], "profile takes one of the cases"),
        (["fanout", "--against", "limit,nope"], "unknown server 'nope'"),
    ],
)
def test_what_is_unknown_is_a_usage_error_of_one_line(arguments: list[str], said: str) -> None:
    ended = bench(*arguments)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"./run bench: {said}")
    assert ended.stderr.count("\n") == 1


@needs_machine
def test_a_rolling_restart_loses_nothing_and_moves_every_client() -> None:
    work = rolling.Rolling(20, 20, 0.5, connect_rate=100, gateways=2, lead_s=0.2, drain_s=0.4, shares_port=False)
    figures = rolling.measure(SERVERS[OURS], work)
    assert (figures["lost"], figures["duplicates"], figures["unaccepted"], figures["failed_ends"]) == (0, 0, 0, 0)
    assert figures["resumed"] >= 20  # who was on the first, and then all on the second
    assert figures["longest_wait_us"] > 50_000  # who comes back has waited, and that is seen
