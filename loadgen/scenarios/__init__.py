"""Scenarios that come with the program, and reading one from a file. Called by `config.py`."""

from dataclasses import replace
from importlib import resources
from pathlib import Path

from execgate.service.options import did_you_mean
from loadgen.core.scenario import Scenario, parse_scenario

MAX_FILE_BYTES = 256 * 1024
"""A scenario is smaller; what is larger was not meant."""
_CLASSIC = "classic2012"


def preset_names() -> list[str]:
    """Return the names of the scenarios that come with the program."""
    files = resources.files("loadgen.scenarios").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def read_preset(name: str) -> Scenario:
    """Read a scenario that comes with the program.

    Raises:
        ValueError: there is none of that name.
    """
    if name == _CLASSIC:
        raise ValueError("it is a command of its own: execgate loadgen classic2012 pubsub | orders")
    names = preset_names()
    if name not in names:
        raise ValueError(f"expected one of {', '.join(names)}{did_you_mean(name, names)}")
    text = resources.files("loadgen.scenarios").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return parse_scenario(name, text, did_you_mean)


def read_scenario(path: str) -> Scenario:
    """Read a scenario from a file.

    Raises:
        ValueError: it can't be read, or is none; says where and what was expected.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ValueError(getattr(error, "strerror", None) or str(error)) from None
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES // 1024} KiB; expected a scenario")
    try:
        scenario = parse_scenario(Path(path).name.removesuffix(".toml"), data.decode(), did_you_mean)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no UTF-8; expected TOML") from None
    return replace(scenario, origin=path)
