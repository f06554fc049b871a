"""`execgate loadgen run` over several processes: one run, with the faults of all; a death among them is told."""

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from loadgen.core.figures import Figures
from loadgen.run_folder import StoredRun
from tests.harness import has_ended, running, wait_until
from tests.integration.reference_server import reference_server, updates
from tests.rig import gateway

SHORT = ("--connect-rate", "100", "--warm-up", "0.2", "--interval", "0.3", "--name", "a")
PATIENT = ("--connect-timeout-ms", "20000", "--order-timeout-ms", "20000")


def load(url: str, tmp_path: Path, *more: str) -> tuple[str, ...]:
    return ("loadgen", "run", "--url", url, "--run-dir", str(tmp_path), *SHORT, *PATIENT, *more)


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def is_measuring(records: list[dict[str, Any]]) -> bool:
    return bool(records) and records[-1]["phase"] == "measure"


def listeners(folder: Path) -> int | None:
    """Return how many clients were connected when a run took its last record; None before it measures."""
    if not (folder / "intervals.jsonl").exists():
        return None
    records = list(StoredRun(folder).records())
    return int(records[-1]["connected"]) if is_measuring(records) else None


def head_of(journal: Path) -> int:
    """Return the newest seq that a publisher has journaled."""
    with closing(sqlite3.connect(journal / "journal.db")) as connection:
        return int(connection.execute("SELECT max(seq) FROM history").fetchone()[0] or 0)


def audit(journal: Path, records: Path, expected: int) -> tuple[dict[str, Any], str]:
    """Hold what two processes wrote down against a journal; return what was found, and all that was said."""
    written = [f"{records}.{number}" for number in range(2)]
    with running("audit", "--json", str(journal), *written) as process:
        assert process.wait() == expected, process.words()
        return json.loads("\n".join(process.stdout)), process.words()


def wait_for_deliveries(folder: Path, count: int) -> None:
    """Wait until the records of a run have so many deliveries, and it measures."""

    def reached() -> bool:
        if not (folder / "intervals.jsonl").exists():
            return False
        records = list(StoredRun(folder).records())
        return sum(int(record["delivered"]) for record in records) == count and is_measuring(records)

    wait_until(reached, "all is delivered, and it measures", 60)


def test_two_processes_from_two_addresses_are_one_run(tmp_path: Path) -> None:
    faults = updates([1, 2, 5, 4, 4, 7])  # 3 and 6 lost, 4 late, 4 twice
    records = tmp_path / "heard"
    with (
        reference_server(script=faults) as server,
        running(
            *load(server.url, tmp_path, "--for", "1.2", "--processes", "2", "--subscribers", "5"),
            *("--orders-per-s", "50", "--order-clients", "3", "--records", str(records)),
            *("--source", "127.0.0.1", "--source", "127.0.0.2", "--json", str(tmp_path / "out.json")),
        ) as process,
    ):
        assert process.wait(60) in (0, 98), process.words()
        addresses = [order["address"].partition(":")[0] for order in server.requests]
        assert len(server.handshakes) == 8
        assert len(server.requests) == len({(r["request"], r["address"]) for r in server.requests})
    told = read(tmp_path / "out.json")
    figures = told["figures"]
    streams = {name: figures["streams"][name] for name in ("delivered", "lost", "gaps", "duplicates", "reorders")}
    assert streams == {"delivered": 30, "lost": 10, "gaps": 10, "duplicates": 5, "reorders": 5}
    assert figures["connections"]["clients"] == figures["connections"]["connects"] == 8
    assert figures["orders"]["sent"] == figures["orders"]["answered"] == len(server.requests) > 10
    assert len(told["broken_streams"]) == 5
    assert told["died"] == []
    assert told["run"]["config"]["processes"] == 2
    assert set(addresses) == {"127.0.0.1", "127.0.0.2"}
    # Boundaries are those of one run: the phases have as many records as in one process.
    folder = StoredRun(tmp_path / "a")
    assert [record["phase"] for record in folder.records()].count("measure") in range(1, 5)
    assert Figures(folder.records()).as_dict() == figures
    # Each has written what its own clients heard, under names that are its own.
    written = [Path(f"{records}.{n}").read_text().splitlines() for n in range(2)]
    heard = [{json.loads(line)["client"] for line in lines} for lines in written]
    assert [len(clients) for clients in heard] == [3, 2]
    assert not heard[0] & heard[1]
    assert process.stderr, "it is shown while it goes"


