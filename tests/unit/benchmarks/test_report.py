"""The page of saved runs: made of them and nothing else."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.cases import CASES
from benchmarks.setup_peers import SetupError

MACHINE = {"processor": "Z80", "cores": 2}


def save(docs: Path, case: str, rows: list[str], **more: Any) -> None:
    folder = docs / "benchmarks"
    folder.mkdir(exist_ok=True)
    figures = {column.key: 1_000 for column in CASES[case].columns} if case in CASES else {}
    runs = {name: [{**figures, "void": ""}] for name in rows}
    saved = {"case": case, "taken": "2026-11-24", "machine": MACHINE, "versions": {}, "runs": runs, **more}
    (folder / f"{case}.json").write_text(json.dumps(saved))


def page_of(docs: Path) -> str:
    return report.write(docs)[0].read_text()


def test_the_page_in_docs_is_what_the_saved_runs_make(tmp_path: Path) -> None:
    shutil.copytree(report.DOCS / "benchmarks", tmp_path / "benchmarks")
    for path in report.write(tmp_path):
        kept = report.DOCS / path.relative_to(tmp_path)
        assert path.read_text() == kept.read_text(), f"{kept}: ./run bench report writes it anew"


def test_variants_are_rows_with_the_command_that_repeats_them_and_the_note_of_their_time(tmp_path: Path) -> None:
    save(tmp_path, "slow", ["none", "1 slow"], note="As it was done then.", seconds=2.0)
    page = page_of(tmp_path)
    assert "\n 1 slow     1.00" in page
    assert "Repeat: `./run bench slow --seconds 2 --rounds 1`." in page
    assert "As it was done then." in page
    assert CASES["slow"].note not in page
    chart = (tmp_path / "benchmarks" / "slow.svg").read_text()
    assert ">1 slow</text>" in chart


def test_servers_are_rows_with_those_they_were_compared_with(tmp_path: Path) -> None:
    save(tmp_path, "fanout", ["execgate", "limit", "ws"])
    page = page_of(tmp_path)
    assert "Repeat: `./run bench fanout --against limit,ws --rounds 1`." in page
    assert "| ws | " in page
    assert "| tornado | " not in page


def test_a_case_without_a_saved_run_does_not_appear(tmp_path: Path) -> None:
    save(tmp_path, "feed", ["execgate"])
    page = page_of(tmp_path)
    assert "## feed" in page
    assert [case for case in CASES if f"## {case}\n" in page] == ["feed"]
    assert "Repeat: `./run bench feed --rounds 1`." in page


@pytest.mark.parametrize(
    ("case", "rows", "word"), [("stuck-100", ["execgate"], "stuck-100"), ("slow", ["2 slow"], "2 slow")]
)
def test_a_run_of_what_is_no_case_any_more_is_an_error_that_names_it(
    tmp_path: Path, case: str, rows: list[str], word: str
) -> None:
    save(tmp_path, case, rows)
    with pytest.raises(SetupError, match=rf"{case}\.json: '{word}' is no "):
        report.write(tmp_path)
