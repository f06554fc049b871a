"""What a run was made with: versions, machine, kernel, command, revision. Read once, when a run begins."""

import dataclasses
import os
import platform
import shlex
import subprocess
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

import execgate
from loadgen.config import RunConfig
from loadgen.core.verdict import asked_of
from loadgen.run_folder import FORMAT

_GIT_TIMEOUT_S = 5.0
_PACKAGES = ("psutil", "tornado", "ujson", "uvloop")


def describe_run(
    config: RunConfig, name: str, arguments: Sequence[str], start_s: float, *, command: str = "run"
) -> dict[str, Any]:
    """Return the manifest of a run that begins at `start_s`, in seconds since 1970."""
    plan = config.plan()
    return {
        "format": FORMAT,
        "name": name,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start_s)),
        "start_s": start_s,
        "command": shlex.join(["execgate", "loadgen", command, *arguments]),
        "config": {
            field.name.rstrip("_"): _plain(getattr(config, field.name)) for field in dataclasses.fields(config)
        },
        "plan": dataclasses.asdict(asked_of(plan)),
        "scenario": _plain(dataclasses.asdict(plan)),  # as it is carried out, at the size that the flags give it
        "git": _revision(Path(execgate.__file__).resolve().parents[1]),
        "versions": {
            "execgate": execgate.__version__,
            "python": platform.python_version(),
            **{package: metadata.version(package) for package in _PACKAGES},
        },
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_bytes": psutil.virtual_memory().total,
            "system": f"{platform.system()} {platform.release()}",
            "architecture": platform.machine(),
            "clock_source": _read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        },
    }


def _plain(value: Any) -> Any:
    """Return a setting as JSON has it."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, bytes):
        return value.decode()
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _revision(folder: Path) -> str | None:
    """Return the revision of the source, with "-dirty" where it was changed; None where it is in no repository."""
    if not (folder / ".git").exists():  # installed, maybe below somebody else's repository
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def _processor() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
