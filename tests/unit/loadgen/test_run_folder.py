"""A run on disk: what is written is read again, other tools open it, and what is no run is refused by name."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from execgate.measure import hdr_log
from execgate.measure.histogram import Histogram
from execgate.wire.errors import UsageError
from loadgen import run_folder
from loadgen.core.figures import HOPS, Figures
from loadgen.run_folder import FORMAT, RunFolder, StoredRun
from tests.unit.loadgen.core.making import histogram, record

MANIFEST = {"format": FORMAT, "name": "a"}


def written(path: Path, *records: dict[str, Any]) -> Path:
    with RunFolder(path, MANIFEST, 999.0) as folder:
        for one in records:
            folder.write(one)
        folder.write_end({"failures": {}}, {"verdict": "VALID"})
    return path


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    records = [record(delivery_us=histogram([1, 2, 70_000]), errors={"x": 1}), record(orders_sent=4)]
    run = StoredRun(written(tmp_path / "deep" / "a", *records))
    assert Figures(run.records()).as_dict() == Figures(records).as_dict()
    assert (run.manifest["name"], run.end) == ("a", {"failures": {}})
    assert json.loads((run.path / "verdict.json").read_text()) == {"verdict": "VALID"}


def test_each_latency_has_a_log_with_a_line_for_each_interval_that_has_any(tmp_path: Path) -> None:
    path = written(tmp_path / "a", record(delivery_us=histogram([7, 8])), record(), record(connect_us={5: 1}))
    lines = {log.stem: log.read_text().splitlines()[5:] for log in path.glob("*.hlog")}
    assert {name: len(found) for name, found in lines.items()} == {
        "delivery": 1,
        "order": 0,
        "order_service": 0,
        "connect": 0,
        "connect_service": 1,
        **dict.fromkeys(HOPS, 0),
    }
    made = Histogram()
    made.add({7: 1, 8: 1}.items())
    # The record's interval is from 999.0 s to 1000.0 s, and the run began at 999.0 s.
    assert lines["delivery"] == [hdr_log.line(0.0, 1.0, made).rstrip()]


def test_a_run_is_never_written_over(tmp_path: Path) -> None:
    written(tmp_path / "a")
    with pytest.raises(UsageError, match=r"--name a: .*/a is there already"):
        RunFolder(tmp_path / "a", MANIFEST, 0.0)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--run-dir: .*/file/a: "):
        RunFolder(tmp_path / "file" / "a", MANIFEST, 0.0)


def test_the_first_lines_about_failures_are_kept_and_the_rest_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "MAX_ERROR_LINES", 2)
    logger = logging.getLogger("loadgen")
    level = logger.level
    with RunFolder(tmp_path / "a", MANIFEST, 0.0):
        for number in range(5):
            logger.info("event=closed client=%d", number)
    logger.info("after it")
    lines = (tmp_path / "a" / "errors.log").read_text().splitlines()
    assert [line.partition(" ")[2] for line in lines] == [
        "event=closed client=0",
        "event=closed client=1",
        "3 more",
    ]
    assert logger.level == level


def test_the_end_of_a_run_that_was_killed_may_be_cut_off(tmp_path: Path) -> None:
    path = written(tmp_path / "a", record(delivered=3))
    with (path / "intervals.jsonl").open("a") as file:
        file.write('{"phase": "measu')
    (path / "end.json").unlink()
    run = StoredRun(path)
    assert [one["delivered"] for one in run.records()] == [3]
    assert run.end == {}


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("intervals.jsonl", "{}\n", r"intervals.jsonl: line 1 is no record"),
        ("intervals.jsonl", "nonsense\n", r"intervals.jsonl: line 1 is no record"),
        ("manifest.json", "[]", r"manifest.json: no object; expected the folder of a run"),
        ("manifest.json", "{", r"manifest.json: no JSON; expected the folder of a run"),
        ("manifest.json", '{"format": 99}', f"format 99; this version reads format {FORMAT}"),
    ],
)
def test_what_is_no_run_is_refused_by_name(tmp_path: Path, file: str, content: str, expected: str) -> None:
    path = written(tmp_path / "a")
    (path / file).write_text(content)
    with pytest.raises(UsageError, match=expected):
        list(StoredRun(path).records())


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"b/manifest.json: No such file or directory; expected the folder of a run"
    ):
        StoredRun(tmp_path / "b")
