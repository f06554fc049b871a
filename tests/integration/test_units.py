"""The samples in `etc/`: settings that the programs take, and units that systemd finds no fault with."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from gateway.core.drain import longest_s
from tests.harness import running

ETC = Path(__file__).parents[2] / "etc"
SERVICES = ("execgate-publisher.service", "execgate-gateway@.service")
MARGIN_S = 5
PROGRAM = "/opt/execgate/bin/execgate"


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze; where it is missing, the test is skipped, or fails where CI is set."""
    if shutil.which("systemd-analyze") is None:
        message = "NO SYSTEMD-ANALYZE: the units are untested here (apt-get install systemd)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("program", ["publisher", "gateway"])
def test_the_program_takes_its_sample_of_settings(program: str) -> None:
    with running(program, "--config", str(ETC / "execgate" / f"{program}.toml"), "--check") as process:
        assert process.popen.wait(20) == 0, process.words()


def test_systemd_waits_for_the_longest_drain_of_the_sample() -> None:
    (stops_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", (ETC / "systemd" / SERVICES[1]).read_text(), re.MULTILINE)
    settings = tomllib.loads((ETC / "execgate" / "gateway.toml").read_text())
    assert int(stops_s) >= longest_s(settings["drain_lead_s"], settings["drain_s"]) + MARGIN_S


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES)
def test_what_a_unit_is_exposed_to_is_rated_1_5_at_most(service: str) -> None:
    rated = analyze("security", "--offline=true", "--threshold=15", ETC / "systemd" / service)
    assert rated.returncode == 0, rated.stdout


@pytest.mark.slow
def test_systemd_finds_no_fault_with_the_units_once_the_program_is_there(tmp_path: Path) -> None:
    for unit in (ETC / "systemd").iterdir():
        text = unit.read_text().replace(PROGRAM, shutil.which("true") or "/bin/true")
        (tmp_path / unit.name).write_text(text)
    verified = analyze("verify", "--man=no", *sorted(tmp_path.iterdir()))
    assert (verified.returncode, verified.stderr) == (0, "")
