"""The books together: what the load generator heard, through the death of a gateway, against the journal."""

import json
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from execgate.service.exits import EXIT_INCOMPLETE, EXIT_INVALID
from tests.harness import running, wait_until
from tests.rig import gateway

CLIENTS, OTHERS = 12, 2
KILLED_AFTER, ENDED_AFTER = 300, 900
"""Updates that each client has been sent, on average."""


def audit(journal: Path, *files: Path, expected: int = 0) -> tuple[dict[str, Any], str]:
    """Return what the audit found, and all that it said of it."""
    with running("audit", "--json", str(journal), *map(str, files)) as process:
        assert process.wait() == expected, process.words()
        return json.loads("\n".join(process.stdout)), process.words()


def delivered_of(intervals: Path) -> int:
    with suppress(FileNotFoundError):
        return sum(json.loads(line)["delivered"] for line in intervals.read_text().splitlines(keepends=True)[:-1])
    return 0


class Run:
    """What is left of a run in which one of two gateways was killed."""

    def __init__(self, folder: Path) -> None:
        self.journal = folder / "journal"
        self.records, self.others = folder / "records.jsonl", folder / "others.jsonl"
        self.gateways, self.publisher = folder / "gateways.jsonl", folder / "publisher.jsonl"
        feed = f"ipc://{folder}/feed"
        flags: tuple[str, ...] = ("--rate", "200", "--symbols", "4", "--seed", "1", "--heartbeat-ms", "100")
        flags += ("--data-dir", str(self.journal), "--ledger-file", str(self.publisher))
        ledger = ("--heartbeat-s", "1", "--ledger-file", str(self.gateways))
        intervals, summary = folder / "intervals.jsonl", folder / "summary.json"
        with (
            running("publisher", "--pub", feed, *flags) as publisher,
            gateway(feed, *ledger, replay=f"{feed}.replay") as killed,
            gateway(feed, *ledger, replay=f"{feed}.replay") as lives,
            running(
                *("loadgen", "classic2012", "pubsub", "--step", str(CLIENTS), "--max-clients", str(CLIENTS)),
                *("--url", f"ws://{killed.address}/ws", "--url", f"ws://{lives.address}/ws"),
                *("--records", str(self.records), "--intervals", str(intervals), "--json", str(summary)),
            ) as load,
            running(
                *("loadgen", "run", "--subscribers", str(OTHERS), "--url", f"ws://{lives.address}/ws", "--quiet"),
                *("--for", "600", "--run-dir", str(folder), "--records", str(self.others)),
            ) as other_load,
        ):

            def has(updates: int) -> Callable[[], bool]:
                return lambda: delivered_of(intervals) >= updates * CLIENTS

            wait_until(has(KILLED_AFTER), "updates flow", 30)
            killed.process.send_signal(signal.SIGKILL)
            wait_until(has(ENDED_AFTER), "they flow again", 30)
            lives.wait_for_stats("all are on the one that lives", connections=CLIENTS + OTHERS, resuming=0)
            # It was cut short, and on a busy machine it does not believe itself.
            assert other_load.stop() in (EXIT_INCOMPLETE, EXIT_INVALID)
            assert load.stop() == 0
            ended_at = lives.stats()["feed"]["seq"]
            wait_until(lambda: lives.stats()["feed"]["seq"] > ended_at, "the stream goes on without them")
            assert lives.process.stop() == 0
            assert publisher.stop() == 0
        self.summary = json.loads(summary.read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("ledger"))


def test_the_books_balance_though_a_gateway_was_killed(run: Run) -> None:
    found, words = audit(run.journal, run.records)
    assert found["balanced"], words
    assert found["clients"] == CLIENTS
    assert found["sessions"] == CLIENTS + run.summary["resumes"]
    assert found["all"]["owed"] == found["all"]["received"] == run.summary["delivered"]


def test_the_clients_themselves_saw_one_whole_stream(run: Run) -> None:
    assert run.summary["resumes"] == run.summary["recovered"] == CLIENTS / 2, "those of the dead one"
    assert run.summary["disconnects"] == CLIENTS / 2
    wrong = ("gaps", "missing", "told_gaps", "duplicates", "reorders", "given_up")
    assert {name: run.summary[name] for name in wrong} == dict.fromkeys(wrong, 0)


