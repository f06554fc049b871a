"""`execgate admin PATH ...`: asks a daemon at its admin socket, shows the answer; called by `execgate.cli`."""

import argparse
import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from execgate.service.exits import EXIT_FAILED, EXIT_OK
from execgate.service.options import LOG_LEVELS
from execgate.wire.errors import UsageError

_TIMEOUT_S = 10.0
_MAX_ANSWER_BYTES = 4 * 1024 * 1024
_COLUMNS = ("id", "address", "mode", "topics", "age_s", "queued_bytes", "sent", "dropped", "conflated")
_EXAMPLES = """\
examples:
  execgate admin /run/execgate/gateway-1.admin sessions
  execgate admin /run/execgate/gateway-1.admin kick 4711
  execgate admin /run/execgate/publisher.admin log-level debug
  execgate admin /run/execgate/gateway-1.admin dump --json"""


def main(arguments: Sequence[str]) -> int:
    """Ask, and print the answer; return the exit status.

    Raises:
        UsageError: nobody answers at that socket.
    """
    options = _parser().parse_args(arguments)
    try:
        with _connected(options.path, _TIMEOUT_S) as peer:
            if options.command == "sessions":
                return _show_sessions(_pages(peer), as_json=options.json)
            if options.command == "slowest":
                return _show_sessions(iter([_ask(peer, {"do": "slowest"})]), as_json=options.json)
            request: dict[str, Any] = {"do": options.command}
            if options.command == "kick":
                request["id"] = options.id
            elif options.command == "log-level":
                request["level"] = options.level
            return _show(_ask(peer, request), as_json=options.json)
    except OSError as error:
        raise UsageError(f"{options.path}: {error.strerror or error}; is it the --admin of a daemon?") from None


def slowest_of(path: str, timeout_s: float) -> list[dict[str, Any]]:
    """Return the sessions for whom the most waits, of the gateway at an admin socket.

    Raises:
        OSError: nobody answers there.
        ValueError: what answers is no gateway.
    """
    with _connected(path, timeout_s) as peer:
        answer = _ask(peer, {"do": "slowest"})
    if "error" in answer:
        raise ValueError(answer["error"])
    return list(answer["sessions"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="execgate admin",
        description="Ask a gateway or a publisher at its --admin socket, or have it act.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("path", metavar="PATH", help="the socket that its --admin names")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    kick = "close a session with 1008"
    commands.add_parser("sessions", help="who is connected, how, since when, and what waits for them")
    commands.add_parser("slowest", help="the ten for whom the most waits, the first of them first")
    commands.add_parser("kick", help=kick, description=kick).add_argument("id", metavar="ID", type=int)
    level = commands.add_parser("log-level", help="change it until the next start, reload or change")
    level.add_argument("level", choices=LOG_LEVELS)
    commands.add_parser("dump", help="figures, settings in force, and where each thread is")
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="as JSON, for programs")
    return parser


@contextmanager
def _connected(path: str, timeout_s: float) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(timeout_s)
        peer.connect(path)
        yield peer


def _ask(peer: socket.socket, request: dict[str, Any]) -> dict[str, Any]:
    """Send one request; return its answer.

    Raises:
        OSError: the daemon has gone, or answers too much.
    """
    peer.sendall(json.dumps(request).encode() + b"\n")
    pieces = bytearray()
    while not pieces.endswith(b"\n"):
        piece = peer.recv(65536)
        if not piece or len(pieces) > _MAX_ANSWER_BYTES:
            raise OSError("no whole answer")
        pieces += piece
    answer: dict[str, Any] = json.loads(pieces)
    return answer


def _pages(peer: socket.socket) -> Iterator[dict[str, Any]]:
    """Yield the pages of `sessions`; an error is the last one."""
    after: int | None = 0
    while after is not None:
        answer = _ask(peer, {"do": "sessions", "after": after})
        yield answer
        after = answer.get("next")


def _show_sessions(pages: Iterator[dict[str, Any]], *, as_json: bool) -> int:
    sessions = []
    for page in pages:
        if "error" in page:
            return _show(page, as_json=as_json)
        sessions += page["sessions"]
    if as_json:
        return _show({"sessions": sessions}, as_json=True)
    rows = [_COLUMNS, *([_cell(session.get(name)) for name in _COLUMNS] for session in sessions)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return EXIT_OK


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return " ".join(value) if isinstance(value, list) else str(value)


def _show(answer: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        for name, value in answer.items():
            print(f"{name}:\n{value}" if "\n" in str(value) else f"{name}: {value}")
    return EXIT_FAILED if "error" in answer else EXIT_OK
