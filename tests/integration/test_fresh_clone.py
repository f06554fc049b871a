"""The README's two commands, typed in a fresh clone of what is committed: what a stranger does first.

Whatever is not committed is not in the clone, so this fails on a file that only this machine has.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUARD = "EXECGATE_TEST_INSIDE_CLONE"
SHOWN_CHARACTERS = 20_000  # of a failed command's output: its end has the reasons

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(GUARD in os.environ, reason="this is the clone: it does not clone itself again"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git repository: nothing to clone"),
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of HEAD, as `git clone` leaves it."""
    target = tmp_path_factory.mktemp("fresh") / "execgate"
    # --no-hardlinks: the clone owns all it has.
    run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(target)])
    return target


def run(command: list[str], timeout_s: float = 60.0, environment: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return its output; fail with the output if it fails or takes too long."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**_plain_environment(), **(environment or {})},
        start_new_session=True,  # so that its children can be ended with it
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except BaseException:
            os.killpg(process.pid, 9)
            print(process.communicate()[0][-SHOWN_CHARACTERS:])
            raise
    tail = output[-SHOWN_CHARACTERS:]
    assert process.returncode == 0, f"{command} ended with {process.returncode}:\n{tail}"
    return output


def _plain_environment() -> dict[str, str]:
    """The environment without what tox and pytest added: the clone has a tox of its own."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TOX_", "PYTEST_", "COVERAGE_", "VIRTUAL_ENV", "PYTHON"))
    } | {GUARD: "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_demo_runs_from_any_directory_and_delivers(clone: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    command = [str(clone / "run"), "demo", "--for", "5", "--port", str(free_port()), "--json", str(summary)]
    run(command, timeout_s=240)
    assert summary.stat().st_size > 0


def test_the_test_command_works_on_every_python(clone: Path) -> None:
    """Few tests, compiled code among them: that they pass is the suite's own affair, of which this is a part."""
    part = ("tests/unit/execgate/wire/test_frame_parser.py", "tests/unit/gateway/test_delivery.py")
    run([str(clone / "run"), "test", "--", *part], timeout_s=600)


def test_nothing_made_by_the_verbs_would_be_committed(clone: Path) -> None:
    run([str(clone / "run"), "setup"], timeout_s=240)
    assert run(["git", "-C", str(clone), "status", "--porcelain"]) == ""


def test_it_installs_as_a_plain_package(clone: Path, tmp_path: Path) -> None:
    """`pip install .` gives the command; the programs come along, the tests do not."""
    run([str(clone / "run"), "setup"], timeout_s=240)
    python = str(clone / ".venv/bin/python")
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    run([python, "-m", *build, str(clone)], timeout_s=240)
    run([python, "-m", "venv", str(tmp_path / "venv")])
    installed = tmp_path / "venv/bin"
    (wheel,) = tmp_path.glob("execgate-*.whl")
    run([str(installed / "pip"), "install", "--quiet", "--no-deps", str(wheel)], timeout_s=120)
    assert run([str(installed / "execgate"), "--version"]).startswith("execgate ")
    assert not list((tmp_path / "venv").glob("lib/python3*/site-packages/tests"))
