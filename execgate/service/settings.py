"""Settings of a daemon: flags and environment as in `execgate.service.options`, and below them a TOML file.

defaults < `--config FILE` < environment < flags. `Settings.read` may be called again while the daemon runs;
`Reloader` does so on SIGHUP, takes over what the config class marks as reloadable, and tells systemd and the log.
"""

import asyncio
import dataclasses
import logging
import signal
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from execgate.service import systemd
from execgate.service.options import Parser, Setting, build, did_you_mean, flag_of, gather, parse, shown
from execgate.wire.errors import UsageError

MAX_FILE_BYTES = 1024 * 1024
"""A config file is smaller; what is larger was not meant (a journal, /dev/zero)."""

log = logging.getLogger("settings")

Config = TypeVar("Config")


class Settings(Generic[Config]):
    """Where the settings of one daemon come from.

    Args:
        config_class: its fields are made by `option`.
        program: for help and errors.
        arguments: the flags; `--help` prints and exits.
        environment: the process'.
        description, examples: for `--help`.

    Attributes:
        file: what `--config` names, None without it.
    """

    def __init__(
        self,
        config_class: type[Config],
        program: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        description: str,
        examples: str,
    ) -> None:
        self._class = config_class
        self._program = program
        self._environment = environment
        parser = Parser(config_class, program, description=description, examples=examples)
        own = parser.add_argument_group("settings")
        own.add_argument("--config", metavar="FILE", help="TOML file with options, below environment and flags")
        own.add_argument(
            "--check", action="store_true", help="check all settings and the files they name, and exit"
        )
        own.add_argument(
            "--show-config", action="store_true", help="print the settings and where each comes from, and exit"
        )
        self._fields = parser.fields
        self._given = parser.given(arguments)
        self.file: str | None = self._given.pop("config")
        self._asks_check: bool = self._given.pop("check")
        self._asks_show: bool = self._given.pop("show_config")
        self._found: dict[str, Setting] = {}

    def read(self) -> Config:
        """Read the file, if there is one, and return the config.

        Raises:
            UsageError: the file can't be read, or a value or a key is none; the error names it.
        """
        found = {} if self.file is None else parse_toml(self._fields, self.file, _read(self.file))
        found |= gather(self._fields, self._given, self._environment)
        config = build(self._class, found)
        self._found = found
        return config

    def answer(self, config: Config, check: Callable[[Config], None]) -> str | None:
        """Return what `--check` or `--show-config` prints instead of running; None where neither was asked for.

        Raises:
            UsageError: from `check`, which looks at what `config` names: keys, certificates.
        """
        if not (self._asks_check or self._asks_show):
            return None
        check(config)
        if self._asks_show:
            return to_toml(config, self._origin)
        changed = sum(getattr(config, field.name) != field.default for field in self._fields)
        return f"{self._program}: the settings are good, {changed} of {len(self._fields)} are not the default"

    def _origin(self, field: "dataclasses.Field[Any]") -> str:
        return self._found[field.name].origin if field.name in self._found else "default"


def key_of(field: "dataclasses.Field[Any]") -> str:
    """The name of a config field in a file: `max_rows` for `--max-rows`."""
    return field.name.rstrip("_")


def parse_toml(fields: Sequence["dataclasses.Field[Any]"], name: str, text: str) -> dict[str, Setting]:
    """Return what the TOML `text` says, by the name of its field.

    Args:
        fields: of the config class.
        name: the file's, for errors and as the origin.
        text: flat: `key = value` lines.

    Raises:
        UsageError: names the file, the key, and what was expected.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name}: no TOML: {error}") from None
    by_key = {key_of(field): field for field in fields}
    found = {}
    for key, value in table.items():
        field = by_key.get(key)
        if field is None:
            raise UsageError(
                f"{name}: {key}: no such setting{did_you_mean(key.replace('-', '_').lower(), by_key)}"
            )
        found[field.name] = Setting(parse(field, f"{name}: {key}", _text(field, f"{name}: {key}", value)), name)
    return found


def _read(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"--config {name}: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(
            f"--config {name}: larger than {MAX_FILE_BYTES // 1024} KiB; expected a file with settings"
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"--config {name}: byte {error.start} is no UTF-8") from None


def _text(field: "dataclasses.Field[Any]", origin: str, value: Any) -> str | list[str]:
    """Return a value of TOML as the texts that the field's parser reads."""
    if field.metadata["repeatable"]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UsageError(f'{origin} = {value!r}: expected a list of texts, such as ["a", "b"]')
        return value
    if field.default is False:
        if not isinstance(value, bool):
            raise UsageError(f"{origin} = {value!r}: expected true or false")
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise UsageError(f"{origin} = {value!r}: expected a number or a text")


