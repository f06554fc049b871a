"""The `execgate` command: picks the program that was asked for, and imports only that one."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from execgate import __version__
from execgate.service.exits import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from execgate.wire.errors import UsageError

# command -> (module with `main(arguments) -> exit status`, what it is)
COMMANDS = {
    "publisher": ("publisher.app", "stamps execution updates and pushes them over ZeroMQ"),
    "gateway": ("gateway.app", "fans updates out to WebSocket clients and answers their orders"),
    "loadgen": ("loadgen.app", "drives a server with many clients and measures what they see"),
    "doctor": ("execgate.doctor", "says what limits this machine, and what to set"),
    "keygen": ("execgate.keygen", "makes a pair of CURVE keys for links off the machine"),
    "audit": ("execgate.audit.app", "holds what clients recorded against a publisher's journal"),
    "top": ("execgate.top", "shows what gateways and publishers do right now, on one screen"),
    "admin": ("execgate.admin", "asks a running gateway or publisher at its admin socket, or has it act"),
    "demo": ("execgate.demo", "starts all three on this machine and shows a live table"),
}


def usage() -> str:
    """Return the text of `execgate --help`."""
    commands = "\n".join(f"  {name:<10} {what}" for name, (_, what) in COMMANDS.items())
    return (
        "usage: execgate COMMAND [OPTION]...\n\n"
        "Trade executions from the system that makes them to thousands of WebSocket clients.\n\n"
        f"commands:\n{commands}\n\n"
        "'execgate COMMAND --help' shows a command's options and examples, 'execgate --version' the version."
        "\n\n"
        "examples:\n"
        "  execgate demo\n"
        "  execgate publisher --source synthetic --rate 20\n"
        "  execgate gateway --listen 127.0.0.1:8124 --workers 2\n"
        "  execgate loadgen classic2012 pubsub --max-clients 500 --for 60"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status (0 done, 1 failed, 2 misused)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in ("-h", "--help", "help"):
        print(usage())
        return EXIT_OK
    if words and words[0] == "--version":
        print(f"execgate {__version__}")
        return EXIT_OK
    if not words or words[0] not in COMMANDS:
        given = f"unknown command {words[0]!r}" if words else "no command given"
        print(f"execgate: {given}; expected one of {', '.join(COMMANDS)}", file=sys.stderr)
        return EXIT_USAGE
    module = import_module(COMMANDS[words[0]][0])
    try:
        status = int(module.main(words[1:]))
        sys.stdout.flush()
        return status
    except UsageError as error:
        print(f"execgate {words[0]}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:  # whoever reads has had enough (`| head`); nothing is left to be written at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 130
