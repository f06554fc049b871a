"""A scenario in TOML: what is refused and in which words, and the plan that it becomes at any size."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execgate.service.options import did_you_mean
from execgate.wire.errors import UsageError
from loadgen.config import RunConfig, load_run
from loadgen.core.figures import MEASURE, RAMP, WARM_UP
from loadgen.core.plan import Act, Group, Plan, Size
from loadgen.core.scenario import Scenario, parse_scenario
from loadgen.scenarios import MAX_FILE_BYTES, preset_names, read_preset, read_scenario

GROUP = "[[group]]\nsubscribers = 10\n"
RAMP_STAGE = '[[stage]]\nkind = "ramp"\n'
HOLD = '[[stage]]\nkind = "hold"\nseconds = 4\n'
MANY = "[[group]]\nsubscribers = 600000\n"
LEAST = GROUP + RAMP_STAGE + HOLD


def parse(text: str) -> Scenario:
    return parse_scenario("s", text, did_you_mean)


def plan_of(scenario: Scenario, **sizes: Any) -> Plan:
    settings = scenario.settings()
    size = Size(
        subscribers=settings["subscribers"],
        order_clients=settings.get("order_clients", 10) if "orders_per_s" in settings else 0,
        connect_rate=settings.get("connect_rate", 100.0),
        warm_up_s=settings.get("warm_up", 2.0),
        measure_s=settings["for_"],
        orders_per_s=settings.get("orders_per_s", 0.0),
    )
    return scenario.plan(replace(size, **sizes))


def config(*arguments: str, **environment: str) -> RunConfig:
    return load_run("p", arguments, environment, description="", examples="")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[group", "no TOML: "),
        ("conect_rate = 3\n" + LEAST, "conect_rate: no such key; did you mean connect_rate?"),
        ("connect_rate = 0\n" + LEAST, "connect_rate = 0: expected a number over 0"),
        ("connect_rate = true\n" + LEAST, "connect_rate = True: expected a number over 0"),
        ("connect_rate = 2e6\n" + LEAST, "connect_rate = 2000000.0: expected a number over 0, 1e+06 at most"),
        ("connect_rate = nan\n" + LEAST, "connect_rate = nan: expected a number over 0"),
        ("fairness = 1\n" + LEAST, "fairness = 1: expected true or false"),
        ("group = 3\n", "group: expected tables"),
        ("group = [3]\n", "group: expected tables"),
        (RAMP_STAGE + HOLD, "0 of [[group]]; expected 1 to 32"),
        (33 * GROUP + RAMP_STAGE + HOLD, "33 of [[group]]; expected 1 to 32"),
        (GROUP, "0 of [[stage]]; expected 1 to 100"),
        ("[[group]]\n" + RAMP_STAGE + HOLD, "group 1: no subscribers"),
        (GROUP + "subscriber = 1\n" + RAMP_STAGE, "group 1: subscriber: no such key; did you mean subscribers"),
        (GROUP + 'behaviour = "lazy"\n' + RAMP_STAGE, "group 1: behaviour = 'lazy': expected one of fast, slow"),
        (GROUP + 'mode = "some"\n' + RAMP_STAGE, "group 1: mode = 'some': expected one of all, volatile"),
        (GROUP + "topics = []\n" + RAMP_STAGE, "group 1: topics = []: expected a list of topics"),
        (GROUP + 'topics = ["é"]\n' + RAMP_STAGE, "group 1: topics = ['é']: expected a list of topics"),
        (GROUP + 'name = ""\n' + RAMP_STAGE, "group 1: name = '': expected a text of 1 to 40 characters"),
        (GROUP + 'behaviour = "slow"\n' + RAMP_STAGE, "group 1: read_bytes_per_s is not there: it belongs to"),
        (GROUP + "reconnect_every_s = 3\n" + RAMP_STAGE, "group 1: reconnect_every_s is there: it belongs to"),
        (GROUP + LEAST, "group: name = 'fast' comes twice"),
        (GROUP + HOLD, "stage 1: kind = 'hold': expected ramp"),
        (GROUP + RAMP_STAGE, "stage: none is measured"),
        (LEAST + "seconds_ = 3\n", "stage 2: seconds_: no such key; did you mean seconds?"),
        (LEAST + "to = 0.5\n", "stage 2: to = 0.5: only a ramp has it, and this is a hold"),
        (LEAST + "burst = 3\nburst_every_s = 1\n", "stage 2: about orders, and there is no orders_per_s"),
        ("orders_per_s = 1\n" + LEAST + "burst = 3\n", "stage 2: burst and burst_every_s belong together"),
        (LEAST + RAMP_STAGE + "measured = true\n", "stage 3: a ramp is not measured"),
        (LEAST + '[[stage]]\nkind = "spike"\nseconds = 3\n', "stage 3: a spike without a factor"),
        (LEAST + '[[stage]]\nkind = "spike"\n', "stage 3: no seconds"),
        (LEAST + "[[stage]]\nseconds = 3\n", "stage 3: no kind"),
        (LEAST + '[[stage]]\nkind = "storm"\nseconds = 3\nover_s = 4\n', "stage 3: over_s = 4: expected 3 at"),
        ("[[group]]\nsubscribers = 1000001\n" + RAMP_STAGE, "group 1: subscribers = 1000001: expected a"),
        (MANY + 'name = "b"\n' + MANY + RAMP_STAGE + HOLD, "group: more than 1,000,000 subscribers together"),
    ],
)  # fmt: skip
def test_what_is_no_scenario_is_refused_with_the_place_and_what_was_expected(text: str, expected: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse(text)
    assert str(refused.value).startswith(expected)


def test_a_scenario_says_what_its_flags_would() -> None:
    scenario = parse(
        "connect_rate = 5\norders_per_s = 7\n" + LEAST + '[[stage]]\nkind="hold"\nseconds=1\nmeasured=false\n'
    )
    assert scenario.settings() == {
        "connect_rate": 5.0,
        "orders_per_s": 7.0,
        "subscribers": 10,
        "for_": 4.0,
        "warm_up": 1.0,
    }


TEXT = """
connect_rate = 10
orders_per_s = 8
[[group]]
name = "a"
subscribers = 6
[[group]]
name = "b"
subscribers = 4
behaviour = "reconnecting"
reconnect_every_s = 3
topics = ["ex.A.", "ex.B*"]
mode = "conflate"
[[stage]]
kind = "ramp"
[[stage]]
kind = "hold"
seconds = 2
measured = false
[[stage]]
kind = "spike"
seconds = 4
factor = 3
orders_factor = 0.5
[[stage]]
kind = "storm"
seconds = 6
over_s = 1
[[stage]]
kind = "ramp"
seconds = 5
to = 0.5
calm = true
[[stage]]
kind = "hold"
seconds = 2
burst = 9
burst_every_s = 1.5
"""


def test_its_plan_has_each_stage_as_it_is_said() -> None:
    text = TEXT.replace(
        '[[stage]]\nkind = "storm"', '[[stage]]\nkind = "hold"\nseconds = 3\n[[stage]]\nkind = "storm"'
    )
    plan = plan_of(parse(text))
    assert plan.groups[0] == Group("a", 6)
    assert plan.groups[1] == Group("b", 4, "reconnecting", "conflate", ("ex.A.", "ex.B*"), reconnect_every_s=3.0)
    told = [
        (stage.name, stage.phase, stage.seconds, stage.subscribers, stage.connect_rate, stage.orders_per_s)
        for stage in plan.stages
    ]
    assert told == [
        ("1 ramp", RAMP, 3.0, 10, 10.0, 0.0),
        ("2 hold", WARM_UP, 2.0, 10, 10.0, 8.0),
        ("3 spike", MEASURE, 4.0, 30, 10.0, 4.0),
        ("4 hold", MEASURE, 3.0, 10, 10.0, 8.0),
        ("5 storm", MEASURE, 6.0, 10, 10.0, 8.0),
        ("6 ramp", RAMP, 5.0, 5, 1.0, 8.0),
        ("7 hold", MEASURE, 2.0, 5, 10.0, 8.0),
    ]
    assert [stage.storm_over_s for stage in plan.stages] == [None, None, None, None, 1.0, None, None]
    assert [stage.is_calm for stage in plan.stages] == [False] * 5 + [True, False]
    assert (plan.stages[-1].burst, plan.stages[-1].burst_every_s) == (9, 1.5)
    assert sum(change.act is Act.LEAVE for change in plan.changes()) == 25


def test_a_storm_in_which_somebody_leaves_is_refused() -> None:
    with pytest.raises(
        ValueError, match="stage 4 storm: a storm is over within its 6 s, and nobody joins or leaves"
    ):
        plan_of(parse(TEXT))


@given(st.sampled_from(preset_names()), st.integers(1, 300), st.floats(20, 1e6), st.floats(0.5, 1e4))
def test_at_any_size_a_preset_measures_for_as_long_as_it_is_told(
    name: str, subscribers: int, measure_s: float, warm_up_s: float
) -> None:
    sizes: dict[str, Any] = {"subscribers": subscribers, "measure_s": measure_s, "warm_up_s": warm_up_s}
    plan = plan_of(read_preset(name), **sizes, connect_rate=10_000.0)
    measured = sum(stage.seconds for stage in plan.stages if stage.phase == MEASURE)
    assert measured == pytest.approx(measure_s)
    assert max(stage.subscribers for stage in plan.stages) == subscribers * (3 if name == "spike" else 1)
    assert plan.name == name


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_can_be_run_as_it_is_and_is_told_of(name: str) -> None:
    made = config("--preset", name)
    assert made.plan().stages
    sentence = RunConfig.__dataclass_fields__["preset"].metadata["sentence"]
    assert name in sentence.replace(",", "").split()


def test_a_flag_and_the_environment_win_over_a_scenario() -> None:
    assert config("--preset", "spike").subscribers == 100
    assert config("--preset", "spike").for_ == 30.0
    made = config("--preset", "spike", "--subscribers", "50", "--for", "60", EXECGATE_ORDERS_PER_S="3")
    assert (made.subscribers, made.for_, made.orders_per_s, made.order_clients) == (50, 60.0, 3.0, 10)
    stages = made.plan().stages
    assert [stage.subscribers for stage in stages] == [50, 50, 50, 150, 50, 50]
    assert [stage.orders_per_s for stage in stages] == [0.0, 3.0, 3.0, 15.0, 3.0, 3.0]
    assert [stage.seconds for stage in stages] == [1.3, 2.0, 20.0, 20.0, 1.5, 20.0]
    assert config("--preset", "spike", "--subscribers", "100", "--connect-rate", "30").connect_rate == 30.0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--preset", "strom"],
            "--preset 'strom': expected one of capacity, fairness, slow-readers, soak, "
            "spike, storm; did you mean storm?"),
        (["--preset", "classic2012"], "--preset 'classic2012': it is a command of its own"),
        (["--scenario", "/nowhere"], "--scenario '/nowhere': No such file or directory"),
        (["--scenario", "/dev/zero"], "--scenario '/dev/zero': larger than 256 KiB"),
        (["--preset", "spike", "--for", "1"], "stage spike: 200 clients that join or leave at 200 a second"),
        (["--preset", "soak", "--for", "2e5"], "--for 200000: "),
    ],
)  # fmt: skip
def test_what_can_not_be_run_is_refused(arguments: list[str], expected: str) -> None:
    with pytest.raises(UsageError) as refused:
        config(*arguments)
    assert str(refused.value).startswith(expected)


def test_a_file_is_a_scenario_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(LEAST)
    assert read_scenario(str(path)) == replace(parse(LEAST), name="mine", origin=str(path))
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="byte 0 is no UTF-8"):
        read_scenario(str(path))
    path.write_text("#" * MAX_FILE_BYTES + "\n")
    with pytest.raises(ValueError, match="larger than"):
        read_scenario(str(path))
    path.write_text(LEAST)
    with pytest.raises(UsageError, match="expected one of them"):
        config("--scenario", str(path), "--preset", "spike")
