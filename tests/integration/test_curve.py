"""CURVE between real processes, on every address of the machine: who has a known key, and nobody else, gets in."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from chaos.keys import Keys
from execgate import cli
from execgate.service.curve import ClientCurve
from execgate.wire.replay import End, Replay, decode_answer, encode_request
from execgate.wire.update import Update
from tests.harness import Process, running, wait_until
from tests.rig import get

EVERYWHERE = "tcp://0.0.0.0:0"
MINE = "tcp://127.0.0.1:0"


def near(endpoint: str) -> str:
    return endpoint.replace("0.0.0.0", "127.0.0.1")


class Dealer:
    """A DEALER with or without keys."""

    def __init__(self, endpoint: str, curve: ClientCurve | None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        if curve is not None:
            curve.secure(self.socket)
        self.socket.connect(near(endpoint))

    def next(self, timeout_s: float = 10.0) -> list[bytes] | None:
        return self.socket.recv_multipart() if self.socket.poll(round(timeout_s * 1000)) else None

    def close(self) -> None:
        self._context.destroy(linger=0)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.fixture
def publisher(keys: Keys) -> Iterator[Process]:
    """One that is bound to every address."""
    arguments = (
        "--pub",
        EVERYWHERE,
        "--source",
        "ingest-ack",
        "--ingest-ack",
        EVERYWHERE,
        "--heartbeat-ms",
        "100",
    )
    with running("publisher", *arguments, *keys.of_publisher()) as process:
        process.ready()
        yield process
        assert process.stop() == 0
        assert not [secret for secret in keys.secrets() if secret in process.words()]
        assert "Traceback" not in process.words()


def test_a_producer_and_a_gateway_with_known_keys_get_in(keys: Keys, publisher: Process) -> None:
    facts = publisher.ready()
    producer = Dealer(facts["ingest_ack"], keys.client("producer"))
    producer.socket.send_multipart([b"1", b'[{"symbol":"QQQ"},{"symbol":"SPY"}]'])
    answer = producer.next()
    assert answer is not None
    assert answer[:2] == [b"1", b"OK"]
    assert json.loads(answer[2]) == {"epoch": facts["epoch"], "first": 1, "last": 2}
    history = Dealer(facts["replay"], keys.client("gateway"))
    history.socket.send_multipart(encode_request(b"r", Replay(int(facts["epoch"], 16), 1, 2)))
    parts = [decode_answer(history.next() or [])[1] for _ in range(3)]
    assert [part.seq for part in parts if isinstance(part, Update)] == [1, 2]
    assert parts[2] == End(int(facts["epoch"], 16), 2)
    feed = ("--feed", near(facts["pub"]), "--listen", MINE.removeprefix("tcp://"))
    with running("gateway", *feed, *keys.of_gateway("gateway")) as gateway:
        address = gateway.ready()["listen"]
        wait_until(lambda: get(address, "/readyz")[0] == 200, "the feed is live")
    producer.close()
    history.close()


def test_the_producer_of_the_docs_gets_in(keys: Keys, publisher: Process, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    program = tmp_path / "producer.py"
    program.write_text(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0])
    command = [sys.executable, str(program), near(publisher.ready()["ingest_ack"]), "producer", "publisher"]
    said = subprocess.run(command, check=True, timeout=20, capture_output=True, text=True, cwd=keys.folder).stdout
    assert said.startswith("[b'desk-1', b'OK', b'{")


def test_others_do_not(keys: Keys, publisher: Process) -> None:
    """Without keys, with a key that nobody knows, or with one that is for something else."""
    facts = publisher.ready()
    for name in ("stranger", "gateway", None):
        producer = Dealer(facts["ingest_ack"], None if name is None else keys.client(name))
        producer.socket.send_multipart([b"1", b'{"symbol":"QQQ"}'])
        assert producer.next(0.3) is None
        producer.close()
    for name in ("stranger", "producer", None):
        history = Dealer(facts["replay"], None if name is None else keys.client(name))
        history.socket.send_multipart(encode_request(b"r", Replay(1, 1, 1)))
        assert history.next(0.3) is None
        history.close()
    known = Dealer(facts["ingest_ack"], keys.client("producer"))
    known.socket.send_multipart([b"1", b'{"symbol":"QQQ"}'])
    assert json.loads((known.next() or [])[2])["first"] == 1, "nothing of the others was taken"
    known.close()
    publisher.wait_for("refused address=127.0.0.1 domain=producers key=")


def test_a_gateway_that_is_refused_says_so_and_joins_once_its_key_is_added(keys: Keys, publisher: Process) -> None:
    facts = publisher.ready()
    flags = ("--feed", near(facts["pub"]), "--listen", MINE.removeprefix("tcp://"), "--feed-stale-s", "0.5")
    with running("gateway", *flags, *keys.of_gateway("stranger")) as gateway:
        address = gateway.wait_for(r"listening address=(\S+)").group(1)
        gateway.wait_for(r"feed .* refused us: expected CURVE on both sides, or on none, and our key to be known")
        assert get(address, "/readyz")[0] == 503
        keys.allow("gateways", "stranger")
        wait_until(lambda: get(address, "/readyz")[0] == 200, "the feed is live")
        assert not [secret for secret in keys.secrets() if secret in gateway.words()]
    with running("gateway", *flags) as plain:
        plain.wait_for("feed .* refused us")


@pytest.mark.parametrize(
    ("program", "flags", "line"),
    [
        ("publisher", ("--curve-clients", "{}/gateways"), "--curve-key {0}/p.key: mode 0644, others may reach it"),
        ("publisher", ("--curve-clients", "{}/none"), "--curve-clients {0}/none: No such file or directory"),
        ("gateway", ("--curve-server", "{}/p.key"), "--curve-key {0}/p.key: mode 0644, others may reach it"),
        ("gateway", ("--curve-server", "{}/g.key"), "--curve-server {0}/g.key: is a secret key"),
    ],
)
def test_keys_that_can_t_be_used_are_one_line_and_exit_2(
    program: str, flags: tuple[str, str], line: str, tmp_path: Path
) -> None:
    for name in ("p", "g"):
        assert cli.main(["keygen", str(tmp_path), name]) == 0
    (tmp_path / "gateways").mkdir()
    if "mode" in line:
        (tmp_path / "p.key").chmod(0o644)
    where = ("--pub", MINE) if program == "publisher" else ("--listen", "127.0.0.1:0")
    given = tuple(flag.format(tmp_path) for flag in flags)
    with running(program, *where, "--curve-key", f"{tmp_path}/p.key", *given) as process:
        assert process.wait() == 2
        assert len(process.stderr) == 1
        assert process.stderr[0].startswith(f"execgate {program}: {line.format(tmp_path)}")
