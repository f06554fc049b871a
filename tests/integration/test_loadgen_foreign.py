"""`execgate loadgen run` against servers that are not ours: the `websockets` library, also as others speak."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from loadgen.core.summary import Summary
from loadgen.run_folder import StoredRun
from tests.harness import wait_until
from tests.integration.test_loadgen_run import STATUS, load, read, run

DELAY_MS = 300
SEQS = (5, 6, 8, 9, 9, 12, 11)
"""One gap of one, 7; one duplicate, 9; 11 out of order, so that of 10 and 11 only 10 is missing."""


class Foreign:
    """Sends `messages` to each client that has said `hello`; `heard` is what clients said then."""

    def __init__(self, messages: Sequence[str | bytes], hello: Sequence[str], subprotocol: str | None) -> None:
        self.messages, self.hello = messages, list(hello)
        self.heard: list[str | bytes] = []
        self.server: Server = serve(
            self._serve,
            "127.0.0.1",
            0,
            subprotocols=[subprotocol] if subprotocol else None,  # type: ignore[list-item]
            compression=None,
        )
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.server.socket.getsockname()[1]}/feed"

    def _serve(self, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            said = [connection.recv() for _ in self.hello]
            if said != self.hello:
                connection.close(4000, f"expected {self.hello}, not {said}")
            for message in self.messages:
                now_ms = time.time_ns() // 1_000_000 - DELAY_MS
                connection.send(message.replace("NOW", str(now_ms)) if isinstance(message, str) else message)
            for message in connection:
                self.heard.append(message)

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join(10)


@contextlib.contextmanager
def foreign(
    messages: Sequence[str | bytes], hello: Sequence[str] = (), subprotocol: str | None = None
) -> Iterator[Foreign]:
    server = Foreign(messages, hello, subprotocol)
    try:
        yield server
    finally:
        server.close()


def told_of(url: str, tmp_path: Path, *more: str) -> tuple[dict[str, Any], str]:
    """Return what a run with two subscribers tells, for programs and for people."""
    out = tmp_path / "out.json"
    arguments = ("--subscribers", "2", "--warm-up", "0.01", "--quiet", "--json", str(out))
    process, status = run(*load(url, tmp_path, *arguments, *more))
    told = read(out)
    assert status == STATUS[told["verdict"]["outcome"]], process.words()
    return told, "\n".join(process.stdout)


def test_a_plain_server_is_measured_and_its_planted_faults_are_found(tmp_path: Path) -> None:
    """By JSON path, after a greeting and under a subprotocol; one update is of bytes, two come in one message."""
    text = [json.dumps({"data": {"seq": seq, "ts": "NOW"}}) for seq in SEQS]
    messages: list[str | bytes] = [
        "welcome",
        *text[:4],
        text[4].replace("NOW", "0").encode(),
        f"{text[5]}\n{text[6]}",
    ]
    hello = ["first", '{"subscribe":"all"}']
    with foreign(messages, hello, "feed.v1") as server:
        how = ("--seq-path", "data.seq", "--ts-path", "data.ts", "--ts-unit", "ms", "--subprotocol", "feed.v1")
        say = ("--on-open", hello[0], "--on-open", hello[1])
        told, _ = told_of(server.url, tmp_path, *how, *say, "--require", "lost==2")
    streams, errors = told["figures"]["streams"], told["figures"]["errors"]
    found = {name: streams[name] for name in ("delivered", "lost", "gaps", "duplicates", "reorders", "other")}
    assert found == {"delivered": 14, "lost": 4, "gaps": 4, "duplicates": 2, "reorders": 2, "other": 2}
    assert errors == {}
    assert told["verdict"]["requirements"][0]["held"] is False
    assert told["run"]["config"]["on_open"] == hello
    assert len(told["broken_streams"]) == 2


@pytest.mark.slow
def test_socket_io_is_answered_its_pings_and_its_latency_is_measured(tmp_path: Path) -> None:
    messages = ['0{"sid":"a"}', '40{"sid":"b"}', "2", *(f'42["execs",{{"n":{n},"at":NOW}}]' for n in range(30))]
    with foreign(messages, ["40"]) as server:
        how = ("--seq-regex", r'"n":(\d+)', "--ts-regex", r'"at":(\d+)')
        told, _ = told_of(server.url, tmp_path, *how, "--on-open", "40", "--reply", "2=3")
        wait_until(lambda: server.heard == ["3", "3"], "each client has answered")
    latencies = Summary(StoredRun(tmp_path / "a").records()).histogram("delivery_us")
    assert latencies.count == 60
    assert (latencies.percentile(1) or 0) / 1000 >= DELAY_MS - 1
    figures = told["figures"]
    assert (figures["streams"]["delivered"], figures["streams"]["lost"], figures["streams"]["other"]) == (60, 0, 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "update", "what"),
    [
        (("--ts-path", "at"), '{"at":NOW}', "updates have no sequence"),
        (("--seq-path", "n"), '{"n":1}', "updates have no timestamp"),
    ],
)
def test_what_the_updates_do_not_say_is_not_told_as_if_it_were_checked(
    tmp_path: Path, how: tuple[str, ...], update: str, what: str
) -> None:
    with foreign([update]) as server:
        told, text = told_of(server.url, tmp_path, *how)
    streams, verdict = told["figures"]["streams"], told["verdict"]
    is_numbered = "--seq-path" in how
    assert streams["delivered"] == 2
    assert (streams["lost"], streams["duplicates"]) == ((0, 0) if is_numbered else (None, None))
    assert ("not checked" in text) is not is_numbered
    assert [line.startswith(what) for line in verdict["not_measured"]] == [True]
    assert what in text


def test_what_is_given_wrongly_is_named_at_once(tmp_path: Path) -> None:
    process, status = run(*load("ws://127.0.0.1:1/", tmp_path, "--seq-regex", "(a)(b)"))
    assert status == 2
    assert "--seq-regex" in process.words()
    assert "expected a regular expression with one group" in process.words()
