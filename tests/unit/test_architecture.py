"""The two rules of the house, read from the source: arrows go one way, and cores decide without I/O.

`docs/architecture.md` draws them. A checker takes source text, so each is also shown a bad snippet here that it
must refuse: a rule that cannot fail holds nothing.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ("execgate", "gateway", "publisher", "loadgen")
PROGRAMS = frozenset({"gateway", "publisher", "loadgen"})

# Who may import whom: a module's layer may import these layers, besides itself.
ARROWS = {
    "root": set(),
    "wire": {"root"},
    "measure": {"root", "wire"},
    "service": {"root", "wire", "measure"},
    "gateway": {"root", "wire", "measure", "service"},
    "publisher": {"root", "wire", "measure", "service"},
    # Its clients write down what the audit reads: one form, one place.
    "audit": {"root", "wire", "measure", "service"},
    "loadgen": {"root", "wire", "measure", "service", "audit"},
    # The command line and the demo stand on top, and still reach programs by name or as processes only:
    # `execgate gateway` must not pay for the publisher's imports.
    "top": {"root", "wire", "measure", "service"},
}

# Pure code may import the standard library but for these, JSON, and other pure code of the project.
# fmt: off
IMPURE = frozenset(
    {
        "asyncio", "concurrent", "ctypes", "fcntl", "http.client", "http.server", "importlib", "io",
        "logging", "mmap", "multiprocessing", "os", "pathlib", "platform", "queue", "resource",
        "sched", "secrets", "select", "selectors", "shutil", "signal", "socket", "socketserver",
        "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib.request",
    }
)
# fmt: on
PURE_THIRD_PARTY = frozenset({"msgspec", "ujson"})
IMPURE_CALLS = frozenset({"open", "print", "input", "exec", "eval", "__import__"})
CLOCK_CALLS = frozenset({"now", "utcnow", "today"})


def layer_of(name: str) -> str:
    """The layer of a dotted name of the project: `execgate.wire.topics.Topics` is in `wire`."""
    parts = name.split(".")
    if parts[0] in PROGRAMS:
        return parts[0]
    if len(parts) > 1 and parts[1] in ("wire", "measure", "service", "audit"):
        return parts[1]
    is_module_of_top = len(parts) > 1 and parts[1] in TOP
    return "top" if is_module_of_top else "root"


TOP = {
    path.stem for path in (ROOT / "execgate").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
} - {"__init__", "wire", "measure", "service", "audit"}


def is_pure(module: str) -> bool:
    """Whether `module` has to be free of I/O, threads and clocks."""
    return layer_of(module) in ("wire", "measure", "root") or "core" in module.split(".")[1:3]


def imports_of(source: str, module: str, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every import, wherever it stands; `from a import b` is `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if is_package else module.split(".")[:-1]
                kept = package[: len(package) - node.level + 1]
                base = ".".join([*kept, *filter(None, [base])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def wrong_arrows(source: str, module: str, is_package: bool = False) -> list[str]:
    """Say which imports of `module` go against the arrows."""
    here = layer_of(module)
    return [
        f"{module}:{line} ({here}) imports {name} ({layer_of(name)})"
        for line, name in imports_of(source, module, is_package)
        if name.split(".")[0] in PROJECT and layer_of(name) not in ARROWS[here] | {here}
    ]


def impurities(source: str, module: str, is_package: bool = False) -> list[str]:
    """Say what in `module`, which is to be pure, reaches out of it."""
    found = [
        f"{module}:{line} imports {name}"
        for line, name in imports_of(source, module, is_package)
        if not _is_pure_import(name)
    ]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in IMPURE_CALLS:
                found.append(f"{module}:{node.lineno} calls {called.id}()")
            if isinstance(called, ast.Attribute) and called.attr in CLOCK_CALLS:
                found.append(f"{module}:{node.lineno} reads a clock: .{called.attr}()")
    return found


def _is_pure_import(name: str) -> bool:
    top = name.split(".")[0]
    if top in PROJECT:
        return is_pure(name)
    if top == "random":  # the class takes a seed from outside; the module's functions share hidden state
        return name == "random.Random"
    if top not in sys.stdlib_module_names:
        return top in PURE_THIRD_PARTY
    return not any(name == impure or name.startswith(f"{impure}.") for impure in IMPURE)


def modules() -> Iterator[tuple[str, Path]]:
    """Yield (dotted name, file) of every module of the project."""
    for package in PROJECT:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = [pytest.param(name, path, id=name) for name, path in modules()]
PURE_MODULES = [pytest.param(name, path, id=name) for name, path in modules() if is_pure(name)]


@pytest.mark.parametrize(("module", "path"), MODULES)
def test_imports_go_with_the_arrows(module: str, path: Path) -> None:
    assert wrong_arrows(path.read_text(), module, path.name == "__init__.py") == []


@pytest.mark.parametrize(("module", "path"), PURE_MODULES)
def test_pure_modules_reach_for_no_io_thread_or_clock(module: str, path: Path) -> None:
    assert impurities(path.read_text(), module, path.name == "__init__.py") == []


def test_every_core_the_wire_and_the_measures_are_held_to_purity() -> None:
    pure = {".".join(name.split(".")[:2]) for name, _ in modules() if is_pure(name)}
    assert {"execgate.wire", "execgate.measure", "gateway.core", "publisher.core", "loadgen.core"} <= pure


@pytest.mark.parametrize(("module", "path"), MODULES)
def test_every_module_says_what_it_is(module: str, path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


# The one file that decides what is written to a WebSocket, and what it writes to where the socket speaks TLS.
WRITERS = frozenset({"gateway.outbound", "gateway.tls_transport"})
WRITES = frozenset({"send", "sendall", "sendmsg", "sendto", "write", "writelines", "write_eof"})


def writes(source: str) -> list[str]:
    """Return the calls of `source` that write to a socket or a transport; `os.write` (a pipe) is neither."""
    return [
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in WRITES
        and ast.unparse(node.func.value) != "os"
    ]


@pytest.mark.parametrize(("module", "path"), [m for m in MODULES if str(m.id).startswith("gateway")])
def test_one_file_writes_to_the_sockets_of_websockets(module: str, path: Path) -> None:
    assert module in WRITERS or writes(path.read_text()) == []


def test_a_write_past_that_file_is_found() -> None:
    assert writes("self._transport.write(frame)\nsock.sendall(b'')\nos.write(1, b'')") == [
        "self._transport.write",
        "sock.sendall",
    ]
    assert writes((ROOT / "gateway/outbound.py").read_text())


def test_every_package_is_in_the_distribution() -> None:
    """pyproject.toml spells packages out, so that `tests` is not installed; a new one is easily forgotten."""
    import tomllib

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(declared) == sorted(name for name, path in modules() if path.name == "__init__.py")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gateway.app", "import publisher"),
        ("gateway.app", "from publisher.core.sequencer import Sequencer"),
        ("loadgen.app", "import gateway.app as g"),
        ("publisher.feed", "def f():\n    from loadgen import core"),
        ("execgate.wire.topics", "from execgate.service.logs import log"),
        ("execgate.wire.topics", "from execgate import service"),
        ("execgate.wire.topics", "from ..service import logs"),
        ("execgate.wire.topics", "from execgate.measure import histogram"),
        ("execgate.measure.pacer", "import execgate.service.vitals"),
        ("execgate.service.logs", "import gateway"),
        ("execgate.service.logs", "from execgate.audit import chain"),
        ("gateway.app", "from execgate.audit import chain"),
        ("execgate.audit.app", "import gateway.app"),
        ("execgate.cli", "import gateway.app"),
        ("gateway.app", "from execgate import cli"),
        ("gateway.app", "from execgate.cli import main"),
    ],
)
def test_an_import_against_the_arrows_is_found(module: str, source: str) -> None:
    assert len(wrong_arrows(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gateway.app", "from execgate import __version__"),
        ("gateway.app", "from gateway.core import hub\nfrom . import feed\nfrom execgate.service import logs"),
        ("execgate.service.logs", "from execgate.wire.errors import UsageError"),
        ("execgate.cli", "from importlib import import_module\nfrom execgate import __version__"),
        ("execgate.wire.topics", "import tornado"),  # a matter of purity, not of arrows
    ],
)
def test_an_import_with_the_arrows_passes(module: str, source: str) -> None:
    assert wrong_arrows(source, module) == []


@pytest.mark.parametrize(
    "source",
    [
        *(f"import {name}" for name in ("tornado.web", "zmq", "asyncio", "socket", "threading", "select")),
        *(f"import {name}" for name in ("os.path", "time", "io", "pathlib", "psutil", "uvloop", "random")),
        *(f"import {name}" for name in ("subprocess", "logging", "multiprocessing", "pytest")),
        "from time import monotonic_ns",
        "from random import choice",
        "def f():\n    import os",
        "from execgate.service import vitals",
        "from gateway.outbound import Outbound",
        "from ..outbound import Outbound",
        "def f():\n    return open('x')",
        "from datetime import datetime\nx = datetime.now()",
        "__import__('os')",
    ],
)
def test_an_impurity_in_a_core_is_found(source: str) -> None:
    assert len(impurities(source, "gateway.core.hub")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import ujson\nfrom random import Random",
        "from execgate.wire.topics import Topics\nfrom gateway.core.session import Session\nfrom . import session",
        "from collections import deque\nfrom datetime import timedelta\nimport math, heapq, urllib.parse",
        "def f(socket):\n    socket.open()",
    ],
)
def test_pure_code_passes(source: str) -> None:
    assert impurities(source, "gateway.core.hub") == []
