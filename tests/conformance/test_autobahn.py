"""The field's conformance suite: Autobahn's fuzzing client against the gateway's connection code.

It runs under Python 2.7 alone (autobahntestsuite 0.8.2, of 2019), and keeps its packages in a cache folder. Where
there is no Python 2.7 this is skipped; `test_rfc6455.py` holds the same clauses everywhere.
"""

import json
import os
import shutil
import subprocess
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.serving import echo_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PINS = Path(__file__).with_name("autobahn.txt")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "execgate" / "autobahn-0.8.2"
# site.addsitedir reads the .pth files by which zope becomes a package.
WSTEST = "import site, sys; site.addsitedir({folder!r}); sys.path.insert(0, {folder!r}); \
from autobahntestsuite.wstest import run; run()"

# The cases whose outcome the suite only writes down, since RFC 6455 leaves it open.
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}


def python2() -> str | None:
    """A Python 2.7: on PATH, or the newest of pyenv's."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [
        shutil.which("python2.7"),
        *sorted(map(str, root.glob("versions/2.7.*/bin/python")), reverse=True),
    ]
    for candidate in filter(None, candidates):
        answer = subprocess.run([candidate, "-c", "import pip"], capture_output=True, check=False)
        if answer.returncode == 0:
            return candidate
    return None


@pytest.fixture(scope="module")
def wstest() -> list[str]:
    """The command that runs the suite; its packages are installed at the first use."""
    python = python2()
    if python is None:
        message = "AUTOBAHN'S SUITE DID NOT RUN: it needs a Python 2.7 with pip (pyenv install 2.7.18)"
        warnings.warn(message, stacklevel=1)
        pytest.skip(message)
    if not CACHE.exists():
        fresh = CACHE.with_name(f"{CACHE.name}.{os.getpid()}")
        pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--quiet"]
        command = [*pip, "--target", str(fresh), "-r", str(PINS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        fresh.rename(CACHE)
    return [python, "-c", WSTEST.format(folder=str(CACHE)), "-m", "fuzzingclient", "-s", "spec.json"]


def run_suite(wstest: list[str], folder: Path, address: str, *cases: str) -> dict[str, dict[str, Any]]:
    """Run `cases`, `1.*` being a whole section; return the report: case -> its outcome."""
    spec = {
        "outdir": str(folder / "reports"),
        "servers": [{"agent": "execgate", "url": f"ws://{address}"}],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    subprocess.run(wstest, cwd=folder, check=True, timeout=1200, stdout=subprocess.DEVNULL)
    return dict(json.loads((folder / "reports" / "index.json").read_text())["execgate"])


def check(report: dict[str, dict[str, Any]], expected: dict[int, int], informational: set[str]) -> None:
    """Every case is OK, strictly, in what it was answered and in how it was closed."""
    other = {
        case: (outcome["behavior"], outcome["behaviorClose"])
        for case, outcome in report.items()
        if (outcome["behavior"], outcome["behaviorClose"]) != ("OK", "OK")
    }
    assert {case: how for case, how in other.items() if case not in informational} == {}
    assert {how for outcome in other.values() for how in outcome} <= {"OK", "INFORMATIONAL"}
    assert Counter(int(case.partition(".")[0]) for case in report) == expected


def test_the_protocol_is_kept_to_the_letter(wstest: list[str], tmp_path: Path) -> None:
    """Framing, pings, reserved bits, opcodes, fragmentation, UTF-8, closing, limits (16 MiB), and 10."""
    with echo_server() as address:
        report = run_suite(
            wstest, tmp_path, address, *(f"{section}.*" for section in (1, 2, 3, 4, 5, 6, 7, 9, 10))
        )
    cases = {1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 9: 54, 10: 1}
    check(report, cases, INFORMATIONAL)


# Of each group 1,000 messages of three small sizes; EXECGATE_TEST_AUTOBAHN=all runs every case of both sections,
# up to 128 KiB, whole and in fragments, which takes 9 minutes.
SAMPLE = (1, 3, 5)


def test_permessage_deflate_is_kept_to_the_letter(wstest: list[str], tmp_path: Path) -> None:
    """Section 12: messages of each kind; 13: the offers, windows of 2^9 to 2^15 among them, none declined."""
    numbers = range(1, 19) if os.environ.get("EXECGATE_TEST_AUTOBAHN") == "all" else SAMPLE
    cases = [
        f"{s}.{group}.{n}" for s, groups in ((12, 5), (13, 7)) for group in range(1, groups + 1) for n in numbers
    ]
    with echo_server("--deflate") as address:
        report = run_suite(wstest, tmp_path, address, *cases)
    check(report, {12: 5 * len(numbers), 13: 7 * len(numbers)}, set())
