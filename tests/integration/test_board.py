"""The Grafana board: Grafana's own types hold it, and a real Prometheus finds figures for each of its queries."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gateway.core import metrics as of_gateway
from publisher.core import metrics as of_publisher
from tests.clients import Client
from tests.harness import running, wait_until
from tests.integration.test_gateway_workers import ORDER
from tests.prometheus import RULES, alerts, tool
from tests.rig import gateway, get

pytestmark = pytest.mark.slow

BOARD = Path(__file__).resolve().parents[2] / "etc" / "grafana" / "execgate.json"
SCRAPE_S = 0.5
WINDOW = "10s"
KNOWN = {row.name for row in (*of_gateway.TABLE, *of_publisher.TABLE)} | {"up"}


def board() -> dict[str, Any]:
    return dict(json.loads(BOARD.read_text()))


def queries() -> list[str]:
    """Every query of the board, with Grafana's variables filled in."""
    found = [target["expr"] for panel in board()["panels"] for target in panel.get("targets", ())]
    for variable, value in (("$__rate_interval", WINDOW), ("$__range", WINDOW), ("$instance", ".*")):
        found = [query.replace(variable, value) for query in found]
    return found


def lost(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Yield where `after` lacks or changes what `before` has."""
    if isinstance(before, dict):
        for key, value in before.items():
            if not isinstance(after, dict) or key not in after:
                yield f"{path}/{key}"
            else:
                yield from lost(value, after[key], f"{path}/{key}")
    elif isinstance(before, list):
        if not isinstance(after, list) or len(before) != len(after):
            yield path
        else:
            for index, (one, other) in enumerate(zip(before, after, strict=True)):
                yield from lost(one, other, f"{path}/{index}")
    elif before != after:
        yield path


def test_grafanas_types_hold_all_of_it() -> None:
    """What they do not know, they leave out: a key with a wrong name, or in a wrong place."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    read = Dashboard.from_json(board())
    assert list(lost(board(), json.loads(JSONEncoder().encode(read)))) == []


def test_its_panels_stand_side_by_side_and_none_covers_another() -> None:
    panels = board()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in mine) < 24, panel["title"]
        assert not mine & cells, panel["title"]
        cells |= mine


@contextmanager
def prometheus(folder: Path, targets: list[str]) -> Iterator[str]:
    """Run a Prometheus that scrapes `targets` and has our rules; yield its address."""
    config = {
        "global": {"scrape_interval": f"{round(SCRAPE_S * 1000)}ms", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "execgate", "static_configs": [{"targets": targets}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    flags = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb")
    with (folder / "words").open("w+") as words:
        process = subprocess.Popen(
            [tool("prometheus"), *flags, "--web.listen-address=127.0.0.1:0"], stdout=words, stderr=words
        )
        try:

            def address() -> re.Match[str] | None:
                assert process.poll() is None, (folder / "words").read_text()
                return re.search(r'msg="Listening on" address=(\S+)', (folder / "words").read_text())

            wait_until(address, "Prometheus listens", timeout_s=30)
            found = address()
            assert found is not None
            wait_until(lambda: get(found[1], "/-/ready")[0] == 200, "Prometheus is ready", timeout_s=30)
            yield found[1]
        finally:
            process.terminate()
            process.wait(20)


def ask(address: str, query: str) -> list[Any]:
    """Return what Prometheus finds for `query` now."""
    status, text = get(address, f"/api/v1/query?query={quote(query)}")
    assert status == 200, f"{query}: {text}"
    return list(json.loads(text)["data"]["result"])


def test_every_query_and_rule_finds_figures_in_a_real_scrape(tmp_path: Path) -> None:
    names = re.compile(r"\b(?:execgate|process)_\w+|\bup\b")
    for query in (*queries(), *alerts().values()):
        for name in names.findall(query):
            assert re.sub(r"_bucket$", "", name) in KNOWN, f"{name} in {query}"
    free = ("--metrics", "127.0.0.1:0")
    feed, journal = f"ipc://{tmp_path}/feed", str(tmp_path / "journal")
    with (
        running("publisher", "--pub", feed, "--rate", "50", "--data-dir", journal, *free) as publisher,
        gateway(feed, *free, replay=f"{feed}.replay") as served,
        Client(served.address) as client,
    ):
        client.send("order-request", ORDER)
        assert client.receive_event("order-response")["data"]["status"] == "accepted"
        with Client(served.address):
            pass
        targets = [publisher.ready()["metrics"], served.facts["metrics"]]
        with prometheus(tmp_path, targets) as address:
            for query in queries():
                wait_until(partial(ask, address, query), f"figures for {query}", timeout_s=30)

            def rules() -> list[dict[str, Any]]:
                return list(json.loads(get(address, "/api/v1/rules")[1])["data"]["groups"][0]["rules"])

            wait_until(lambda: {rule["health"] for rule in rules()} == {"ok"}, "all rules went well", 30)
            firing = {rule["name"] for rule in rules() if rule["state"] == "firing"}
            assert firing == set()
