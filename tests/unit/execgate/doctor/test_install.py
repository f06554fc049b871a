"""Common misinstalls, on given values."""

from dataclasses import replace
from typing import Any

import pytest

from execgate.doctor.core.finding import NOTE, OK, UNKNOWN, WRONG
from execgate.doctor.core.install import UNITS, ConfigFile, Installation, Place, judge_installation

GATEWAY = ConfigFile("/etc/execgate/gateway.toml", settings={"feed": "ipc:///run/execgate/feed"})
GOOD = Installation(
    compiled=("a", "b"),
    uncompiled=(),
    has_systemd=True,
    units=UNITS,
    files=(GATEWAY,),
    data=Place("/var/lib/execgate", True, 0o750, "execgate-publisher"),
    keys=(Place("/k", True, 0o600, "x"),),
)


def levels(**changed: Any) -> dict[str, str]:
    """The level of each finding that is not fine, by name."""
    findings = judge_installation(replace(GOOD, **changed))
    return {one.name: one.level for one in findings if one.level != OK}


def test_a_good_installation_has_nothing_wrong() -> None:
    assert levels() == {}
    assert levels(files=(), data=None, keys=(), has_systemd=False, units=()) == {}, "a clone that runs by hand"


def remote(name: str, value: str, **more: str) -> tuple[ConfigFile, ...]:
    return (ConfigFile("/etc/execgate/x.toml", settings={name: value, **more}, remote=(name,)),)


@pytest.mark.parametrize(
    ("changed", "name", "level"),
    [
        ({"uncompiled": ("b",)}, "compiled modules", NOTE),
        ({"units": UNITS[:1]}, "systemd units", NOTE),
        ({"files": (ConfigFile("/etc/execgate/g.toml", "Permission denied"),)}, "/etc/execgate/g.toml", WRONG),
        ({"files": remote("feed", "tcp://10.0.0.1:5550")}, "/etc/execgate/x.toml: feed", WRONG),
        ({"files": remote("feed", "tcp://10.0.0.1:5550", curve_key="k")}, "/etc/execgate/x.toml: feed", WRONG),
        ({"files": remote("pub", "tcp://*:5550")}, "/etc/execgate/x.toml: pub", WRONG),
        ({"files": remote("ingest", "tcp://*:5553")}, "/etc/execgate/x.toml: ingest", WRONG),
        ({"data": Place("/d", False)}, "data directory /d", WRONG),
        ({"data": Place("/d", True, 0o755, "x")}, "data directory /d", WRONG),
        ({"data": Place("/d", True, 0o752, "x")}, "data directory /d", WRONG),
        ({"data": Place("/d", None)}, "data directory /d", UNKNOWN),
        ({"keys": (Place("/k", True, 0o640, "x"),)}, "secret key /k", WRONG),
        ({"keys": (Place("/k", False),)}, "secret key /k", WRONG),
        ({"keys": (Place("/k", None),)}, "secret key /k", UNKNOWN),
    ],
)
def test_a_misinstall_is_named_with_what_to_do(changed: dict[str, Any], name: str, level: str) -> None:
    assert levels(**changed) == {name: level}
    (found,) = [one for one in judge_installation(replace(GOOD, **changed)) if one.name == name]
    assert found.fix or level == UNKNOWN


@pytest.mark.parametrize(
    "files",
    [
        remote("feed", "tcp://10.0.0.1:5550", curve_key="k", curve_server="s"),
        remote("pub", "tcp://*:5550", curve_key="k"),
    ],
)
def test_a_link_with_curve_may_go_over_a_network(files: tuple[ConfigFile, ...]) -> None:
    assert levels(files=files) == {}
