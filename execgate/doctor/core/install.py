"""PURE: the common misinstalls, judged from what stands on the machine. `execgate.doctor.reading` looks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from execgate.doctor.core.finding import NOTE, OK, UNKNOWN, WRONG, Finding

LINKS = {"pub": "curve_key", "ingest": "curve_key", "ingest_ack": "curve_key", "feed": "curve_server"}
"""Settings that are ZeroMQ links, and the one beside it without which it has no CURVE."""
UNITS = ("execgate-publisher.service", "execgate-gateway@.service")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One of /etc/execgate/*.toml.

    Attributes:
        problem: why it can't be read, "" if it can.
        settings: all that stands in it.
        remote: those of `LINKS` in it that lead over a network.
    """

    path: str
    problem: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    remote: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A file or directory that a setting names.

    Attributes:
        exists: None where we may not look.
        mode: its permission bits.
        owner: a user's name, or number.
    """

    path: str
    exists: bool | None
    mode: int = 0
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Installation:
    """What was found. `compiled` has the modules that are, `uncompiled` those that could be and are not."""

    compiled: tuple[str, ...]
    uncompiled: tuple[str, ...]
    has_systemd: bool
    units: tuple[str, ...]
    files: tuple[ConfigFile, ...]
    data: Place | None
    keys: tuple[Place, ...]


def judge_installation(found: Installation) -> list[Finding]:
    """Return what was found of an installation."""
    return [
        *_modules(found),
        *_units(found),
        *_files(found.files),
        *(finding for one in found.files for finding in _links(one)),
        *([] if found.data is None else _data(found.data)),
        *(finding for one in found.keys for finding in _key(one)),
    ]


def _modules(found: Installation) -> Iterator[Finding]:
    slow = found.uncompiled
    yield Finding(
        "compiled modules",
        f"{len(found.compiled)} of {len(found.compiled) + len(slow)}"
        + (f", not {', '.join(slow)}" if slow else ""),
        "all",
        NOTE if slow else OK,
        "deliveries a second: they run as Python, up to twice as slow" if slow else "nothing",
        "install again with a C compiler and Python's headers there (build-essential, python3-dev)"
        if slow
        else "",
    )


def _units(found: Installation) -> Iterator[Finding]:
    if not found.has_systemd:
        yield Finding("systemd units", "no systemd here", "-", OK, "nothing")
        return
    missing = [unit for unit in UNITS if unit not in found.units]
    yield Finding(
        "systemd units",
        ", ".join(found.units) or "none",
        ", ".join(UNITS),
        NOTE if missing else OK,
        "restarts, watchdog, limits: nobody starts the daemons" if missing else "nothing",
        "sudo ./run install, in a clone: docs/operations.md" if missing else "",
    )


def _files(files: Sequence[ConfigFile]) -> Iterator[Finding]:
    if not files:
        yield Finding("/etc/execgate/*.toml", "none", "-", OK, "nothing: without a file the defaults hold")
    for one in files:
        yield Finding(
            one.path,
            one.problem or "readable",
            "readable, TOML",
            WRONG if one.problem else OK,
            "a daemon that is started with it ends at once" if one.problem else "nothing",
            f"chmod 0644 {one.path}, or mend it: execgate PROGRAM --config {one.path} --check"
            if one.problem
            else "",
        )


def _links(one: ConfigFile) -> Iterator[Finding]:
    """Is there a ZeroMQ link over a network that anybody could listen to, or push into?"""
    for name in one.remote:
        value, secret = one.settings[name], LINKS[name]
        is_open = not one.settings.get(secret)
        yield Finding(
            f"{one.path}: {name}",
            f"{value}, {'without CURVE' if is_open else 'CURVE'}",
            "CURVE off the machine",
            WRONG if is_open else OK,
            "who may read executions, or push them: anybody on that network" if is_open else "nothing",
            f"execgate keygen, then set {secret}: docs/security.md" if is_open else "",
        )


def _data(place: Place) -> Iterator[Finding]:
    problem = fix = ""
    if place.exists is False:
        problem, fix = "not there", f"install -d -o execgate-publisher -g execgate -m 0750 {place.path}"
    elif place.exists and place.mode & 0o007:
        problem, fix = f"mode {place.mode:04o}: for everybody", f"chmod o= {place.path}"
    level = UNKNOWN if place.exists is None else WRONG if problem else OK
    found = (
        "we may not look; ask as root" if place.exists is None else problem or f"{place.mode:04o} {place.owner}"
    )
    limits = "the journal: who may read it, and whether it can be written"
    yield Finding(f"data directory {place.path}", found, "there, 0750 or less", level, limits, fix)


def _key(place: Place) -> Iterator[Finding]:
    if place.exists is None:
        yield Finding(
            f"secret key {place.path}", "we may not look; ask as root", "0600", UNKNOWN, "who may read it"
        )
        return
    problem, fix = "", ""
    if not place.exists:
        problem, fix = "not there", "execgate keygen, or another path in the settings"
    elif place.mode & 0o077:
        problem, fix = f"mode {place.mode:04o}: not its owner's alone", f"chmod 0600 {place.path}"
    found = problem or f"{place.mode:04o} {place.owner}"
    yield Finding(f"secret key {place.path}", found, "0600", WRONG if problem else OK, "who may read it", fix)
