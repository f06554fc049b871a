"""Settings of a program, spelled once: a frozen dataclass whose fields become flags and environment names.

    @dataclass(frozen=True, slots=True)
    class PublisherConfig:
        rate: float | None = option(None, "updates a second, evenly spaced", parse=positive, metavar="N")

`load(PublisherConfig, ...)` reads defaults < environment (`EXECGATE_RATE`, then the field's aliases) < flags
(`--rate`). A value that is refused is named with where it came from and what was expected. Daemons also take a
file and may read it again: `execgate.service.settings`.
"""

import argparse
import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from execgate.service.exits import EXIT_USAGE
from execgate.wire.errors import UsageError

ENVIRONMENT_PREFIX = "EXECGATE_"
_ENVIRONMENT = """\
Each option is also an environment variable, EXECGATE_ and its name in capitals (EXECGATE_LOG_LEVEL for
--log-level), or its name of 2012 in brackets; a flag wins. --no-SWITCH turns off a switch that the environment
turned on."""
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})

LOG_LEVELS = ("debug", "info", "warning", "error")

Config = TypeVar("Config")


def option(
    default: Any,
    sentence: str,
    *,
    parse: Callable[[str], Any] = str,
    metavar: str | None = None,
    aliases: Sequence[str] = (),
    repeatable: bool = False,
    reloadable: bool = False,
    show: Callable[[Any], str] | None = None,
) -> Any:
    """Declare one field of a config dataclass.

    Args:
        default: the value where nothing else is said; False makes it a switch.
        sentence: for `--help` and the docs, with the unit.
        parse: text to value; raises ValueError (its text says what was expected).
        metavar: the value's name in `--help`.
        aliases: environment names of 2012 that mean the same.
        repeatable: the flag may come several times; the value is a tuple.
        reloadable: a running daemon can take another value on SIGHUP.
        show: value to text, where `parse` does not read what `str` says.
    """
    metadata = {
        "sentence": sentence,
        "parse": parse_switch if default is False else parse,
        "metavar": metavar,
        "aliases": tuple(aliases),
        "repeatable": repeatable,
        "reloadable": reloadable,
        "show": show,
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


class Setting(NamedTuple):
    """A value, and where it comes from: a flag, an environment name, a file, or `default`."""

    value: Any
    origin: str


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a suggestion to put behind an error about `word`, empty where nothing known is like it."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f"; did you mean {found[0]}?" if found else ""


class Parser(argparse.ArgumentParser):
    """The flags of one config class; errors are one line, in the words of the rest, and exit 2."""

    def __init__(self, config_class: type[Any], program: str, *, description: str, examples: str) -> None:
        super().__init__(
            prog=program,
            description=description,
            epilog=f"{_ENVIRONMENT}\n\nexamples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.fields = dataclasses.fields(config_class)
        for field in self.fields:
            _add_flag(self, field)

    def given(self, arguments: Sequence[str]) -> dict[str, Any]:
        """Return the text of each flag, None where it is not among `arguments`, by the name of its field."""
        given, unknown = self.parse_known_args(arguments)
        if unknown:
            word = unknown[0].partition("=")[0]
            flags = (flag for flag in self._option_string_actions if flag.startswith("--"))
            self.error(f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(word, flags)}")
        return vars(given)

    def error(self, message: str) -> Any:
        """End with one line."""
        end = "" if message.endswith("?") else "."
        self.exit(EXIT_USAGE, f"{self.prog}: {message}{end} See '{self.prog} --help'.\n")


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
    parser = Parser(config_class, program, description=description, examples=examples)
    return build(config_class, gather(parser.fields, parser.given(arguments), environment))


def gather(
    fields: Iterable["dataclasses.Field[Any]"], given: Mapping[str, Any], environment: Mapping[str, str]
) -> dict[str, Setting]:
    """Return what flags and the environment say, by the name of its field; nothing of what they do not.

    Raises:
        UsageError: a value is not what its field expects.
    """
    found = {}
    for field in fields:
        if given[field.name] is not None:
            flag = flag_of(field)
            found[field.name] = Setting(parse(field, flag, given[field.name]), flag)
            continue
        for name in environment_names(field):
            if name in environment:
                raw = environment[name]
                value = parse(field, name, raw.split() if field.metadata["repeatable"] else raw)
                found[field.name] = Setting(value, name)
                break
    return found


def build(config_class: type[Config], found: Mapping[str, Setting]) -> Config:
    """Return the config with the values of `found`, defaults for the rest.

    Raises:
        UsageError: values that do not go together.
    """
    try:
        return config_class(**{name: setting.value for name, setting in found.items()})
    except ValueError as error:  # a check across fields, from __post_init__
        raise UsageError(str(error)) from None


def _add_flag(parser: Parser, field: "dataclasses.Field[Any]") -> None:
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
        sentence += f" (default {shown(field, field.default)})".replace("%", "%%")
    parser.add_argument(
        flag,
        dest=field.name,
        action="append" if field.metadata["repeatable"] else "store",
        metavar=field.metadata["metavar"] or field.name.rstrip("_").upper(),
        help=sentence,
    )


def shown(field: "dataclasses.Field[Any]", value: Any) -> str:
    """Return a value of `field` as a user would type it: 8 for 8.0."""
    if field.metadata["show"] is not None:
        return str(field.metadata["show"](value))
    if field.metadata["repeatable"]:
        return " ".join(map(str, value))
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def arguments_of(config: Any) -> list[str]:
    """Return the flags that make the config of a child, which has our environment, the same as ours."""
    words: list[str] = []
    for field in dataclasses.fields(config):
        flag, value = flag_of(field), getattr(config, field.name)
        if field.default is False:
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif field.metadata["repeatable"]:
            if value is not field.default:  # else neither a flag nor the environment said it, and nor shall we
                words += [f"{flag}={shown(field, (item,))}" for item in value]
        elif value is not None:
            words.append(f"{flag}={shown(field, value)}")
    return words


def parse(field: "dataclasses.Field[Any]", origin: str, raw: str | Sequence[str]) -> Any:
    """Return the value of `field` that `raw` says.

    Args:
        field: of a config class.
        origin: the flag, environment name or key that an error names.
        raw: one text; several for a repeatable field.

    Raises:
        UsageError: it is not what the field expects.
    """
    if not isinstance(raw, str):
        return tuple(parse(field, origin, item) for item in raw)
    try:
        return field.metadata["parse"](raw)
    except (UsageError, ValueError) as error:
        raise UsageError(f"{origin} {raw!r}: {error}") from None


def positive_number(text: str) -> float:
    """A finite number over 0."""
    value = _number(text, "expected a number over 0")
    if not 0 < value < float("inf"):
        raise ValueError("expected a number over 0")
    return value


def number_from_0(text: str) -> float:
    """A finite number, 0 or more."""
    value = _number(text, "expected a number from 0")
    if not 0 <= value < float("inf"):
        raise ValueError("expected a number from 0")
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
