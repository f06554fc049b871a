"""Building what the benchmarks run: the C programs, and the peers from npm and PyPI, into `.bench/`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCH = HERE.parent / ".bench"
PIP_PEERS = (
    "websockets==17.4",
    "picows==2.3.1",
    "tornado==6.6.1",
    "ujson==6.1.0",
    "uvloop==0.23.0",
    "py-spy==0.4.3",
)


class SetupError(Exception):
    """Something that a case needs can't be had; the text says what to do."""


def build_c(name: str) -> Path:
    """Compile `benchmarks/NAME.c` if it is newer than its program; return the program."""
    source = HERE / f"{name}.c"
    program = BENCH / Path(name).name
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SetupError("no C compiler: apt-get install gcc libc6-dev")
    BENCH.mkdir(exist_ok=True)
    made = program.with_suffix(f".{os.getpid()}")
    subprocess.run([compiler, "-O2", "-o", made, source], check=True)
    made.replace(program)  # whole at once: another may be about to run it
    return program


def node_environment() -> dict[str, str]:
    """Install the Node peers; return what a Node peer's environment needs."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise SetupError("no Node.js: apt-get install nodejs npm")
    BENCH.mkdir(exist_ok=True)
    package = (HERE / "package.json").read_text()
    installed = BENCH / "package.json"
    if not installed.exists() or installed.read_text() != package or not (BENCH / "node_modules").exists():
        installed.write_text(package)
        print("installing the Node peers from npm", file=sys.stderr)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=BENCH, check=True)
    return {"NODE_PATH": str(BENCH / "node_modules")}


def peer_python() -> Path:
    """Install the Python peers into their own environment; return its Python."""
    python = BENCH / "venv" / "bin" / "python"
    stamp = BENCH / "venv" / "peers.json"
    wanted = json.dumps(PIP_PEERS)
    if not stamp.exists() or stamp.read_text() != wanted:
        print("installing the Python peers from PyPI", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", BENCH / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PIP_PEERS], check=True)
        stamp.write_text(wanted)
    return python
