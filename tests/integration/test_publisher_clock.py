"""The publisher's clock against a gateway's: the same on one host, and found where it is set while they run.

No latency is negative then, each is 3 s too long: nothing else would tell.
"""

import json
import shutil
from pathlib import Path

import pytest

from chaos.clock import Clock
from execgate.measure.clocks import Reading
from loadgen.core.figures import furthest
from loadgen.core.verdict import CLOCK_STEP_US
from tests.clients import Client
from tests.harness import running, wait_until
from tests.rig import gateway

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which("cc"), reason="no C compiler: a publisher with another clock was NOT tested"
    ),
]
BEHIND_S = 3
PRECISE_US = 1_000_000
"""A publisher's answer that tells a clock that is 3 s off from one that is not; even a busy machine gives it."""


def told(client: Client) -> Reading | None:
    """What the gateway says of the publisher's clock."""
    client.send("stamps-request")
    ahead = client.receive_event("stamps")["data"]["publisher"]
    return None if ahead is None else Reading(**ahead)


def test_a_gateway_tells_how_far_the_publishers_clock_is_ahead(tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    feed = f"ipc://{tmp_path}/feed"
    with running("publisher", "--pub", feed, "--rate", "20", environment=clock.environment) as publisher:
        publisher.ready()
        with gateway(feed, replay=f"{feed}.replay") as served, served.client() as client:

            def is_off_by(seconds: float) -> bool:
                reading = told(client)
                if reading is None or reading.uncertainty_us > PRECISE_US:
                    return False
                return abs(reading.offset_us - seconds * 1e6) <= reading.uncertainty_us

            wait_until(lambda: is_off_by(0), "it is known to be the same clock", timeout_s=30)
            clock.step(-BEHIND_S)
            wait_until(lambda: is_off_by(-BEHIND_S), "it is known to be behind", timeout_s=30)
            load = ("--subscribers", "1", "--warm-up", "0.2", "--interval", "0.2", "--for", "1.5", "--quiet")
            out = tmp_path / "out.json"
            where = ("--url", f"ws://{served.address}/ws", "--run-dir", str(tmp_path), "--json", str(out))
            with running("loadgen", "run", *load, *where) as process:
                process.wait(60)
    assert clock.asked > 0
    found = json.loads(out.read_text())
    ahead = furthest(found["figures"]["clocks"]["publisher"])[1]
    assert abs(ahead.offset_us + BEHIND_S * 1e6) <= ahead.uncertainty_us
    assert furthest(found["figures"]["clocks"]["gateway"])[1].certain_us < CLOCK_STEP_US.suspect
    reasons = " ".join(reason["text"] for reason in found["verdict"]["reasons"])
    assert "the publisher's clock is -" in reasons
    assert "the gateway's clock is" not in reasons
