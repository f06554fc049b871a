"""PURE: reads a scenario, in TOML, and makes a plan of it; docs/loadgen.md explains each key.

Called by the settings. What stands at the top of the file has the names of flags, and a flag wins: the groups keep
their proportions at any `--subscribers`, the stages theirs at any `--for` and `--warm-up`.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadgen.core.figures import MEASURE, RAMP, WARM_UP
from loadgen.core.plan import (
    BEHAVIOURS,
    MAX_CLIENTS,
    MODES,
    RAMP_REST_S,
    RECONNECTING,
    SLOW,
    Group,
    Plan,
    Size,
    Stage,
)

MAX_SECONDS = 30 * 86_400.0
MAX_RATE = 1_000_000.0
MAX_BURST = 100_000
MAX_GROUPS = 32
MAX_STAGES = 100
MAX_TOPICS = 1_000
"""Of a subscription, as docs/protocol.md has it."""
RAMP_UP, HOLD, SPIKE, SOAK, STORM = "ramp", "hold", "spike", "soak", "storm"
KINDS = (RAMP_UP, HOLD, SPIKE, SOAK, STORM)

Suggest = Callable[[str, Iterable[str]], str]
Check = Callable[[Any], Any]


def _number(low: float, high: float, *, over: bool = False) -> Check:
    """Return a check for a number from `low` (over it, if `over`) to `high`."""

    def check(value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high or (over and value == low):
            raise ValueError(f"expected a number {'over' if over else 'from'} {low:g}, {high:g} at most")
        return float(value)

    return check


def _whole(low: int, high: int) -> Check:
    def check(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return value

    return check


def _one_of(choices: Sequence[str]) -> Check:
    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return str(value)

    return check


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 40 or not value.isprintable():
        raise ValueError("expected a text of 1 to 40 characters")
    return value


def _topics(value: Any) -> tuple[str, ...]:
    good = (
        isinstance(value, list)
        and 0 < len(value) <= MAX_TOPICS
        and all(isinstance(topic, str) and topic.isascii() and 0 < len(topic) <= 255 for topic in value)
    )
    if not good:
        raise ValueError(
            'expected a list of topics in ASCII, exact or with * at the end, such as ["ex.A.", "ex.B*"]'
        )
    return tuple(value)


_RATE = _number(0, MAX_RATE, over=True)
_SECONDS = _number(0, MAX_SECONDS, over=True)
TOP: dict[str, Check] = {
    "connect_rate": _RATE,
    "orders_per_s": _RATE,
    "order_clients": _whole(1, MAX_CLIENTS),
    "local_rate": _RATE,
    "fairness": _switch,
}
GROUP: dict[str, Check] = {
    "name": _name,
    "subscribers": _whole(1, MAX_CLIENTS),
    "behaviour": _one_of(BEHAVIOURS),
    "mode": _one_of(MODES),
    "topics": _topics,
    "read_bytes_per_s": _number(1, 1e9),
    "reconnect_every_s": _SECONDS,
}
STAGE: dict[str, Check] = {
    "kind": _one_of(KINDS),
    "name": _name,
    "seconds": _SECONDS,
    "measured": _switch,
    "to": _number(0, 1000),
    "factor": _number(0, 1000, over=True),
    "orders_factor": _number(0, 1000),
    "connect_rate": _RATE,
    "over_s": _number(0, MAX_SECONDS),
    "calm": _switch,
    "burst": _whole(1, MAX_BURST),
    "burst_every_s": _number(0.01, MAX_SECONDS),
}
_ONLY_OF = {  # key -> the kinds of stage that have it
    "to": (RAMP_UP,),
    "factor": (SPIKE,),
    "orders_factor": (SPIKE,),
    "over_s": (STORM,),
    "connect_rate": (RAMP_UP, SPIKE, HOLD),
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a file says; each stage by its keys.

    Attributes:
        name: for messages and the manifest.
        origin: the file, or the preset's name: what a flag would say.
        groups: see `Plan`.
        stages: each with `STAGE`'s keys, as far as they were given, and a name of its own.
        top: `TOP`'s keys, as far as they were given.
    """

    name: str
    groups: tuple[Group, ...]
    stages: tuple[Mapping[str, Any], ...]
    top: Mapping[str, Any]
    origin: str = ""

    def __str__(self) -> str:
        return self.origin or self.name

    def settings(self) -> dict[str, Any]:
        """Return what it says of the flags that win over it, by the names of their fields."""
        found = {name: value for name, value in self.top.items() if name != "fairness"}
        found["subscribers"] = sum(group.count for group in self.groups)
        for name, phase in (("for_", MEASURE), ("warm_up", WARM_UP)):
            if seconds := self._seconds(phase):
                found[name] = seconds
        return found

    def _seconds(self, phase: str) -> float:
        return sum(float(stage["seconds"]) for stage in self.stages if _phase(stage) == phase)

    def plan(self, size: Size) -> Plan:
        """Return the plan at this size.

        Raises:
            ValueError: a stage has not the time for what happens in it, or there would be too many clients.
        """
        stretch = {RAMP: 1.0}
        for phase, seconds in ((MEASURE, size.measure_s), (WARM_UP, size.warm_up_s)):
            stretch[phase] = seconds / (self._seconds(phase) or seconds)
        stages: list[Stage] = []
        standing = before = 0
        for number, given in enumerate(self.stages):
            kind, phase = given["kind"], _phase(given)
            if kind == RAMP_UP:
                standing = round(size.subscribers * given.get("to", 1.0))
            there = round(standing * given.get("factor", 1.0))
            if there + size.order_clients > MAX_CLIENTS:
                raise ValueError(f"stage {given['name']}: {there:,} subscribers; expected {MAX_CLIENTS:,} at most")
            rate = given.get("connect_rate", size.connect_rate)
            changes = abs(there - before) + (size.order_clients if number == 0 else 0)
            if "seconds" in given:
                seconds = given["seconds"] * stretch[phase]
                if kind == RAMP_UP:
                    rate = max(changes, 1) / seconds
            else:
                seconds = max(changes, 1) / rate + RAMP_REST_S
            stages.append(
                Stage(
                    given["name"],
                    phase,
                    seconds,
                    there,
                    rate,
                    orders_per_s=size.orders_per_s * given.get("orders_factor", 1.0) if number else 0.0,
                    burst=given.get("burst", 0) if size.order_clients else 0,
                    burst_every_s=given.get("burst_every_s", 0.0),
                    storm_over_s=given.get("over_s", 0.0) if kind == STORM else None,
                    is_calm=given.get("calm", False),
                )
            )
            before = there
        fairness = self.top.get("fairness", False)
        return Plan(self.groups, tuple(stages), size.order_clients, name=self.name, tells_fairness=fairness)