def to_toml(config: Any, origin: Callable[["dataclasses.Field[Any]"], str] = lambda _: "") -> str:
    """Return `config` as a file that says the same, one line a setting, with its `origin` behind it."""
    lines = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        is_unset = value is None or (value == () and not field.metadata["repeatable"])
        line = f"# {key_of(field)} =" if is_unset else f"{key_of(field)} = {_toml(field, value)}"
        lines.append(f"{line:<45} # {origin(field)}".rstrip(" #"))
    return "\n".join(lines) + "\n"


def _toml(field: "dataclasses.Field[Any]", value: Any) -> str:
    if field.metadata["repeatable"]:
        return f"[{', '.join(_quoted(str(item)) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = shown(field, value)
    return text if isinstance(value, int | float) and field.metadata["show"] is None else _quoted(text)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


class Reloader(Generic[Config]):
    """Reads the settings again on SIGHUP.

    Args:
        settings: with a file; without one there is nothing to read again, and SIGHUP ends the process as ever.
        config: what runs now.
        apply: puts another config to work, of which only reloadable fields differ. It raises UsageError where that
            can't be done, and has changed nothing then.
        is_serving: whether systemd was told that we are ready, and not that we stop: else it is not told of this.
    """

    def __init__(
        self,
        settings: Settings[Config],
        config: Config,
        apply: Callable[[Config], None],
        is_serving: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self.config = config
        self._apply = apply
        self._is_serving = is_serving

    def start(self) -> None:
        """Begin to listen to SIGHUP, on the running loop."""
        if self._settings.file is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.reload)

    def reload(self) -> None:
        """Read the settings and put to work what can be; where that fails the old ones stay, all of them."""
        is_serving = self._is_serving()
        if is_serving:
            systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            config, changed, refused = merge(self.config, self._settings.read())
            self._apply(config)
        except UsageError as error:
            log.error("settings not reloaded, the old ones stay reason=%r", str(error))
            if is_serving:
                systemd.notify(f"READY=1\nSTATUS=settings not reloaded: {error}")
            return
        self.config = config
        for change in refused:
            log.warning("not changed by a reload, only by a restart: %s", change)
        log.info("settings reloaded changed=%s", f"[{', '.join(changed)}]")
        if is_serving:
            systemd.notify("READY=1")


def merge(old: Config, new: Config) -> tuple[Config, list[str], list[str]]:
    """Return `old` with what is reloadable from `new`, and as lines what that changes and what is left.

    Raises:
        UsageError: what is reloadable does not go together with the rest of `old`.
    """
    values: dict[str, Any] = {}
    changed, refused = [], []
    for field in dataclasses.fields(old):  # type: ignore[arg-type]  # any config class will do
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before == after:
            continue
        line = f"{flag_of(field)} {_shown(field, before)} -> {_shown(field, after)}"
        if field.metadata["reloadable"]:
            values[field.name] = after
            changed.append(line)
        else:
            refused.append(line)
    try:
        return dataclasses.replace(old, **values), changed, refused  # type: ignore[type-var]
    except ValueError as error:
        raise UsageError(str(error)) from None


def _shown(field: "dataclasses.Field[Any]", value: Any) -> str:
    return "none" if value is None else repr(shown(field, value))
