"""`./run install` and `./run uninstall`: reads the command line, looks, acts, and says a line for each thing done.

What was put in place is recorded in PREFIX/lib/execgate/installed.json: a file that is not as recorded was edited
by somebody, and stays. Users, journals and settings of the kernel in force outlive an uninstallation.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from execgate.install import environment, plan
from execgate.install.place import Record, Target, present, read_record, remove_if_empty, write, write_record
from execgate.install.plan import Action, Step, Wanted
from execgate.service.exits import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from execgate.wire.errors import UsageError

DEFAULT_PREFIX = "/opt/execgate"
MAX_GATEWAYS = 64
KEPT_VERSIONS = 3
"""The one in use among them; what is older goes, unless a process still runs from it."""
HOMES = ("/home", "/root", "/run/user")
"""What ProtectHome= in the units hides from the daemons."""

_PREFIX = re.compile(r"(/[A-Za-z0-9._+-]+)+")
_UNITS = "/etc/systemd/system"
_FOLDERS = {  # in etc/ of the clone -> in the system
    "systemd": _UNITS,
    "sysusers.d": "/etc/sysusers.d",
    "tmpfiles.d": "/etc/tmpfiles.d",
    "sysctl.d": "/etc/sysctl.d",
    "execgate": "/etc/execgate",
}
_DONE = {
    Action.CREATE: ("created", "would create"),
    Action.UPDATE: ("updated", "would update"),
    Action.LEAVE: ("as it was", "as it is"),
    Action.KEEP: ("kept", "would keep"),
    Action.REMOVE: ("removed", "would remove"),
    Action.FORGET: ("kept", "would keep"),
}

# What puts the files in force.
_IN_FORCE = [
    ["systemd-sysusers", "/etc/sysusers.d/execgate.conf"],
    ["systemd-tmpfiles", "--create", "/etc/tmpfiles.d/execgate.conf"],
    ["sysctl", "--quiet", "--load=/etc/sysctl.d/60-execgate.conf"],
    ["systemctl", "daemon-reload"],
]

Build = Callable[[Path, Path, str], None]


def main(arguments: Sequence[str]) -> int:
    """Run `install` or `uninstall`; return the exit status."""
    options = _parser().parse_args(arguments)
    os.umask(0o022)  # whatever root's is: the daemons are to read it
    try:
        target = _target(options)
        if options.verb == "install":
            install(Path(__file__).parents[2], target, options.gateways)
        else:
            uninstall(target)
    except UsageError as error:
        _say(str(error), sys.stderr)
        return EXIT_USAGE
    except (OSError, environment.BuildError) as error:
        _say(f"failed: {error}", sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


def install(clone: Path, target: Target, gateways: int | None, build: Build = environment.build) -> None:
    """Put `clone` in place at `target`: its files, then its programs, and the link to them last.

    Args:
        clone: the project's source.
        target: where to.
        gateways: how many the target starts; None for as many as it does already, and 1 at first.
        build: makes the environment of a version.

    Raises:
        UsageError: the record of an earlier installation can't be read.
        BuildError: the environment can't be made.
        OSError: a file can't be written.
    """
    record = read_record(target)
    gateways = gateways or record.gateways
    version = environment.stamp(clone)
    home = f"{target.library}/venvs/{version}"
    if target.real(home).exists():
        _say(f"{'as it is' if target.dry_run else 'as it was'}: {home}")
    elif target.dry_run:
        _say(f"would create: {home} with {sys.executable}")
    else:
        _say(f"creating: {home} with {sys.executable} (wheels by their hashes; a minute or so)")
        build(clone, target.real(home), home)
    wanted = files(clone, target.prefix, gateways)
    command = f"{target.prefix}/bin/execgate"
    wanted[command] = Wanted(f"../lib/execgate/venvs/{version}/bin/execgate".encode(), is_link=True)
    steps, ours = plan.install(wanted, record.files, present(target))
    # The units before the programs: a daemon that restarts between the two finds either old or new, whole.
    _take(target, sorted(steps, key=lambda step: step.path == command))
    versions = [name for name in record.versions if name != version] + [version]
    versions = _prune(target, versions)
    if not target.dry_run:
        write_record(target, Record(ours, versions, gateways))
    _tell_system(target, _IN_FORCE)
    _say(f"execgate {version} with {gateways} gateway{'s' * (gateways > 1)}: {_next(target, record)}")


def uninstall(target: Target) -> None:
    """Take away what the record lists and nobody edited, and say what stays.

    Raises:
        UsageError: nothing is installed there, or its record can't be read.
        OSError: a file can't be removed.
    """
    record = read_record(target)
    if not record.files:
        raise UsageError(f"nothing is installed at {target.prefix} (no {target.library}/installed.json)")
    _tell_system(target, [["systemctl", "stop", "execgate.target", "execgate-*"]])  # waits for each
    steps = plan.uninstall(record.files, present(target))
    _take(target, steps)
    for version in record.versions:
        _remove_version(target, version)
    if not target.dry_run:
        target.real(f"{target.library}/installed.json").unlink()
        for folder in ("/etc/execgate", f"{target.library}/venvs", target.library, f"{target.prefix}/lib"):
            remove_if_empty(target.real(folder))
        remove_if_empty(target.real(f"{target.prefix}/bin"))
        remove_if_empty(target.real(target.prefix))
    _tell_system(target, [["systemctl", "daemon-reload"]])
    _say(
        "stays: the journal in /var/lib/execgate, the users execgate-publisher and execgate-gateway, the group "
        "execgate, and the kernel's settings until the next boot"
    )


def files(clone: Path, prefix: str, gateways: int) -> dict[str, Wanted]:
    """Return every file and link of an installation but the command: path -> what is to be there."""
    wanted = {}
    for folder, place in _FOLDERS.items():
        for found in sorted((clone / "etc" / folder).iterdir()):
            text = found.read_text()
            if folder == "systemd":
                text = text.replace(f"{DEFAULT_PREFIX}/", f"{prefix}/")
            wanted[f"{place}/{found.name}"] = Wanted(text.encode())
    for unit, by in _enabled(gateways):
        name = re.sub("@.*[.]", "@.", unit)
        wanted[f"{_UNITS}/{by}.wants/{unit}"] = Wanted(f"{_UNITS}/{name}".encode(), is_link=True)
    return wanted


def _enabled(gateways: int) -> list[tuple[str, str]]:
    """Return (unit, whose start starts it): what `systemctl enable` would link."""
    instances = [f"execgate-gateway@{number}.service" for number in range(1, gateways + 1)]
    services = ["execgate-publisher.service", *instances]
    return [("execgate.target", "multi-user.target"), *((unit, "execgate.target") for unit in services)]


def _take(target: Target, steps: Sequence[Step]) -> None:
    for step in steps:
        if not target.dry_run:
            if step.action in (Action.CREATE, Action.UPDATE) and step.wanted is not None:
                write(target.real(step.path), step.wanted)
            elif step.action is Action.REMOVE:
                target.real(step.path).unlink()
                remove_if_empty(target.real(step.path).parent, suffix=".wants")
        _say(f"{_DONE[step.action][target.dry_run]}: {step.path}{f' ({step.why})' if step.why else ''}")


def _prune(target: Target, versions: list[str]) -> list[str]:
    """Remove versions that are too old and not in use; return those that are left."""
    left = []
    for index, version in enumerate(versions):
        if index >= len(versions) - KEPT_VERSIONS or not _remove_version(target, version):
            left.append(version)
    return left


def _remove_version(target: Target, version: str) -> bool:
    home = f"{target.library}/venvs/{version}"
    if not target.real(home).exists():
        return True
    running = _who_runs(home) if target.is_running_system else None
    if running is not None:
        _say(f"{_DONE[Action.KEEP][target.dry_run]}: {home} (process {running} runs from it)")
        return False
    if not target.dry_run:
        shutil.rmtree(target.real(home))
    _say(f"{_DONE[Action.REMOVE][target.dry_run]}: {home}")
    return True


def _who_runs(home: str) -> str | None:
    """Return the number of a process that was started from the environment `home`."""
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal() and f"{home}/".encode() in (process / "cmdline").read_bytes():
                return process.name
        except OSError:
            continue  # it has ended
    return None


def _tell_system(target: Target, commands: list[list[str]]) -> None:
    """Run what puts files in force. A failure is told, not fatal: an older kernel lacks a setting, say."""
    for command in commands:
        if target.dry_run:
            _say(f"would run: {' '.join(command)}")
        elif not target.is_running_system:
            _say(f"not run, no systemd runs {target.root}: {' '.join(command)}")
        else:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            words = " ".join((done.stdout + done.stderr).split())
            _say(f"ran: {' '.join(command)}{f': {words}' if words or done.returncode else ''}")


def _next(target: Target, before: Record) -> str:
    if target.dry_run:
        return "nothing was changed"
    if before.files:
        return "what runs stays as it was until it is restarted (docs/operations.md, Install)"
    return "look at /etc/execgate, then: systemctl start execgate.target"


def _target(options: argparse.Namespace) -> Target:
    if not _PREFIX.fullmatch(options.prefix):
        raise UsageError(f"--prefix {options.prefix!r}: expected an absolute path of letters, digits, . _ + and -")
    if any(f"{options.prefix}/".startswith(f"{home}/") for home in HOMES):
        raise UsageError(
            f"--prefix {options.prefix}: below {', '.join(HOMES)} the units' ProtectHome=yes hides it from the "
            f"daemons; expected a place such as {DEFAULT_PREFIX}"
        )
    root = Path(options.root).resolve()
    if not root.is_dir():
        raise UsageError(f"--root {options.root}: is no directory")
    if root == Path("/") and os.geteuid() != 0 and not options.dry_run:
        raise UsageError(f"writes to /etc and {options.prefix}, which takes root: sudo ./run {options.verb}")
    return Target(root, options.prefix, options.dry_run)


def _gateways(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= MAX_GATEWAYS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1 to {MAX_GATEWAYS}")


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--prefix", metavar="DIR", default=DEFAULT_PREFIX, help="the programs' place (%(default)s)"
    )
    shared.add_argument(
        "--root", metavar="DIR", default="/", help="act on the system whose / is DIR, an image's say"
    )
    shared.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser = argparse.ArgumentParser(prog="./run", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser(
        "install", parents=[shared], allow_abbrev=False, help="put programs and units in place"
    )
    verb.add_argument(
        "--gateways",
        metavar="N",
        type=_gateways,
        help="gateways that execgate.target starts (as before; 1 at first)",
    )
    verbs.add_parser("uninstall", parents=[shared], allow_abbrev=False, help="take them away again")
    return parser


def _say(line: str, stream: TextIO | None = None) -> None:
    print(f"install: {line}", file=stream, flush=True)
