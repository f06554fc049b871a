"""Each source of a real publisher, seen by a raw ZeroMQ subscriber in this process."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from execgate.wire.update import Kind
from tests.harness import Process, running
from tests.integration.publisher_feed import Subscriber, data_of, execs_of

ROOT = Path(__file__).parents[2]
FREE = "tcp://127.0.0.1:0"
PUB = ("publisher", "--pub", FREE, "--await-gateways", "1")


@pytest.fixture
def push() -> Iterator["zmq.Socket[bytes]"]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PUSH)
    yield socket
    context.destroy(linger=0)


def run_to_end(*arguments: str) -> tuple[list[dict[str, object]], Process]:
    """Run a publisher of finite input to its BYE; return the data of all updates, and the process that ended."""
    with running(*PUB, *arguments) as publisher, Subscriber(publisher.ready()["pub"]) as feed:
        updates = feed.until_bye()
        assert publisher.wait() == 0
        return data_of(updates), publisher


def test_synthetic_repeats_itself_by_its_seed() -> None:
    arguments = ("--seed", "4", "--symbols", "3", "--rows", "3", "--max-updates", "30", "--rate", "2000")
    first, publisher = run_to_end(*arguments)
    assert [data["seq"] for data in first] == list(range(1, 31))
    assert all(data["rows"] == 3 for data in first)
    assert execs_of(first) == execs_of(run_to_end(*arguments)[0])
    publisher.wait_for(r"ended reason=max-updates updates=30 rows=90 refused=0")
    assert len(publisher.stdout) == 1, "only the ready line belongs on standard output"


@pytest.mark.parametrize(
    ("arguments", "least_ms"),
    [
        (("--rate", "100"), 100),
        (("--interval-ms", "20:20"), 200),
        (("--interval-ms", "15:25", "--interval-once"), 150),
    ],
)
def test_synthetic_is_paced(arguments: tuple[str, ...], least_ms: int) -> None:
    """The tenth update is ten intervals after the start, which is no earlier than our subscription."""
    with running(*PUB, *arguments, "--max-updates", "10") as publisher:
        endpoint = publisher.ready()["pub"]
        begun_us = time.time_ns() // 1000
        with Subscriber(endpoint) as feed:
            updates = feed.until_bye()
    assert len(updates) == 10
    assert updates[-1].ts_us - begun_us >= least_ms * 1000


def test_a_file_of_json_lines_arrives_byte_for_byte() -> None:
    path = ROOT / "etc/samples/execs.jsonl"
    with running(*PUB, "--source", f"file:{path}") as publisher, Subscriber(publisher.ready()["pub"]) as feed:
        updates = feed.until_bye()
        assert publisher.wait() == 0
    payloads = b",".join(re.findall(rb'"execs":\[(.*)\]}$', u.payload)[0] for u in updates)
    lines = path.read_bytes().splitlines()
    assert payloads == b",".join(line[1:-1] if line.startswith(b"[") else line for line in lines)
    assert re.search(rb'"price":\d+\.\d0,', payloads), "the sample has number text that a float would lose"
    assert [u.seq for u in updates] == list(range(1, len(updates) + 1))
    by_topic: dict[bytes, int] = {}
    for update in updates:
        by_topic[update.topic] = by_topic.get(update.topic, 0) + 1
        assert update.tseq == by_topic[update.topic]
        assert {exec_["symbol"] for exec_ in json.loads(update.payload)["execs"]} == {
            update.key.decode().removesuffix(":::S")
        }
    assert len(by_topic) == 6


def test_a_csv_file_becomes_rows() -> None:
    path = ROOT / "etc/samples/execs.csv"
    data, _ = run_to_end("--source", f"file:{path}", "--rate", "5000")
    jsonl = (ROOT / "etc/samples/execs.jsonl").read_text().splitlines()
    rows = [row for line in jsonl for row in (json.loads(line) if line[0] == "[" else [json.loads(line)])]
    names = path.read_text().splitlines()[0].split(",")
    assert execs_of(data) == [{name: row[name] for name in names} for row in rows[:200]]


def test_bad_lines_are_counted_and_logged_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"symbol":"A","p":100.10}\nnonsense\n{"symbol":"A","p":NaN}\n{"p":1}\n{"symbol":"B"}\n')
    data, publisher = run_to_end("--source", f"file:{path}")
    assert execs_of(data) == [{"symbol": "A", "p": 100.1}, {"symbol": "B"}]
    publisher.wait_for(f"refused source=file:{path} line=2 reason=message is 'nonsense': expected a JSON object")
    publisher.wait_for(f"refused source=file:{path} line=3 reason=number is NaN: expected a finite number")
    publisher.wait_for(f"refused source=file:{path} line=4 reason=symbol is missing: expected text")
    publisher.wait_for(r"ended reason=end-of-input updates=2 rows=2 refused=3")


def test_standard_input_is_read_as_it_comes() -> None:
    publisher = Process(*PUB, "--source", "-", stdin=subprocess.PIPE)
    try:
        with Subscriber(publisher.ready()["pub"]) as feed:
            assert publisher.popen.stdin is not None
            for number in range(3):  # each is awaited before the next is written
                publisher.popen.stdin.write(f'{{"symbol":"A","n":{number}}}\n')
                publisher.popen.stdin.flush()
                assert json.loads(feed.next_data().payload)["execs"] == [{"symbol": "A", "n": number}]
            publisher.popen.stdin.write('{"symbol":"A","n":"last, without a newline"}')
            publisher.popen.stdin.close()
            (last,) = data_of(feed.until_bye())
            assert last["seq"] == 4
        assert publisher.wait() == 0
    finally:
        publisher.close()


def test_ingest_takes_one_or_two_frames_and_splits_a_mixed_list(push: "zmq.Socket[bytes]") -> None:
    with running(*PUB, "--source", "ingest", "--ingest", FREE, "--max-updates", "6") as publisher:
        facts = publisher.ready()
        push.connect(facts["ingest"])
        with Subscriber(facts["pub"]) as feed:
            push.send(b'{"symbol":"A","price":100.10}')
            push.send(b"rubbish")
            push.send(b'[{"symbol":"A","n":1},{"symbol":"A","n":2},{"symbol":"B","n":3},{"symbol":"A","n":4}]')
            push.send_multipart([b"ex.B.", b'{"symbol":"B"}'])
            push.send_multipart([b"ex.C.", b'{"symbol":"B"}'])
            push.send_multipart([b"ex.B.", b'{"symbol":"B"}', b""])
            push.send(b'{"symbol":"' + b"A" * 1_100_000 + b'"}')
            push.send_multipart([b"", b'{"symbol":"B"}'])
            push.send(b'{"symbol":"last"}')
            updates = feed.until_bye()
        assert publisher.wait() == 0
    assert b'"execs":[{"symbol":"A","price":100.10}]' in updates[0].payload
    assert [(u.topic, u.seq, u.tseq) for u in updates] == [
        (b"ex.A.", 1, 1),
        (b"ex.A.", 2, 2),
        (b"ex.B.", 3, 1),
        (b"ex.A.", 4, 3),
        (b"ex.B.", 5, 2),
        (b"ex.last.", 6, 1),
    ]
    assert len({u.ts_us for u in updates[1:4]}) == 1, "one time a batch"
    publisher.wait_for("refused source=ingest message=2 reason=message is 'rubbish'")
    publisher.wait_for("refused source=ingest message=5 reason=topic is 'ex.C.': expected 'ex.B.'")
    publisher.wait_for("refused source=ingest message=6 reason=message has 3 frames")
    publisher.wait_for("refused source=ingest message=7 reason=message of 1100013 bytes: expected at most 1048576")
    publisher.wait_for("refused source=ingest message=8 reason=topic is '': expected 'ex.B.'")
    publisher.wait_for(r"\[ingest updates=6 rows=7 refused=5\]")


def test_ingest_takes_a_burst_whole_and_in_order(push: "zmq.Socket[bytes]") -> None:
    """More than one turn of the loop takes, from a descriptor that tells only once."""
    count = 5000
    with running(*PUB, "--source", "ingest", "--ingest", FREE, "--max-updates", str(count)) as publisher:
        facts = publisher.ready()
        push.setsockopt(zmq.SNDHWM, 0)
        push.connect(facts["ingest"])
        for number in range(count):
            push.send(b'{"symbol":"A","n":%d}' % number)
        with Subscriber(facts["pub"]) as feed:
            assert [exec_["n"] for exec_ in execs_of(data_of(feed.until_bye()))] == list(range(count))


def test_the_producer_of_the_docs_works(tmp_path: Path) -> None:
    page = (ROOT / "docs/ingest.md").read_text()
    program = tmp_path / "producer.py"
    program.write_text(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0])
    with running(*PUB, "--source", "ingest", "--ingest", FREE, "--max-updates", "3") as publisher:
        facts = publisher.ready()
        with Subscriber(facts["pub"]) as feed:
            subprocess.run([sys.executable, program, facts["ingest"]], check=True, timeout=20)
            assert [exec_["price"] for exec_ in execs_of(data_of(feed.until_bye()))] == [99.5, 100.5, 101.5]


def test_the_producer_of_the_docs_that_is_answered_works(tmp_path: Path) -> None:
    page = (ROOT / "docs/ingest.md").read_text()
    program = tmp_path / "producer.py"
    program.write_text(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[1])
    arguments = (
        "--pub",
        FREE,
        "--source",
        "ingest-ack",
        "--ingest-ack",
        FREE,
        "--data-dir",
        str(tmp_path / "data"),
    )
    said = []
    for _ in range(2):  # the second time, after a restart, it says the same and nothing is taken
        with running("publisher", *arguments) as publisher:
            command = [sys.executable, str(program), publisher.ready()["ingest_ack"]]
            said.append(subprocess.run(command, check=True, timeout=20, capture_output=True, text=True).stdout)
            assert publisher.stop() == 0
            publisher.wait_for(f"updates={3 if len(said) == 1 else 0} ")
    assert said[0] == said[1]
    assert re.fullmatch(r'(desk-1:\d OK \{"epoch": "\w{16}", "first": (\d), "last": \2\}\n){3}', said[0])


def test_two_sources_share_one_sequence_and_the_infinite_one_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"symbol":"FILE"}\n' * 50)
    arguments = ("--source", "synthetic", "--source", f"file:{path}", "--rate", "500", "--max-updates", "200")
    data, publisher = run_to_end(*arguments)
    assert [each["seq"] for each in data] == list(range(1, 201))
    topics = [each["topic"] for each in data]
    assert topics.count("ex.FILE.") == 50
    assert topics.count("ex.QQQ.") == 150
    publisher.wait_for(rf"updates=200 .*\[synthetic updates=150 .*\[file:{path} updates=50 rows=50 refused=0\]")


def test_a_source_that_fails_is_an_exit_status_and_no_end_of_the_others(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.csv", tmp_path / "good.jsonl"
    bad.write_text("symbol,a,a\nX,1,2\n")
    good.write_text('{"symbol":"A"}\n' * 20)
    sources = ("--source", f"file:{bad}", "--source", f"file:{good}", "--rate", "1000")
    with running(*PUB, *sources) as publisher, Subscriber(publisher.ready()["pub"]) as feed:
        assert len(feed.until_bye()) == 20
        assert publisher.wait() == 1
    publisher.wait_for(f"source=file:{bad} failed reason=line 1: column is 'a'")


def test_the_topic_template_names_the_streams(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"symbol":"A.B","desk":7}\n{"symbol":"A"}\n')
    with running(*PUB, "--source", f"file:{path}", "--topic", "d.{desk}.{symbol}/") as publisher:
        with Subscriber(publisher.ready()["pub"]) as feed:
            assert [u.topic for u in feed.until_bye()] == [b"d.7.A%2EB/"]
        publisher.wait()
        publisher.wait_for(f"refused source=file:{path} line=2 reason=desk is None")


def test_the_last_message_of_all_is_the_bye(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    with running(*PUB, "--source", f"file:{path}") as publisher, Subscriber(publisher.ready()["pub"]) as feed:
        assert feed.until_bye() == []
        assert (feed.last.kind, feed.last.seq) == (Kind.BYE, 0)
        assert publisher.wait() == 0
