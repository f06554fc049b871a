"""What a user can type or meet stands in the documentation: settings, events, codes, commands, exit statuses.

The code is the list; a name that is added there and not told in `docs/` fails here.
"""

import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from execgate import cli
from execgate.service import exits, options
from execgate.wire import close_codes, events

ROOT = Path(__file__).resolve().parents[2]
WITH_SETTINGS = ("publisher", "gateway", "loadgen", "execgate.demo")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def read(*names: str) -> str:
    """The text of documentation pages, one after the other; a page that is missing is empty."""
    return "\n".join((ROOT / name).read_text() for name in names if (ROOT / name).exists())


def all_docs() -> str:
    return read(*(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md"))))


def tells(text: str, word: str) -> bool:
    """Whether `word` stands in `text` by itself: `--rate` is not told by `--rates`, nor 1001 by 10010."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def config_classes() -> Iterator[type]:
    """Yield every dataclass of the commands whose fields are options (`execgate.service.options`)."""
    for package_name in WITH_SETTINGS:
        package = importlib.import_module(package_name)
        for found in pkgutil.walk_packages(package.__path__, f"{package_name}."):
            module = importlib.import_module(found.name)
            for value in vars(module).values():
                if (
                    isinstance(value, type)
                    and value.__module__ == found.name
                    and dataclasses.is_dataclass(value)
                    and any("sentence" in field.metadata for field in dataclasses.fields(value))
                ):
                    yield value


def settings() -> Iterator[Any]:
    for config_class in config_classes():
        for field in dataclasses.fields(config_class):
            for name in (options.flag_of(field), *field.metadata["aliases"]):
                yield pytest.param(name, id=f"{config_class.__name__} {name}")


def constants(module: Any, kind: type) -> dict[str, Any]:
    """The public constants of `module`: NAME -> value."""
    return {
        name: value
        for name, value in vars(module).items()
        if name.isupper() and not name.startswith("_") and isinstance(value, kind)
    }


def links(text: str) -> Iterator[str]:
    """Yield the relative targets of Markdown links, without fragments; code is no link."""
    for match in _LINK.finditer(_CODE.sub("", text)):
        target = (match.group(1) or match.group(2)).partition("#")[0]
        if target and "://" not in target and not target.startswith("mailto:"):
            yield target


def pages() -> Iterator[Path]:
    """Every Markdown page of the project, not of what is installed beside it."""
    yield from sorted(ROOT.glob("*.md"))
    for folder in ("docs", "etc", "benchmarks", "tests", "publisher", "gateway", "loadgen", "execgate"):
        yield from sorted((ROOT / folder).rglob("*.md"))


@pytest.mark.parametrize("name", list(settings()))
def test_every_flag_and_environment_alias_is_documented(name: str) -> None:
    assert tells(all_docs(), name), f"{name} stands on no page of docs/"


EVENT_NAMES = [
    value for name, value in constants(events, str).items() if name not in ("SUBPROTOCOL", "PROTOCOL_VERSION")
]


@pytest.mark.parametrize("event", EVENT_NAMES)
def test_every_event_is_documented(event: str) -> None:
    assert f"`{event}`" in read("docs/protocol.md")


@pytest.mark.parametrize("code", sorted(events.ERROR_CODES))
def test_every_error_code_is_documented(code: str) -> None:
    assert f"`{code}`" in read("docs/protocol.md")


def test_the_subprotocol_is_documented() -> None:
    assert f"`{events.SUBPROTOCOL}`" in read("docs/protocol.md")


@pytest.mark.parametrize("code", close_codes.CloseCode, ids=lambda code: code.name)
def test_every_close_code_is_documented(code: IntEnum) -> None:
    assert tells(read("docs/protocol.md"), str(int(code)))


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    assert tells(read("docs/cli.md", "README.md"), f"execgate {command}")


@pytest.mark.parametrize(("name", "status"), constants(exits, int).items())
def test_every_exit_status_has_a_row_in_a_table(name: str, status: int) -> None:
    assert re.search(rf"^\| *`?{status}`? *\|", read("docs/cli.md"), re.MULTILINE), f"{name} has no row"


@pytest.mark.parametrize("page", list(pages()), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = [target for target in links(page.read_text()) if not (page.parent / target).exists()]
    assert broken == []


def test_a_name_is_told_only_as_a_whole_word() -> None:
    assert tells("use `--rate N`", "--rate")
    assert not tells("use `--rates` or `--rate-limit`", "--rate")
    assert not tells("10010", "1001")


def test_links_are_found_and_code_is_not() -> None:
    text = "[a](docs/a.md#part) ![b](b.png) [c](https://x.invalid) `[d](d)`\n```\n[e](e)\n```\n[f](#here)"
    assert list(links(text)) == ["docs/a.md", "b.png"]
