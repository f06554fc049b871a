"""What a user can type or meet stands in the documentation: settings, events, codes, figures, commands, statuses.

The code is the list; a name that is added there and not told in `docs/` fails here.
"""

import asyncio
import dataclasses
import importlib
import inspect
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from execgate import cli
from execgate.measure.metrics import Metric
from execgate.service import exits, options
from execgate.service.endpoints import TcpAddress
from execgate.wire import close_codes, events
from gateway.config import GatewayConfig
from gateway.core import metrics as of_gateway
from gateway.core.orders import OrderStatus
from gateway.front import Front
from gateway.worker import Worker
from publisher.core import metrics as of_publisher
from tests.prometheus import alerts

ROOT = Path(__file__).resolve().parents[2]
WITH_SETTINGS = {  # package -> the page that has a row for each of its settings
    "publisher": "docs/publisher.md",
    "gateway": "docs/gateway.md",
    "loadgen": "docs/loadgen.md",
    "execgate.demo": "docs/loadgen.md",
    "execgate.doctor": "docs/operations.md",
    "execgate.top": "docs/operations.md",
}
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def read(*names: str) -> str:
    """The text of documentation pages, one after the other; a page that is missing is empty."""
    return "\n".join((ROOT / name).read_text() for name in names if (ROOT / name).exists())


