"""`execgate audit` on a real journal: what came over the feed balances, what was left out or changed is named."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from execgate.audit import chain
from tests.harness import running

UPDATES = 50


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    limits = ("--max-updates", str(UPDATES), "--rate", "5000", "--symbols", "2", "--seed", "1")
    with running(
        "publisher", "--pub", f"ipc://{folder}/feed", "--data-dir", str(folder / "j"), *limits
    ) as process:
        assert process.wait() == 0
    return folder / "j"


def history(journal: Path, folder: Path, seqs: list[int], *, spoil: int | None = None) -> Path:
    """Write what a client that got `seqs` writes; `spoil` is a seq whose payload it got otherwise."""
    connection = sqlite3.connect(journal / "journal.db")
    held = connection.execute("SELECT epoch, seq, CAST(payload AS BLOB) FROM history")
    rows = {seq: (epoch, payload) for epoch, seq, payload in held}
    connection.close()
    epoch = rows[1][0]
    lines: list[dict[str, Any]] = [
        {"client": "c", "is": "client", "mode": "all", "topics": ["*"]},
        {"client": "c", "is": "subscribed", "epoch": epoch, "seq": 0, "recovered": True, "gap": None},
    ]
    for seq in seqs:
        hashed = chain.extend(0, chain.digest(rows[seq][1] + (b" " if seq == spoil else b"")))
        lines.append(
            {
                "client": "c",
                "is": "received",
                "epoch": epoch,
                "first": seq,
                "last": seq,
                "count": 1,
                "hash": hashed,
            }
        )
    path = folder / "history.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


EVERY = list(range(1, UPDATES + 1))


def test_a_client_that_got_everything_once_balances(journal: Path, tmp_path: Path) -> None:
    with running("audit", "--json", str(journal), str(history(journal, tmp_path, EVERY))) as process:
        assert process.wait() == 0
        found = json.loads("\n".join(process.stdout))
    assert found["balanced"]
    assert found["all"]["owed"] == found["all"]["received"] == UPDATES


@pytest.mark.parametrize(
    ("seqs", "spoil", "words"),
    [
        (EVERY[:9] + EVERY[10:], None, "client c epoch .* seq 10: lost"),
        ([*EVERY[:10], 10, *EVERY[10:]], None, "seq 10: doubled"),
        (EVERY, 7, "seq 7: other-content"),
        (EVERY[:-1], None, f"seq {UPDATES}: lost"),
    ],
)
def test_what_does_not_balance_is_named_and_is_the_exit_status(
    journal: Path, tmp_path: Path, seqs: list[int], spoil: int | None, words: str
) -> None:
    with running("audit", str(journal), str(history(journal, tmp_path, seqs, spoil=spoil))) as process:
        assert process.wait() == 1
        process.wait_for(words)
        process.wait_for("THE BOOKS DO NOT BALANCE")


def test_an_epoch_that_nothing_was_published_in_yet_is_the_one_that_goes_on(journal: Path, tmp_path: Path) -> None:
    heard = history(journal, tmp_path, EVERY)
    later = shutil.copytree(journal, tmp_path / "later")
    (later / "ceiling").unlink()  # whatever may have been published is not known: another epoch begins
    anywhere = "tcp://127.0.0.1:0"
    flags = ("--pub", anywhere, "--data-dir", str(later), "--source", "ingest", "--ingest", anywhere)
    with running("publisher", *flags) as publisher:
        epoch = publisher.ready()["epoch"]
        with running("audit", "--json", str(later), str(heard)) as process:
            assert process.wait() == 0
            before = json.loads("\n".join(process.stdout))
        moved = {"client": "c", "is": "passed", "epoch": epoch, "seq": 0, "dropped": 0, "conflated": 0}
        with heard.open("a") as lines:
            lines.write(json.dumps(moved) + "\n")
        with running("audit", "--json", str(later), str(heard)) as process:
            assert process.wait() == 0
            after = json.loads("\n".join(process.stdout))
    assert list(before["journal"].values()) == [UPDATES, 0]
    assert list(before["journal"])[-1] == epoch
    assert before["all"] == after["all"]
    assert after["all"]["owed"] == after["all"]["received"] == UPDATES


def test_files_that_can_not_be_used_are_named_in_one_line(journal: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange.jsonl"
    strange.write_text("no JSON\n")
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text('{"is": "session", "gateway": "g"}\n')
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    for directory, file, words in (
        (tmp_path, strange, "no journal.db there"),
        (journal, strange, "line 1"),
        (journal, ledger, "expected a ledger's line"),
        (journal, empty, "nothing to be held against the journal"),
        (journal, tmp_path / "none", "No such file"),
    ):
        with running("audit", str(directory), str(file)) as process:
            assert process.wait() == 2
            assert len(process.stderr) == 1
            assert words in process.stderr[0]
