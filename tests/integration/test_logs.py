"""What a gateway logs of its sessions: a line a state change, tied together by the session, none for a message."""

import json
from typing import Any

from tests.harness import wait_until
from tests.rig import scripted

ORDER = {"request": 1, "rows": 1, "timestamp": 1, "address": "a", "execs": [{"symbol": "SECRET"}]}


def test_the_lines_of_a_session_name_it_and_say_nothing_of_what_it_sends() -> None:
    with scripted("--log-format", "json", "--log-level", "debug") as (gateway, feed):
        with gateway.client() as client:
            session = client.receive_event("hello")["data"]["session"]
            client.subscribe()
            feed.updates(3)
            client.seqs(3)
            assert client.ask("order-request", ORDER)["data"]["status"] == "accepted"
        with gateway.raw() as rude:
            other = rude.receive()["data"]["session"]
            rude.send_frame(2, b"binary")
            assert rude.close_code() == 1003

        def lines_of(name: str) -> list[dict[str, Any]]:
            lines = [json.loads(line) for line in list(gateway.process.stderr)]
            return [line for line in lines if line.get("session") == name]

        wait_until(lambda: any(line["event"] == "session ended" for line in lines_of(other)), "both have ended")
        assert [line["event"] for line in lines_of(session)] == [
            "session opened",
            "session subscribes",
            "session closed by its peer",
            "session ended",
        ]
        (closed,) = [line for line in lines_of(other) if line["level"] == "info"]
        assert (closed["event"], closed["code"]) == ("session closed", "1003")
        assert gateway.process.stop() == 0
    assert not any("SECRET" in line for line in gateway.process.stderr)