def tells(text: str, word: str) -> bool:
    """Whether `word` stands in `text` by itself: `--rate` is not told by `--rates`, nor 1001 by 10010."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def config_classes() -> Iterator[tuple[type, str]]:
    """Yield every dataclass whose fields are options of a command (`execgate.service.options`), and its page."""
    for package_name, page in WITH_SETTINGS.items():
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
                    yield value, page


def settings() -> Iterator[Any]:
    for config_class, page in config_classes():
        for field in dataclasses.fields(config_class):
            yield pytest.param(field, page, id=f"{config_class.__name__} {options.flag_of(field)}")


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


@pytest.mark.parametrize(("field", "page"), list(settings()))
def test_every_flag_has_a_row_on_its_programs_page_and_every_environment_alias_is_told(
    field: Any, page: str
) -> None:
    text = read(page)
    flag = options.flag_of(field)
    rows = re.findall(rf"^\| *`{flag}(?: [A-Z]+)?`(?: \([a-z]+\))?( ↻)? *\|([^|]*)\|", text, re.MULTILINE)
    assert rows, f"{flag} has no row in {page}"
    marks = {bool(mark) for mark, _ in rows}
    assert marks == {field.metadata["reloadable"]}, f"{flag}: ↻ marks what a reload changes"
    if field.default is not None:  # else the row says what stands for it
        default = "off" if field.default is False else options.shown(field, field.default) or "none"
        told = [cell.strip(" `") for _, cell in rows]  # a page may be of several commands
        assert default in told, f"{flag}: the default is {default}, not {told}"
    for alias in field.metadata["aliases"]:
        assert tells(text, alias), f"{alias} does not stand in {page}"


def test_the_settings_of_every_command_are_looked_at() -> None:
    names = {config_class.__name__ for config_class, _ in config_classes()}
    assert {"PublisherConfig", "GatewayConfig", "ClassicConfig", "OrdersConfig", "DemoConfig"} <= names


def figures(stats: dict[str, Any]) -> Iterator[str]:
    """Yield every key of the figures of `/stats`, nested ones too."""
    for key, value in stats.items():
        yield key
        if isinstance(value, dict):
            yield from figures(value)


async def _figures_of_a_worker() -> set[str]:
    worker = Worker(GatewayConfig(listen=TcpAddress("127.0.0.1", 0), feed="ipc:///tmp/no-such-feed"))
    try:
        return set(figures(worker.stats()))
    finally:
        worker._listener.close()
        worker._feed._context.destroy(linger=0)
        for history in worker._histories:
            history.close()


def test_every_figure_of_stats_is_documented() -> None:
    keys = asyncio.run(_figures_of_a_worker())
    text = read("docs/gateway.md")
    assert {"feed", "seq", "delivered", "rss_bytes"} <= keys
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []


def metrics() -> Iterator[Any]:
    for row in dict.fromkeys((*of_gateway.TABLE, *of_publisher.TABLE)):
        yield pytest.param(row, id=row.name)


@pytest.mark.parametrize("metric", list(metrics()))
def test_every_metric_has_a_row_with_its_kind_its_label_and_the_values_of_that(metric: Metric) -> None:
    rows = [line for line in read("docs/metrics.md").splitlines() if line.startswith(f"| `{metric.name}` |")]
    assert len(rows) == 1, f"{metric.name} has {len(rows)} rows"
    assert rows[0].split("|")[2].strip() == metric.kind.value
    for word in filter(None, (metric.label, *metric.values)):
        assert f"`{word}`" in rows[0], f"{word} does not stand in the row of {metric.name}"


def test_no_row_tells_of_a_metric_that_is_none() -> None:
    told = re.findall(r"^\| `(\w+)` \|", read("docs/metrics.md"), re.MULTILINE)
    assert [name for name in told if name not in {row.name for row in of_gateway.TABLE + of_publisher.TABLE}] == []


def test_every_alert_has_a_row_with_its_severity_and_no_row_tells_of_another() -> None:
    rows = dict(re.findall(r"^\| `(Execgate\w+)` \| (\w+) \|", read("docs/operations.md"), re.MULTILINE))
    severities = {name: re.search(r"severity: (\w+)", rule) for name, rule in alerts().items()}
    assert rows == {name: found and found[1] for name, found in severities.items()}


def test_a_reason_that_is_counted_stands_in_the_table_of_metrics() -> None:
    reasons = {str(param.id).removeprefix("refused ") for param in counted() if "refused" in str(param.id)}
    reasons |= {"handshake", "origin"}  # named by `gateway.core.upgrade`
    assert reasons == set(of_gateway.REFUSALS)
    ends = {str(param.id).removeprefix("orders ") for param in counted() if "orders" in str(param.id)}
    assert ends == set(of_gateway.ORDER_ENDS)


def counted() -> Iterator[Any]:
    """Yield the keys under which `gateway/` counts: they come into `/stats` with their first count."""
    pattern = re.compile(
        r"""\b(upstream|orders|refused)\[["']([\w-]+)["']\]|_end\(pending, "(\w+)"\)|\b(ends_with)\("(\w+)"\)"""
    )
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        for group, key, order_end, closes, how in pattern.findall(path.read_text()):
            found = key or order_end or how
            yield pytest.param(found, id=f"{group or (closes and 'closes') or 'orders'} {found}")
    for reason in re.findall(r'return "([\w-]+)"', inspect.getsource(Front._why_busy)):
        yield pytest.param(reason, id=f"refused {reason}")
    for status in OrderStatus:
        yield pytest.param(status.value, id=f"orders {status.value}")


@pytest.mark.parametrize("key", list(dict.fromkeys(counted())))
def test_every_count_of_stats_is_documented(key: str) -> None:
    assert f"`{key}`" in read("docs/gateway.md")


def test_counts_are_found() -> None:
    found = {param.values[0] for param in counted()}
    assert {"malformed", "disconnected", "late", "lost", "peer", "descriptors", "full", "unknown"} <= found


def requirements() -> Iterator[str]:
    """Yield the name of each package that a lock is made from, and of each that the project depends on."""
    lines = [
        line for path in sorted((ROOT / "requirements").glob("*.in")) for line in path.read_text().splitlines()
    ]
    lines += tomllib.loads(read("pyproject.toml"))["project"]["dependencies"]
    for line in lines:
        name = re.match(r"[A-Za-z][\w.-]*", line)
        if name:
            yield name.group()


@pytest.mark.parametrize("name", sorted(set(requirements())))
def test_every_dependency_says_why_it_is_there(name: str) -> None:
    rows = [line.split("|")[1] for line in read("docs/dependencies.md").splitlines() if line.startswith("| ")]
    assert any(tells(row, name) for row in rows), f"{name} has no row in docs/dependencies.md"


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
    assert [target for target in links(page.read_text()) if not leads_somewhere(page.parent / target)] == []


def leads_somewhere(target: Path) -> bool:
    """Whether `target` is in a fresh clone too, as far as can be seen here: git keeps no empty folder."""
    return any(target.iterdir()) if target.is_dir() else target.exists()


def test_an_empty_folder_leads_nowhere(tmp_path: Path) -> None:
    assert not leads_somewhere(tmp_path)
    assert not leads_somewhere(tmp_path / "x")
    (tmp_path / "x").touch()
    assert leads_somewhere(tmp_path)
    assert leads_somewhere(tmp_path / "x")


def test_a_name_is_told_only_as_a_whole_word() -> None:
    assert tells("use `--rate N`", "--rate")
    assert not tells("use `--rates` or `--rate-limit`", "--rate")
    assert not tells("10010", "1001")


def test_links_are_found_and_code_is_not() -> None:
    text = "[a](docs/a.md#part) ![b](b.png) [c](https://x.invalid) `[d](d)`\n```\n[e](e)\n```\n[f](#here)"
    assert list(links(text)) == ["docs/a.md", "b.png"]


def fault_rows() -> list[list[str]]:
    """The cells of the table of faults: fault, outcome, tests, controls, proof."""
    _, _, rest = read("docs/guarantees.md").partition("## Each fault, its test, and its control")
    table = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_each_fault_that_we_survive_names_tests_and_controls_that_exist() -> None:
    rows = fault_rows()
    assert len(rows) > 15
    for fault, _, held_by, control, proof in rows:
        assert proof, fault
        assert "::" in held_by, fault
        assert "::" in control or control.startswith("in the same test: "), fault
        for file, name in re.findall(r"`([^`]+)::([^`]+)`", held_by + control):
            assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(), f"{fault}: {file} has no {name}"
