"""The line source: JSON lines or CSV from anything that can be read, bad lines counted, never stuck."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from execgate.wire.errors import UsageError
from publisher.refusals import Refusals
from publisher.sources.base import SourceError
from publisher.sources.lines import LineSource, schedule
from publisher.sources.reader import CHUNK_BYTES, Reader


def read(path: Path, refusals: Refusals | None = None, pace: str = "asap") -> list[tuple[int, list[bytes]]]:
    async def collect() -> list[tuple[int, list[bytes]]]:
        source = LineSource(f"file:{path}", schedule(pace, None), refusals or Refusals())
        try:
            return [(batch.number, [row.raw for row in batch.rows]) async for batch in source.batches()]
        finally:
            source.close()

    return asyncio.run(collect())


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'\xef\xbb\xbf\n{"symbol":"A","p":1.50}\r\n\n  \n[{"symbol":"B"},{"symbol":"C"}]')
    assert read(path) == [(2, [b'{"symbol":"A","p":1.50}']), (5, [b'{"symbol":"B"}', b'{"symbol":"C"}'])]


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"\n\xef\xbb\xbfsymbol,p\n")  # the mark is one only at the start
    assert read(path) == []
    path.write_bytes(b"\xef\xbb\xbfsymbol,p\r\nA,1.50\r\n\r\nB,x\n")
    assert read(path) == [(2, [b'{"symbol":"A","p":1.50}']), (4, [b'{"symbol":"B","p":"x"}'])]


def test_bad_lines_are_counted_and_the_rest_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.jsonl"
    long = b'{"symbol":"' + b"x" * 1_100_000 + b'"}'
    path.write_bytes(b"\n".join([b"garbage", b'{"symbol":"A"}', b'{"symbol":5}', long, b'{"symbol":"B"}']))
    refusals = Refusals()
    assert [number for number, _ in read(path, refusals)] == [2, 5]
    assert refusals.counts == {f"file:{path}": 3}
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(" reason=")[0] for line in lines] == [
        f"refused source=file:{path} line={number}" for number in (1, 3, 4)
    ]
    assert "reason=symbol is 5: expected text" in lines[1]
    assert "reason=line is too long: expected at most 1048576 bytes" in lines[2]


def test_a_first_line_that_is_neither_json_nor_a_heading_says_what_either_would_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b'Symbol,Price\nA,1\n{"symbol":"A"}\n')
    assert [number for number, _ in read(path)] == [3]
    first, second = (record.getMessage() for record in caplog.records)
    assert "first line is 'Symbol,Price': expected an exec as JSON, a list of them, or CSV column names" in first
    assert "line=2 reason=first line is 'A,1'" in second


def test_a_file_longer_than_a_chunk_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    rows = [b'{"symbol":"A","n":%d}' % n for n in range(20_000)]
    path.write_bytes(b"\n".join(rows))
    assert path.stat().st_size > 2 * CHUNK_BYTES
    assert [raw for _, (raw,) in read(path)] == rows


def test_a_heading_that_can_not_be_used_ends_the_source(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"symbol,a,a\nA,1,2\n")
    with pytest.raises(SourceError, match="line 1: column is 'a'"):
        read(path)


@pytest.mark.parametrize(
    ("name", "reason"), [("nowhere", "No such file"), (".", "is a directory"), ("a\0b", "null")]
)
def test_a_file_that_can_not_be_read_is_one_line(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        LineSource(f"file:{tmp_path}/{name}", schedule("asap", None), Refusals())
    assert str(refused.value).startswith("--source file:")
    assert reason in str(refused.value)


def test_a_pipe_that_is_silent_neither_holds_the_loop_nor_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A named pipe without a writer is waited for; a cancelled read ends within a poll."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    jobs = {"begun": 0, "ended": 0}
    read_if_ready = Reader._read_if_ready

    def counted(self: Reader) -> bytes | None:
        jobs["begun"] += 1
        try:
            return read_if_ready(self)
        finally:
            jobs["ended"] += 1

    monkeypatch.setattr(Reader, "_read_if_ready", counted)

    async def scenario() -> list[bytes]:
        source = LineSource(f"file:{path}", schedule("asap", None), Refusals())
        batches = source.batches()
        waiting = asyncio.ensure_future(anext(batches))
        for _ in range(100):
            await asyncio.sleep(0)  # the loop runs meanwhile
        assert not waiting.done()
        writer = os.open(path, os.O_WRONLY)
        os.write(writer, b'{"symbol":"A"}\n')
        first = await waiting
        silent = asyncio.ensure_future(anext(batches))
        while jobs["begun"] == jobs["ended"]:
            await asyncio.sleep(0)
        begun = time.monotonic()
        silent.cancel()
        with pytest.raises(asyncio.CancelledError):
            await silent
        assert time.monotonic() - begun < 5
        assert jobs["begun"] == jobs["ended"], "a job still uses the descriptor that is closed next"
        source.close()
        os.close(writer)
        return [row.raw for row in first.rows]

    assert asyncio.run(scenario()) == [b'{"symbol":"A"}']


def test_the_recorded_pace_waits_between_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"symbol":"A","timestamp":5000}\n{"symbol":"A","timestamp":5120}\n')
    begun = time.monotonic()
    assert len(read(path, pace="recorded")) == 2
    assert time.monotonic() - begun >= 0.12
