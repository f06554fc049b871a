"""Settings of a program, spelled once: a frozen dataclass whose fields become flags and environment names.

    @dataclass(frozen=True, slots=True)
    class PublisherConfig:
        rate: float | None = option(None, "updates a second, evenly spaced", parse=positive, metavar="N")

`load(PublisherConfig, ...)` reads defaults < environment (`EXECGATE_RATE`, then the field's aliases) < flags
(`--rate`). A value that is refused is named with where it came from and what was expected.
"""

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from execgate.service.exits import EXIT_USAGE
from execgate.wire.errors import UsageError

ENVIRONMENT_PREFIX = "EXECGATE_"
_ENVIRONMENT = """\
Each option is also an environment variable, EXECGATE_ and its name in capitals (EXECGATE_LOG_LEVEL for
--log-level), or its name of 2012 in brackets; a flag wins. --no-SWITCH turns off a switch that the environment
turned on."""
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})

Config = TypeVar("Config")


def option(
    default: Any,
    sentence: str,
    *,
    parse: Callable[[str], Any] = str,
    metavar: str | None = None,
    aliases: Sequence[str] = (),
    repeatable: bool = False,
) -> Any:
    """Declare one field of a config dataclass.

    Args:
        default: the value where nothing else is said; False makes it a switch.
        sentence: for `--help` and the docs, with the unit.
        parse: text to value; raises ValueError (its text says what was expected).
        metavar: the value's name in `--help`.
        aliases: environment names of 2012 that mean the same.
        repeatable: the flag may come several times; the value is a tuple.
    """
    metadata = {
        "sentence": sentence,
        "parse": parse_switch if default is False else parse,
        "metavar": metavar,
        "aliases": tuple(aliases),
        "repeatable": repeatable,
    }
    return dataclasses.field(default=default, metadata=metadata)


def parse_switch(text: str) -> bool:
    """Read a switch from the environment."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("expected true or false")


def flag_of(field: "dataclasses.Field[Any]") -> str:
    """The flag of a config field: `--send-buffer-kib` for `send_buffer_kib`, `--for` for `for_`."""
    return "--" + field.name.rstrip("_").replace("_", "-")


def environment_names(field: "dataclasses.Field[Any]") -> tuple[str, ...]:
    """The environment names of a config field, the one that wins first."""
    return (ENVIRONMENT_PREFIX + field.name.rstrip("_").upper(), *field.metadata["aliases"])


class _Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one line, in the words of the rest."""

    def error(self, message: str) -> Any:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}. See '{self.prog} --help'.\n")


def load(
    config_class: type[Config],
    program: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    description: str,
    examples: str,
) -> Config:
    """Build the config of `program` from its flags and environment; `--help` prints and exits.

    Raises:
        UsageError: a value is not what its field expects; the error names it.
    """
    parser = _Parser(
        prog=program,
        description=description,
        epilog=f"{_ENVIRONMENT}\n\nexamples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    fields = dataclasses.fields(config_class)  # type: ignore[arg-type]  # any dataclass will do
    for field in fields:
        _add_flag(parser, field)
    given = vars(parser.parse_args(arguments))
    values: dict[str, Any] = {}
    for field in fields:
        if given[field.name] is not None:
            values[field.name] = _parse(field, flag_of(field), given[field.name])
            continue
        for name in environment_names(field):
            if name in environment:
                raw = environment[name]
                values[field.name] = _parse(field, name, raw.split() if field.metadata["repeatable"] else raw)
                break
    try:
        return config_class(**values)
    except ValueError as error:  # a check across fields, from __post_init__
        raise UsageError(str(error)) from None


def _add_flag(parser: argparse.ArgumentParser, field: "dataclasses.Field[Any]") -> None:
    flag = flag_of(field)
    sentence = field.metadata["sentence"].replace("%", "%%")  # argparse formats it
    if field.metadata["aliases"]:
        sentence += f" [{', '.join(field.metadata['aliases'])}]"
    if field.default is False:
        parser.add_argument(flag, dest=field.name, action="store_const", const="true", help=sentence)
        no_flag = flag.replace("--", "--no-", 1)
        parser.add_argument(no_flag, dest=field.name, action="store_const", const="false", help=argparse.SUPPRESS)
        return
    if field.default not in (None, "", ()):
        default: Any = field.default
        shown = " ".join(map(str, default)) if field.metadata["repeatable"] else _short(default)
        sentence += f" (default {shown})".replace("%", "%%")
    parser.add_argument(
        flag,
        dest=field.name,
        action="append" if field.metadata["repeatable"] else "store",
        metavar=field.metadata["metavar"] or field.name.rstrip("_").upper(),
        help=sentence,
    )


def _short(value: Any) -> Any:
    """Return a default as `--help` shows it: 8 for 8.0."""
    return f"{value:g}" if isinstance(value, float) else value


def _parse(field: "dataclasses.Field[Any]", name: str, raw: str | list[str]) -> Any:
    if isinstance(raw, list):
        return tuple(_parse(field, name, item) for item in raw)
    try:
        return field.metadata["parse"](raw)
    except (UsageError, ValueError) as error:
        raise UsageError(f"{name} {raw!r}: {error}") from None


def positive_number(text: str) -> float:
    """A finite number over 0."""
    value = _number(text, "expected a number over 0")
    if not 0 < value < float("inf"):
        raise ValueError("expected a number over 0")
    return value


def _number(text: str, expected: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(expected) from None


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return a parser of whole numbers from `low` to `high`, inclusive."""
    expected = f"expected a whole number from {low}" + ("" if high is None else f" to {high}")

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(expected) from None
        if value < low or (high is not None and value > high):
            raise ValueError(expected)
        return value

    return parse


def number_range(text: str) -> tuple[float, float]:
    """`LO:HI`, both over 0 and finite, LO not over HI."""
    expected = "expected LO:HI, two numbers over 0, the lower one first, such as 10:110"
    low_text, colon, high_text = text.partition(":")
    if not colon:
        raise ValueError(expected)
    low, high = _number(low_text, expected), _number(high_text, expected)
    if not 0 < low <= high < float("inf"):
        raise ValueError(expected)
    return low, high


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a parser that takes one of `choices`."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text

    return parse
