"""The adversary for a minute, with a fixed seed: nothing is lost; and who forgets where it was is found.

`./run chaos --minutes 20` is the same for longer: docs/guarantees.md has its figures.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def chaos(*flags: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "chaos", *flags], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def test_a_minute_of_faults_and_each_client_has_seen_each_seq_once_or_was_told() -> None:
    status, figures, words = chaos("--minutes", "1", "--seed", "1")
    assert figures["problems"] == [], words
    assert status == 0
    # That it was no easy minute: processes died, clients resumed, holes were filled, slow readers were met.
    assert figures["kills"] >= 5
    assert figures["crowd"]["resumes"] >= 200
    assert figures["gateways"]["replayed"] > 0
    assert figures["gateways"]["pages_fetched"] > 0
    assert figures["producer"]["resent"] > 0
    assert figures["crowd"]["closed-4108"] > 0
    fates = figures["audit"]["modes"]
    assert fates["all"]["received"] == fates["all"]["owed"] > 100_000
    assert fates["volatile"]["told"] > 0
    assert fates["conflate"]["conflated"] > 0


def test_control_clients_that_resume_without_their_position_are_found_and_no_others() -> None:
    status, figures, words = chaos("--minutes", "0.3", "--seed", "3", "--ignore-position", "3")
    assert status == 1, words
    assert not figures["audit"]["balanced"]
    assert set(figures["audit"]["kinds"]) == {"lost"}
    assert {flaw["client"] for flaw in figures["audit"]["flaws"]} <= {"c0", "c1", "c2"}
    assert len(figures["problems"]) == 1, figures["problems"]