def parse_scenario(name: str, text: str, suggest: Suggest) -> Scenario:
    """Read a scenario.

    Args:
        name: of the scenario.
        text: TOML.
        suggest: what to put behind an error about a word, from the words that are known.

    Raises:
        ValueError: names the place, the key, the value and what was expected.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"no TOML: {error}") from None
    lists = {key: table.pop(key, []) for key in ("group", "stage")}
    top = _read("", table, TOP, suggest, ("group", "stage"))
    for key, most in (("group", MAX_GROUPS), ("stage", MAX_STAGES)):
        found = lists[key]
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise ValueError(f"{key}: expected tables, each under a line [[{key}]]")
        if not 0 < len(found) <= most:
            raise ValueError(f"{len(found)} of [[{key}]]; expected 1 to {most}")
    groups = [
        _group(number, _read(f"group {number}: ", found, GROUP, suggest))
        for number, found in enumerate(lists["group"], 1)
    ]
    stages = [
        _stage(number, _read(f"stage {number}: ", found, STAGE, suggest), has_orders="orders_per_s" in top)
        for number, found in enumerate(lists["stage"], 1)
    ]
    for key, names in (
        ("group", [group.name for group in groups]),
        ("stage", [stage["name"] for stage in stages]),
    ):
        for again in {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{key}: name = {again!r} comes twice; expected a name of its own for each")
    if sum(group.count for group in groups) > MAX_CLIENTS:
        raise ValueError(f"group: more than {MAX_CLIENTS:,} subscribers together")
    if stages[0]["kind"] != RAMP_UP:
        raise ValueError(f"stage 1: kind = {stages[0]['kind']!r}: expected ramp, in which the clients connect")
    if not any(_phase(stage) == MEASURE for stage in stages):
        raise ValueError("stage: none is measured; expected a hold, spike, soak or storm without measured = false")
    return Scenario(name, tuple(groups), tuple(stages), top)


def _read(
    where: str, table: Mapping[str, Any], checks: Mapping[str, Check], suggest: Suggest, others: Sequence[str] = ()
) -> dict[str, Any]:
    found = {}
    for key, value in table.items():
        if key not in checks:
            raise ValueError(f"{where}{key}: no such key{suggest(key, [*checks, *others])}")
        try:
            found[key] = checks[key](value)
        except ValueError as error:
            raise ValueError(f"{where}{key} = {value!r}: {error}") from None
    return found


def _group(number: int, found: dict[str, Any]) -> Group:
    if "subscribers" not in found:
        raise ValueError(f"group {number}: no subscribers; expected how many there are")
    behaviour = found.get("behaviour", "fast")
    for key, only in (("read_bytes_per_s", SLOW), ("reconnect_every_s", RECONNECTING)):
        if (key in found) != (behaviour == only):
            wrong = "is there" if key in found else "is not there"
            raise ValueError(f"group {number}: {key} {wrong}: it belongs to behaviour = {only!r}, and only to it")
    named = {"name": behaviour, **found}
    return Group(count=named.pop("subscribers"), **named)


def _stage(number: int, found: dict[str, Any], *, has_orders: bool) -> dict[str, Any]:
    where = f"stage {number}: "
    if "kind" not in found:
        raise ValueError(f"{where}no kind; expected one of {', '.join(KINDS)}")
    kind = found["kind"]
    for key, kinds in _ONLY_OF.items():
        if key in found and kind not in kinds:
            raise ValueError(
                f"{where}{key} = {found[key]!r}: only a {' or '.join(kinds)} has it, and this is a {kind}"
            )
    if kind != RAMP_UP and "seconds" not in found:
        raise ValueError(f"{where}no seconds; expected how long the {kind} lasts")
    if kind == SPIKE and found.get("factor", 1.0) == found.get("orders_factor", 1.0) == 1.0:
        raise ValueError(f"{where}a spike without a factor or an orders_factor other than 1")
    if ("burst" in found) != ("burst_every_s" in found):
        raise ValueError(f"{where}burst and burst_every_s belong together")
    if kind == RAMP_UP and ("burst" in found or found.get("measured")):
        raise ValueError(f"{where}a ramp is not measured and has no burst")
    if not has_orders and ("burst" in found or "orders_factor" in found):
        raise ValueError(f"{where}about orders, and there is no orders_per_s at the top")
    if found.get("over_s", 0.0) > found.get("seconds", 0.0):
        raise ValueError(
            f"{where}over_s = {found['over_s']:g}: expected {found['seconds']:g} at most, its seconds"
        )
    return {"name": f"{number} {kind}", **found}


def _phase(stage: Mapping[str, Any]) -> str:
    """Return what a stage's records count for."""
    if stage["kind"] == RAMP_UP:
        return RAMP
    return MEASURE if stage.get("measured", True) else WARM_UP
