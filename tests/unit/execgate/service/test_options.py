"""Settings: who wins, what is said of a value that is refused, and a help that shows everything."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from execgate.service.options import (
    arguments_of,
    environment_names,
    flag_of,
    load,
    number_range,
    one_of,
    option,
    parse_switch,
    positive_number,
    whole_number,
)
from execgate.wire.errors import UsageError


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    max_rows: int = option(
        2, "rows of an update", parse=whole_number(1, 100), metavar="N", aliases=("MAX_ROWS", "ROWS")
    )
    rate: float | None = option(None, "updates a second, 100 % of them", parse=positive_number)
    volatile: bool = option(False, "drop 5 % of what does not fit", aliases=("EMIT_VOLATILE",))
    feed: tuple[str, ...] = option(("a", "b%"), "where updates come from", repeatable=True)
    for_: float | None = option(None, "seconds to run", parse=positive_number)
    mode: str = option("all", "how", parse=one_of("all", "some"))
    wait_s: float = option(2.5, "seconds to wait", parse=positive_number)
    drain_s: float = option(8.0, "seconds to drain", parse=positive_number)

    def __post_init__(self) -> None:
        if self.rate == 13:
            raise ValueError("--rate 13 brings bad luck: expected another")


def loaded(arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Config:
    return load(
        Config,
        "execgate test",
        arguments,
        environment or {},
        description="Tests 100 % of it.",
        examples="  execgate test --rate 5",
    )


def test_defaults_hold_where_nothing_is_said() -> None:
    assert loaded() == Config()
    assert loaded([], {"UNRELATED": "x", "MAX": "5"}) == Config()


NAMES = {"EXECGATE_MAX_ROWS": "3", "MAX_ROWS": "4", "ROWS": "5"}


@pytest.mark.parametrize(
    ("arguments", "names", "expected"),
    [
        ([], [], 2),
        ([], ["ROWS"], 5),
        ([], ["ROWS", "MAX_ROWS"], 4),
        ([], ["ROWS", "MAX_ROWS", "EXECGATE_MAX_ROWS"], 3),
        (["--max-rows", "6"], ["ROWS", "MAX_ROWS", "EXECGATE_MAX_ROWS"], 6),
        (["--max-rows=6", "--max-rows=7"], [], 7),
    ],
)
def test_flags_win_over_the_environment_over_its_2012_names_over_defaults(
    arguments: list[str], names: list[str], expected: int
) -> None:
    assert loaded(arguments, {name: NAMES[name] for name in names}).max_rows == expected


def test_a_switch_is_turned_by_its_flag_or_the_environment() -> None:
    assert loaded(["--volatile"]).volatile is True
    assert loaded([], {"EMIT_VOLATILE": "true"}).volatile is True
    assert loaded([], {"EXECGATE_VOLATILE": "0", "EMIT_VOLATILE": "true"}).volatile is False
    assert loaded(["--volatile"], {"EXECGATE_VOLATILE": "false"}).volatile is True


def test_a_switch_that_the_environment_turned_on_is_turned_off_by_a_flag() -> None:
    on = {"EMIT_VOLATILE": "true"}
    assert loaded(["--no-volatile"], on).volatile is False
    assert loaded(["--no-volatile", "--volatile"], on).volatile is True
    assert loaded(["--volatile", "--no-volatile"]).volatile is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", True),
        ("TRUE", True),
        ("Yes", True),
        ("on", True),
        ("0", False),
        ("false", False),
        ("NO", False),
        ("off", False),
        ("", False),
    ],
)
def test_words_of_a_switch(text: str, expected: bool) -> None:
    assert parse_switch(text) is expected


def test_a_repeatable_flag_gives_a_tuple_that_replaces_the_default() -> None:
    assert loaded(["--feed", "x", "--feed", "y z"]).feed == ("x", "y z")
    assert loaded([], {"EXECGATE_FEED": "x  y"}).feed == ("x", "y")
    assert loaded(["--feed", "x"], {"EXECGATE_FEED": "y z"}).feed == ("x",)
    assert loaded([], {"EXECGATE_FEED": ""}).feed == ()


def test_a_name_that_python_keeps_for_itself_loses_its_underscore() -> None:
    assert loaded(["--for", "5"]).for_ == 5
    assert loaded([], {"EXECGATE_FOR": "6"}).for_ == 6


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--max-rows", "0"], {}, ["--max-rows", "'0'", "a whole number from 1 to 100"]),
        (["--max-rows", "x"], {}, ["--max-rows", "'x'", "a whole number from 1 to 100"]),
        (["--rate", "-5"], {}, ["--rate", "'-5'", "a number over 0"]),
        ([], {"EXECGATE_RATE": "nan"}, ["EXECGATE_RATE", "'nan'", "a number over 0"]),
        ([], {"ROWS": "101"}, ["ROWS", "'101'", "a whole number from 1 to 100"]),
        ([], {"EMIT_VOLATILE": "perhaps"}, ["EMIT_VOLATILE", "'perhaps'", "true or false"]),
        (["--mode", "none"], {}, ["--mode", "'none'", "one of all, some"]),
        (["--rate", "13"], {}, ["--rate 13", "expected another"]),
    ],
)
def test_a_refused_value_names_where_it_came_from_the_value_and_what_was_expected(
    arguments: list[str], environment: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        loaded(arguments, environment)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in [*words, "expected"] if word not in message] == []


@pytest.mark.parametrize("arguments", [["--nonsense"], ["word"], ["--rate"], ["--max", "3"], ["--volatile=1"]])
def test_a_wrong_command_line_is_exit_2_and_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        loaded(arguments)
    assert caught.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("execgate test: ")
    assert said.err.endswith("See 'execgate test --help'.\n")
    assert said.err.count("\n") == 1


def test_help_shows_each_flag_sentence_default_and_the_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        loaded(["--help"])
    assert caught.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(Config):
        assert flag_of(field) in shown
        assert field.metadata["sentence"] in shown
    for text in (
        "Tests 100 % of it.",
        "examples: execgate test --rate 5",
        "(default 2)",
        "(default 2.5)",
        "(default 8)",
        "rows of an update [MAX_ROWS, ROWS] (default 2)",
        "[EMIT_VOLATILE]",
        "EXECGATE_ and its name in capitals",
        "--no-SWITCH",
        "(default a b%)",
        "--for FOR",
    ):
        assert text in shown


def test_names_are_derived_from_the_field() -> None:
    rows = dataclasses.fields(Config)[0]
    assert flag_of(rows) == "--max-rows"
    assert environment_names(rows) == ("EXECGATE_MAX_ROWS", "MAX_ROWS", "ROWS")


@pytest.mark.parametrize(
    ("parse", "good", "bad"),
    [
        (positive_number, {"1": 1.0, "0.5": 0.5, "1e3": 1000.0}, ["", "0", "-1", "nan", "inf", "x", "1e999"]),
        (whole_number(0), {"0": 0, "99999999": 99999999}, ["", "-1", "1.5", "x", "9" * 5000]),
        (whole_number(1, 3), {"1": 1, "3": 3}, ["0", "4"]),
        (
            number_range,
            {"10:110": (10.0, 110.0), "5:5": (5.0, 5.0)},
            ["", ":", "5", "5:", ":5", "110:10", "0:5", "-1:5", "1:inf", "nan:nan", "1:2:3"],
        ),
        (one_of("a", "b"), {"a": "a"}, ["", "A", "c"]),
    ],
    ids=["positive_number", "whole_number-0", "whole_number-1-3", "number_range", "one_of"],
)
def test_parsers_take_what_they_say_and_refuse_the_rest(
    parse: Callable[[str], Any], good: dict[str, Any], bad: list[str]
) -> None:
    assert {text: parse(text) for text in good} == good
    for text in bad:
        with pytest.raises(ValueError, match=r"^expected "):
            parse(text)


@pytest.mark.parametrize(
    "config",
    [
        Config(),
        Config(max_rows=7, rate=0.1, volatile=True, feed=("x", "-y z="), for_=2.0, mode="some"),
    ],
)
def test_the_flags_of_a_config_make_the_same_one_whatever_the_environment_says(config: Config) -> None:
    environment = {"EXECGATE_MAX_ROWS": "9", "EXECGATE_VOLATILE": "true", "EXECGATE_WAIT_S": "1"}
    assert loaded(arguments_of(config), environment) == config
