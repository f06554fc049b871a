"""Prometheus' own programs, from Debian's package `prometheus`: what they say of our text and our files."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

RULES = Path(__file__).resolve().parents[1] / "etc" / "prometheus" / "execgate.rules.yml"


def alerts() -> dict[str, str]:
    """Return the alert rules, name -> text of the rule."""
    rules = re.split(r"^ +- alert: ", RULES.read_text(), flags=re.MULTILINE)[1:]
    return {rule.partition("\n")[0]: rule for rule in rules}


def tool(name: str) -> str:
    """Return the path of `promtool` or `prometheus`; skip where it is missing, loudly, and fail in CI."""
    found = shutil.which(name)
    if found is None:
        assert "CI" not in os.environ, f"{name} is missing, and this is CI: apt-get install prometheus"
        pytest.skip(f"{name} is missing: this was NOT tested (apt-get install prometheus)")
    return found


def promtool(*arguments: str | Path, text: str | None = None) -> str:
    """Run promtool, which must find no fault; return what it said."""
    ran = subprocess.run(
        [tool("promtool"), *map(str, arguments)], input=text, text=True, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def check_text(text: str) -> None:
    """Have names, units and help of a scrape looked at, where promtool is there."""
    if shutil.which("promtool") is not None or "CI" in os.environ:
        assert promtool("check", "metrics", text=text) == ""