def test_the_gateways_ledger_agrees_with_its_clients_and_with_the_journal(run: Run) -> None:
    found, words = audit(run.journal, run.records, run.others, run.gateways, run.publisher)
    assert found["balanced"], words
    ledgers = found["ledgers"]
    assert (ledgers["publishers"], ledgers["gateways"], ledgers["unfinished"]) == (1, 1, 0), (
        "the one that was killed took its own along"
    )
    assert found["clients"] == CLIENTS + OTHERS
    assert ledgers["sessions"] == ledgers["compared"] == CLIENTS + OTHERS
    sessions = [json.loads(line) for line in run.gateways.read_text().splitlines()][:-1]
    assert {line["closed_with"] for line in sessions} == {"peer"}
    resumed = [line for line in sessions if line["since"]]
    assert len(resumed) == CLIENTS / 2
    assert all(line["stretches"][0]["after"] == line["since"]["seq"] for line in resumed)


def test_the_publishers_ledger_agrees_with_the_journal(run: Run, tmp_path: Path) -> None:
    found, words = audit(run.journal, run.publisher)
    assert (found["balanced"], found["ledgers"]["publishers"]) == (True, 1), words
    line = json.loads(run.publisher.read_text())
    for name in ("accepted", "journaled", "published", "until"):
        spoiled = tmp_path / f"{name}.jsonl"
        spoiled.write_text(json.dumps(line | {name: line[name] - 1}))
        found, _ = audit(run.journal, spoiled, expected=1)
        [wrong] = found["ledgers"]["wrongs"]
        assert wrong["who"].startswith("publisher of epoch")
        assert f"{line[name] - 1} {'seqs' if name == 'until' else name}" in wrong["what"]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"delivered": -1}, "have a fate"),
        ({"delivered": 1, "matched": 1, "stretches": 1}, "matched where the journal has"),
        ({"delivered": -10, "discarded": 10}, "its client received"),
        ({"after": 1}, "its client began"),
    ],
)
def test_a_ledger_that_is_wrong_is_found_and_its_session_is_named(
    run: Run, tmp_path: Path, changes: dict[str, int], what: str
) -> None:
    lines = [json.loads(line) for line in run.gateways.read_text().splitlines()]
    line = lines[0]
    [stretch] = line["stretches"]
    for name, by in changes.items():
        if name in line and name != "stretches":
            line[name] += by
            if name in lines[-1]:
                lines[-1][name] += by
        else:
            stretch[{"stretches": "matched"}.get(name, name)] += by
    spoiled = tmp_path / "gateways.jsonl"
    spoiled.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found, words = audit(run.journal, run.records, run.others, spoiled, expected=1)
    assert {wrong["who"] for wrong in found["ledgers"]["wrongs"]} == {line["session"]}
    assert any(what in wrong["what"] for wrong in found["ledgers"]["wrongs"]), words


def _removed(lines: list[dict[str, Any]], index: int) -> tuple[int, str]:
    return lines.pop(index)["first"], "lost"


def _altered(lines: list[dict[str, Any]], index: int) -> tuple[int, str]:
    lines[index]["hash"] ^= 1
    return lines[index]["first"], "other-content"


def _doubled(lines: list[dict[str, Any]], index: int) -> tuple[int, str]:
    lines.insert(index, lines[index])
    return lines[index]["first"], "doubled"


@pytest.mark.parametrize("spoil", [_removed, _altered, _doubled])
def test_a_record_that_is_wrong_is_found_and_its_pair_is_named(
    run: Run, tmp_path: Path, spoil: Callable[[list[dict[str, Any]], int], tuple[int, str]]
) -> None:
    lines = [json.loads(line) for line in run.records.read_text().splitlines()]
    received = [index for index, line in enumerate(lines) if line["is"] == "received"]
    index = received[len(received) // 2]
    client = lines[index]["client"]
    seq, what = spoil(lines, index)
    spoiled = tmp_path / "records.jsonl"
    spoiled.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found, _ = audit(run.journal, spoiled, expected=1)
    assert not found["balanced"]
    assert {flaw["client"] for flaw in found["flaws"]} == {client}
    first = found["flaws"][0]
    assert (first["seq"], first["what"].split()[0][: len(what)]) == (seq, what)


def test_what_is_missing_at_the_end_is_lost(run: Run, tmp_path: Path) -> None:
    """A client that was away when the run ended never left: it is owed all up to the journal's head."""
    lines = run.records.read_text().splitlines()
    left = next(line for line in lines if '"left"' in line)
    away = tmp_path / "records.jsonl"
    away.write_text("".join(f"{line}\n" for line in lines if line is not left))
    found, _ = audit(run.journal, away, expected=1)
    head = max(found["journal"].values())
    assert found["all"]["lost"] == head - json.loads(left)["seq"] > 0