def test_a_process_that_dies_makes_a_run_invalid_and_ends_it(tmp_path: Path) -> None:
    with (
        reference_server(script=updates([1])) as server,
        running(*load(server.url, tmp_path, "--for", "60", "--processes", "2", "--subscribers", "4")) as process,
    ):
        wait_for_deliveries(tmp_path / "a", 4)
        parts = psutil.Process(process.pid).children()
        assert len(parts) == 2
        os.kill(parts[1].pid, signal.SIGKILL)
        assert process.wait(60) == 98, process.words()
        assert all(map(has_ended, parts))
    verdict = read(tmp_path / "a" / "verdict.json")
    said = " ".join(reason["text"] for reason in verdict["reasons"])
    assert "process 1 of the load generator ended with status -9" in said
    assert "process 1 of the load generator ended with status -9" in "\n".join(process.stdout)
    assert Figures(StoredRun(tmp_path / "a").records()).as_dict()["streams"]["delivered"] == 4


def test_a_signal_ends_all_processes_with_everything_in_place(tmp_path: Path) -> None:
    with (
        reference_server(script=updates([1, 2])) as server,
        running(*load(server.url, tmp_path, "--for", "60", "--processes", "2", "--subscribers", "4")) as process,
    ):
        wait_for_deliveries(tmp_path / "a", 8)
        process.stop(signal.SIGINT, 60)
    verdict = read(tmp_path / "a" / "verdict.json")
    assert "of 60 s" in verdict["incomplete"][0]
    assert read(tmp_path / "a" / "end.json")["died"] == []
    records = list(StoredRun(tmp_path / "a").records())
    assert records[-1]["phase"] == "drain"
    assert Figures(records).as_dict()["streams"]["delivered"] == 8


def test_nothing_is_left_of_a_run_that_is_killed(tmp_path: Path) -> None:
    with (
        reference_server() as server,
        running(*load(server.url, tmp_path, "--for", "60", "--processes", "2", "--subscribers", "2")) as process,
    ):
        wait_until(lambda: len(server.handshakes) == 2, "both are connected", 60)
        parts = psutil.Process(process.pid).children()
        process.stop(signal.SIGKILL)
        wait_until(lambda: all(map(has_ended, parts)), "both have ended", 30)


@pytest.mark.slow
def test_what_all_processes_wrote_down_is_audited_together_and_who_had_not_left_is_owed_the_rest(
    tmp_path: Path,
) -> None:
    journal, feed = tmp_path / "journal", f"ipc://{tmp_path}/feed"
    whole, away = tmp_path / "whole", tmp_path / "away"
    sharing = ("--processes", "2", "--subscribers", "5", "--quiet")
    with (
        running("publisher", "--pub", feed, "--data-dir", str(journal), "--rate", "100") as publisher,
        gateway(feed, replay=f"{feed}.replay") as served,
    ):
        url = f"ws://{served.address}/ws"
        with running(*load(url, tmp_path, *sharing, "--for", "1", "--records", str(whole))) as process:
            assert process.wait(60) in (0, 97, 98), process.words()
        seen = Figures(StoredRun(tmp_path / "a").records()).as_dict()["streams"]
        more = (*sharing, "--for", "600", "--records", str(away), "--name", "b")
        with running(*load(url, tmp_path, *more)) as process:
            wait_until(lambda: listeners(tmp_path / "b") == 5, "all are there, and it measures", 60)
            served.process.stop(signal.SIGKILL)
            killed_at = head_of(journal)
            wait_until(lambda: listeners(tmp_path / "b") == 0, "nobody is there", 60)
            wait_until(lambda: head_of(journal) > killed_at, "the stream goes on without them", 60)
            assert process.stop(timeout_s=60) in (97, 98), process.words()
        publisher.stop()

    found, _ = audit(journal, whole, expected=0)
    assert found["clients"] == 5
    assert found["all"]["owed"] == found["all"]["received"] == seen["delivered"] > 0
    found, words = audit(journal, away, expected=1)
    assert found["clients"] == 5
    assert found["all"]["lost"] >= 5
    assert found["all"]["owed"] == found["all"]["received"] + found["all"]["lost"]
    assert "lost" in words
