"""Nothing is lost, with real processes: whatever is killed, whoever resumes on any gateway sees each seq once."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.clients import Client
from tests.harness import Process, running
from tests.rig import Gateway, gateway

PATIENT = ("--replay-timeout-s", "20")  # a machine under test may stand still for a while
RATE = ("--rate", "500", "--symbols", "4", "--seed", "1", "--heartbeat-ms", "100")


class Place:
    """Where one publisher and its gateways meet."""

    def __init__(self, folder: Path) -> None:
        self.feed = f"ipc://{folder}/feed"
        self.replay = f"{self.feed}.replay"
        self.data = folder / "journal"

    @contextmanager
    def publisher(self, *flags: str) -> Iterator[Process]:
        arguments = ("publisher", "--pub", self.feed, "--data-dir", str(self.data), *RATE, *flags)
        with running(*arguments) as process:
            process.ready()
            yield process

    def gateway(self, *flags: str, await_ready: bool = True) -> AbstractContextManager[Gateway]:
        return gateway(self.feed, *flags, replay=self.replay, await_ready=await_ready)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


class Reader:
    """A client that keeps its position and every seq that it was sent."""

    def __init__(self, **subscription: Any) -> None:
        self.subscription = subscription
        self.seqs: list[int] = []
        self.payloads: dict[int, dict[str, Any]] = {}
        self.told: list[dict[str, Any]] = []
        self.epoch = ""
        self.position: int | None = None
        self.beats = 0

    def read(self, served: Gateway, count: int, timeout_s: float = 15.0) -> None:
        """Connect, resume from where it stands, and take `count` more updates, or what comes until the end."""
        asked = dict(self.subscription)
        if self.position is not None:
            asked["since"] = {"epoch": self.epoch, "seq": self.position}
        wanted = len(self.seqs) + count
        with suppress(ConnectionClosed, EOFError), served.client() as client:
            client.send("subscribe-execs", asked)
            self.take_until(client, lambda: len(self.seqs) >= wanted, timeout_s)

    def take_until(self, client: Client, is_enough: Callable[[], bool], timeout_s: float = 15.0) -> None:
        """Take what comes until it is enough."""
        deadline = time.monotonic() + timeout_s
        while not is_enough():
            assert time.monotonic() < deadline, f"{len(self.seqs)} taken, told {self.told[-3:]}"
            self._take(client)

    def _take(self, client: Client) -> None:
        message = client.receive()
        data = message["data"]
        if message["event"] == "receive-execs":
            self.seqs.append(data["seq"])
            self.payloads[data["seq"]] = data
            self.epoch, self.position = data["epoch"], data["seq"]
        elif message["event"] == "subscribed":
            self.told.append(data)
            self.epoch = data["epoch"]
            self.position = data["seq"]
        elif message["event"] == "heartbeat":
            self.beats += 1
        elif message["event"] in ("gap", "feed", "error"):
            self.told.append({"event": message["event"], **data})

    def assert_exact(self) -> None:
        assert self.seqs == list(range(self.seqs[0], self.seqs[0] + len(self.seqs)))
        assert not [told for told in self.told if told.get("event") == "gap" or told.get("gap")]


def test_a_client_resumes_on_another_gateway_that_starts_later_and_has_never_seen_what_it_missed(
    place: Place,
) -> None:
    reader = Reader()
    with place.publisher():
        with place.gateway() as first:
            reader.read(first, 200)
        time.sleep(0.5)  # some 250 updates pass that no gateway takes
        with place.gateway() as second:
            reader.read(second, 600)
            assert second.stats()["pages_fetched"] > 0
    reader.assert_exact()
    assert reader.told[-1]["recovered"] is True


def test_a_publisher_that_is_killed_comes_back_in_its_epoch_and_nobody_misses_an_update(place: Place) -> None:
    reader = Reader()
    with place.gateway(await_ready=False) as served, ExitStack() as stack:
        for _ in range(3):
            process = stack.enter_context(place.publisher())
            served.process.ready()
            reader.read(served, 300)
            process.send_signal(signal.SIGKILL)
            process.popen.wait()
        stack.enter_context(place.publisher())
        reader.read(served, 300)
    reader.assert_exact()
    assert len({payload["epoch"] for payload in reader.payloads.values()}) == 1


def test_a_subscriber_stays_connected_through_the_publishers_death_and_gets_each_seq_once(place: Place) -> None:
    reader = Reader()
    with place.gateway(await_ready=False) as served, ExitStack() as stack:
        process = stack.enter_context(place.publisher())
        served.process.ready()
        with served.client() as client:
            client.send("subscribe-execs", {})
            for round_number in range(1, 4):
                while len(reader.seqs) < 300 * round_number:
                    reader._take(client)
                process.send_signal(signal.SIGKILL)
                process.popen.wait()
                process = stack.enter_context(place.publisher())
            reader.take_until(client, lambda: len(reader.seqs) >= 1_200)
    reader.assert_exact()


@pytest.mark.slow
def test_a_gateway_that_was_stopped_past_what_zeromq_keeps_fills_the_hole_by_replay(place: Place) -> None:
    """Beside it the control: one that has no replay, and must not pass."""
    reader, control = Reader(), Reader()
    with (
        place.publisher("--zmq-hwm", "50"),
        place.gateway("--zmq-hwm", "50", *PATIENT) as served,
        gateway(place.feed, "--zmq-hwm", "50") as unguarded,
        served.client() as client,
        unguarded.client() as other,
    ):
        for each in (client, other):
            each.send("subscribe-execs", {})
        reader.take_until(client, lambda: len(reader.seqs) >= 100)
        for stopped in (served, unguarded):
            stopped.process.send_signal(signal.SIGSTOP)
        time.sleep(3)  # 1,500 updates: more than ZeroMQ and the kernel's buffers keep
        for stopped in (served, unguarded):
            stopped.process.send_signal(signal.SIGCONT)
        reader.take_until(client, lambda: len(reader.seqs) >= 2_500)
        control.take_until(other, lambda: any(told.get("event") == "gap" for told in control.told))
        upstream = served.stats()["feed"]
    assert upstream.get("replays", 0) > 0, "the fault did not strike"
    reader.assert_exact()
    with pytest.raises(AssertionError):
        control.assert_exact()


def test_topics_since_and_a_snapshot_then_live(place: Place) -> None:
    everything, some = Reader(), Reader(topics=["ex.S1.", "ex.S2."])
    with place.publisher(), place.gateway() as served:
        everything.read(served, 300)
        start = everything.seqs[0] - 1
        topics = {payload["topic"] for payload in everything.payloads.values()}
        some.subscription = {"topics": sorted(topics)[:2]}
        some.epoch, some.position = everything.epoch, start
        some.read(served, 60)
        expected = [
            seq for seq, payload in everything.payloads.items() if payload["topic"] in some.subscription["topics"]
        ]
        both = min(len(expected), len(some.seqs))
        assert some.seqs[:both] == expected[:both]
        assert both > 20


@pytest.mark.parametrize(
    ("since", "told"),
    [
        ({"epoch": "00000000000000aa", "seq": 5}, "epoch"),
        ({"epoch": None, "seq": 2**52}, "future"),
    ],
)
def test_a_position_that_nobody_has_is_told_and_the_stream_goes_on(
    place: Place, since: dict[str, Any], told: str
) -> None:
    with place.publisher(), place.gateway() as served, served.client() as client:
        hello = client.receive()["data"]
        since["epoch"] = since["epoch"] or hello["epoch"]
        client.send("subscribe-execs", {"since": since})
        subscribed = client.receive_event("subscribed")["data"]
        assert subscribed["recovered"] is False
        assert subscribed["gap"]["why"] == told
        assert client.receive_event("receive-execs")["data"]["seq"] == subscribed["seq"] + 1


@pytest.mark.slow
def test_what_the_publisher_holds_no_longer_is_a_gap_and_the_rest_comes(place: Place) -> None:
    with place.publisher("--retain-updates", "300"), place.gateway() as first, first.client() as client:
        client.send("subscribe-execs", {})
        while json.loads(client.connection.recv(10))["data"].get("seq", 0) < 3_000:
            pass
        epoch = client.receive_event("receive-execs")["data"]["epoch"]
        with place.gateway() as second, second.client() as other:
            other.send("subscribe-execs", {"since": {"epoch": epoch, "seq": 10}})
            subscribed = other.receive_event("subscribed")["data"]
            assert subscribed["recovered"] is False
            assert subscribed["gap"]["from"] == 11
            assert subscribed["gap"]["why"] == "evicted"
            first_seq = other.receive_event("receive-execs")["data"]["seq"]
            assert first_seq == subscribed["gap"]["to"] + 1 == subscribed["seq"] + 1
