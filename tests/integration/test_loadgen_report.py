"""`execgate loadgen report` and `compare`: from a run's folder alone, also of a run that was killed."""

import csv
import io
import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import ujson

from tests.harness import Process, running, wait_until
from tests.integration.reference_server import reference_server, updates


def run(*arguments: str) -> tuple[Process, int]:
    with running(*arguments) as process:
        return process, process.wait()


def load(url: str, folder: Path, name: str, *more: str) -> tuple[str, ...]:
    short = ("--connect-rate", "100", "--warm-up", "0.1", "--for", "0.5", "--interval", "0.25", "--quiet")
    return ("loadgen", "run", "--url", url, "--run-dir", str(folder), "--name", name, *short, *more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run in it, `a<b`, and what it told at its end as `told.json`."""
    path = tmp_path_factory.mktemp("runs")
    with reference_server(script=updates([1, 2, 4])) as server:
        more = ("--subscribers", "3", "--orders-per-s", "80", "--require", "lost==0")
        run(*load(server.url, path / "runs", "a<b", *more, "--json", str(path / "told.json")))
    return path


def test_every_form_is_made_of_the_records_alone(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "copy"
    shutil.copytree(folder / "runs" / "a<b", kept)
    for made in ("verdict.json", "errors.log", *(path.name for path in kept.glob("*.hlog"))):
        (kept / made).unlink()
    names = [str(tmp_path / f"out.{form}") for form in ("html", "json", "csv", "md")]
    options = [
        word for pair in zip(("--html", "--json", "--csv", "--markdown"), names, strict=True) for word in pair
    ]
    process, status = run("loadgen", "report", str(kept), *options)
    assert (status, process.stdout) == (0, []), process.words()
    page, told, rows, tables = (Path(name).read_text() for name in names)
    assert json.loads(told) == json.loads((folder / "told.json").read_text())
    lines = list(csv.DictReader(io.StringIO(rows)))
    assert len(lines) == len((kept / "intervals.jsonl").read_text().splitlines())
    assert sum(int(line["lost"]) for line in lines) == 3
    assert "| updates delivered | 9 |" in tables
    # The page: our run in it, nothing that a browser would fetch, and no markup from a name.
    assert "a&lt;b" in page
    assert "a<b" not in page
    data: dict[str, Any] = ujson.loads(re.findall(r'id="run">(.*?)</script>', page)[0])
    assert [point["phase"] for point in data["points"]] == [line["phase"] for line in lines]
    assert re.findall(r"\b(?:src|href)=|@import|\burl\(", page) == []
    assert "default-src 'none'" in page


def test_without_an_option_the_page_is_put_into_the_folder(folder: Path) -> None:
    process, status = run("loadgen", "report", str(folder / "runs" / "a<b"))
    assert status == 0
    assert (folder / "runs" / "a<b" / "report.html").read_text().startswith("<!doctype html>")
    assert process.stdout[-1] == f"written to {folder / 'runs' / 'a<b' / 'report.html'}"


def test_a_run_that_was_killed_is_told_as_far_as_it_went(tmp_path: Path) -> None:
    with (
        reference_server(script=updates([1, 2])) as server,
        running(*load(server.url, tmp_path, "k", "--subscribers", "2", "--for", "60")) as process,
    ):
        records = tmp_path / "k" / "intervals.jsonl"
        wait_until(lambda: records.exists() and '"measure"' in records.read_text(), "it measures")
        process.stop(signal.SIGKILL)
    process, status = run("loadgen", "report", str(tmp_path / "k"), "--json", "-")
    assert status == 0
    told = json.loads("\n".join(process.stdout))
    assert told["figures"]["streams"]["delivered"] == 4
    assert "of 60 s" in told["verdict"]["incomplete"][0]


def test_two_runs_are_compared_and_one_is_no_comparison(folder: Path, tmp_path: Path) -> None:
    """From copies whose records are calm and known, so that no machine makes them INVALID."""
    for side, lost in (("A", 0), ("B", 3)):
        for number in range(2):
            path = tmp_path / side / f"{number}"
            shutil.copytree(folder / "runs" / "a<b", path)
            records = [json.loads(line) for line in (path / "intervals.jsonl").read_text().splitlines()]
            for record in records:
                calm = {"cpu_share": 0.1, "steal_share": 0, "behind_us": 0, "clock_step_us": 0, "loop_lag_us": 0}
                record |= {**calm, "cpu_wait_share": 0, "missing": lost, "orders_unsent": 0}
            (path / "intervals.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
            manifest = json.loads((path / "manifest.json").read_text())
            manifest["plan"]["orders_per_s"] = 1.0
            manifest["config"]["max_rows"] = 10 + lost
            (path / "manifest.json").write_text(json.dumps(manifest))
    a, b = str(tmp_path / "A"), str(tmp_path / "B")
    process, status = run("loadgen", "compare", a, b, "--json", "-")
    assert status == 0, process.words()
    told = json.loads("\n".join(process.stdout))
    assert told["differences"]["lost"]["real"] == "real"
    assert told["settings"] == {"--max-rows": ["10", "13"]}
    one, status = run("loadgen", "compare", f"{a}/0", f"{b}/0")
    assert status == 97
    assert "1 and 1 runs: it takes two on each side" in one.stderr[-1]


def test_runs_that_are_invalid_are_left_out(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    shutil.copytree(folder / "runs" / "a<b", path)
    records = (path / "intervals.jsonl").read_text()
    (path / "intervals.jsonl").write_text(re.sub(r'"cpu_share":[\d.]+', '"cpu_share":0.99', records))
    process, status = run("loadgen", "compare", str(path), str(path))
    assert status == 2
    assert process.stderr == [f"execgate loadgen: {path}: every run is INVALID: there is nothing to compare"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["report", "nowhere"], "nowhere/manifest.json: No such file or directory; expected the folder of a run"),
        (
            ["compare", "nowhere", "b"],
            "nowhere: expected the folder of a run, or a folder with such folders in",
        ),
    ],
)
def test_what_is_no_run_is_named(arguments: list[str], expected: str) -> None:
    process, status = run("loadgen", *arguments)
    assert (status, process.stderr) == (2, [f"execgate loadgen: {expected}"])
