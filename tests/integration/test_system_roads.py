"""The whole system as processes: publisher, two gateways, clients; what each death means for the others."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.clients import TIMEOUT_S, Client
from tests.harness import Process, running, wait_until
from tests.rig import gateway

PACED = (
    "--replay",
    "tcp://127.0.0.1:0",
    "--rate",
    "100",
    "--symbols",
    "3",
    "--seed",
    "1",
    "--heartbeat-ms",
    "100",
)


@contextmanager
def publisher(pub: str = "tcp://127.0.0.1:0", *flags: str) -> Iterator[tuple[Process, dict[str, str]]]:
    with running("publisher", "--pub", pub, *PACED, *flags) as process:
        yield process, process.ready()
    assert "Traceback" not in process.words()


def frames(client: Client, count: int) -> list[bytes]:
    """Return the next `count` updates as the bytes that came."""
    found: list[bytes] = []
    while len(found) < count:
        text = client.connection.recv(TIMEOUT_S, decode=False)
        if text.startswith(b'{"event":"receive-execs"'):
            found.append(text)
        else:
            assert json.loads(text)["event"] in ("hello", "subscribed", "heartbeat"), text
    return found


def seq_of(frame: bytes) -> int:
    return int(json.loads(frame)["data"]["seq"])


def next_of(client: Client, event: str, **data: Any) -> dict[str, Any]:
    """Skip to an `event` that has `data`."""
    while True:
        found = dict(client.receive_event(event)["data"])
        if all(found.get(key) == value for key, value in data.items()):
            return found


def test_all_clients_of_two_gateways_see_the_same_contiguous_seqs_as_identical_bytes() -> None:
    with publisher() as (_, facts), gateway(facts["pub"]) as one, gateway(facts["pub"]) as other:
        with ExitStack() as stack:
            clients = [
                stack.enter_context(served.client(subscribe_at_connect=True))
                for served in (one, other)
                for _ in range(3)
            ]
            got = [frames(client, 60) for client in clients]
        newest_first = max(seq_of(each[0]) for each in got)
        by_seq = {seq_of(frame): frame for frame in got[0]}
        for each in got:
            seqs = [seq_of(frame) for frame in each]
            assert seqs == list(range(seqs[0], seqs[0] + 60))
            common = [frame for frame in each if seq_of(frame) >= newest_first]
            assert len(common) > 20
            assert all(by_seq.get(seq_of(frame), frame) == frame for frame in common)
        data = json.loads(got[0][0])["data"]
        assert data["epoch"] == facts["epoch"]
        assert data["topic"] == f"ex.{data['execs'][0]['symbol']}."


def test_both_gateways_and_the_publisher_agree_at_the_end() -> None:
    """--max-updates ends the publisher: everything it published reached everybody who waited for it."""
    flags = ("--await-gateways", "2", "--max-updates", "50")
    with running("publisher", "--pub", "tcp://127.0.0.1:0", *PACED, *flags) as source:
        endpoint = source.ready()["pub"]
        with gateway(endpoint) as one, gateway(endpoint) as other:
            assert source.wait() == 0
            for served in (one, other):
                served.wait_for_stats("the end of the feed", feed__seq=50, feed__state="stale")
                assert served.stats()["feed"]["updates"] == 50


def test_a_topic_of_the_real_publisher_is_filtered_at_the_edge() -> None:
    with publisher() as (_, facts), gateway(facts["pub"]) as served, served.client() as client:
        with served.client(subscribe_at_connect=True) as everything:
            topics = {json.loads(frame)["data"]["topic"] for frame in frames(everything, 40)}
        assert len(topics) == 3
        chosen = min(topics)
        client.subscribe(topics=[chosen])
        datas = [json.loads(frame)["data"] for frame in frames(client, 10)]
        assert {data["topic"] for data in datas} == {chosen}
        assert [data["tseq"] for data in datas] == list(range(datas[0]["tseq"], datas[0]["tseq"] + 10))


def test_a_killed_gateway_comes_back_on_its_port_and_its_clients_go_on_while_others_notice_nothing() -> None:
    with publisher() as (_, facts), gateway(facts["pub"]) as steady, steady.client() as witness:
        witness.subscribe()
        with gateway(facts["pub"]) as first, first.client(subscribe_at_connect=True) as client:
            last = client.seqs(5)[-1]
            address = first.address
            first.process.send_signal(signal.SIGKILL)
            assert client.close_code() == 1006
            assert first.process.wait() == -signal.SIGKILL
        with gateway(facts["pub"], listen=address) as second:
            assert second.address == address
            with second.client(subscribe_at_connect=True) as client:
                hello = client.receive()["data"]
                assert hello["epoch"] == facts["epoch"]
                assert hello["seq"] > last
                assert client.seqs(5) == list(range(hello["seq"] + 1, hello["seq"] + 6))
        seqs = witness.seqs(50)
        assert seqs == list(range(seqs[0], seqs[0] + 50))


def test_a_publisher_that_stops_is_stale_at_once_and_its_successor_is_told_as_a_new_epoch() -> None:
    with publisher() as (source, facts), gateway(facts["pub"]) as served, served.client() as client:
        client.subscribe()
        client.seqs(3)
        assert source.stop() == 0
        stale = next_of(client, "feed", state="stale")
        assert stale["epoch"] == facts["epoch"]
        wait_until(lambda: served.get("/readyz")[0] == 503, "readiness is red")
        with publisher(facts["pub"]) as (_, successor):
            assert successor["epoch"] != facts["epoch"]
            changed = next_of(client, "feed", state="epoch-changed")
            assert (changed["epoch"], changed["previous"]) == (successor["epoch"], facts["epoch"])
            message = client.receive()
            missed = 0
            if message["event"] == "gap":  # it had begun before the gateway was back
                assert (message["data"]["from"], message["data"]["why"]) == (1, "upstream")
                missed = message["data"]["to"]
                message = client.receive()
            assert (message["event"], message["data"]["state"]) == ("feed", "live")
            assert client.seqs(5) == list(range(missed + 1, missed + 6))
            wait_until(lambda: served.get("/readyz")[0] == 200, "ready again")


def test_a_killed_publisher_is_stale_after_the_silence_and_its_successor_heals_it() -> None:
    with (
        publisher() as (source, facts),
        gateway(facts["pub"], "--feed-stale-s", "0.5") as served,
        served.client() as client,
    ):
        client.subscribe()
        last = client.seqs(3)[-1]
        source.send_signal(signal.SIGKILL)
        stale = next_of(client, "feed", state="stale")
        assert stale["seq"] >= last
        with publisher(facts["pub"]) as (_, successor):
            assert next_of(client, "feed", state="epoch-changed")["epoch"] == successor["epoch"]
            assert next_of(client, "receive-execs", epoch=successor["epoch"])["seq"] >= 1


def test_a_suspended_gateway_catches_up_without_a_gap() -> None:
    with publisher() as (_, facts), gateway(facts["pub"]) as served, served.client() as client:
        client.subscribe()
        first = client.seqs(1)[0]
        served.process.send_signal(signal.SIGSTOP)
        with gateway(facts["pub"]) as other, other.client(subscribe_at_connect=True) as clock:
            clock.seqs(50)  # half a second of feed
        served.process.send_signal(signal.SIGCONT)
        assert client.seqs(60) == list(range(first + 1, first + 61))


def test_a_whole_system_over_ipc_ends_cleanly(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/feed"
    with publisher(endpoint) as (source, facts), gateway(facts["pub"]) as served:
        with served.client(subscribe_at_connect=True) as client:
            client.seqs(3)
        assert served.process.stop() == 0
        assert source.stop() == 0
