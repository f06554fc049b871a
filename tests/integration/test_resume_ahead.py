"""A client is ahead of its gateway and the publisher is away: it waits, gets each seq once, and is told no gap.

The publisher died having reached the gateway that the client had, and not the one that it resumes on.
"""

import signal
from pathlib import Path

import pytest

from gateway.resume import AHEAD_S
from tests.harness import wait_until
from tests.integration.test_resume import Place, Reader
from tests.rig import Gateway


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def uptime_s(served: Gateway) -> float:
    return float(served.stats()["uptime_s"])


@pytest.mark.slow
def test_who_is_ahead_of_a_gateway_waits_for_a_publisher_that_is_away_and_gets_each_seq_once(place: Place) -> None:
    reader = Reader()
    with (
        place.gateway(await_ready=False) as ahead,
        place.gateway("--feed-stale-s", "0.5", await_ready=False) as behind,
    ):
        with place.publisher() as process:
            ahead.process.ready()
            behind.process.ready()
            process.send_signal(signal.SIGKILL)
            process.wait()
        behind.process.send_signal(signal.SIGSTOP)
        with place.publisher() as process:
            reader.read(ahead, 200)
            process.send_signal(signal.SIGKILL)
            process.wait()
        behind.process.send_signal(signal.SIGCONT)
        assert behind.stats()["feed"]["seq"] < reader.seqs[-1], "the fault did not strike"
        with behind.client() as client:
            since = {"epoch": reader.epoch, "seq": reader.position}
            client.send("subscribe-execs", {"since": since})
            reader.take_until(client, lambda: reader.told[-1].get("state") == "stale")
            asked_s = uptime_s(behind)
            wait_until(lambda: uptime_s(behind) - asked_s > AHEAD_S + 0.5, "the gateway's clock")
            with place.publisher():
                reader.take_until(client, lambda: len(reader.seqs) >= 400)
    reader.assert_exact()
    assert [told["recovered"] for told in reader.told if "recovered" in told] == [False, True]
