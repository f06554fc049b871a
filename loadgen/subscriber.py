"""The pub/sub client of 2012: subscribed as soon as it is connected, it times and checks every update.

Made by `classic.py`, called by the connection for each message. It sends nothing.
"""

from typing import Any

import ujson

from execgate.wire import events
from loadgen.core.stream_check import StreamCheck
from loadgen.crowd import Crowd, Member

BAD_MESSAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError)
"""What JSON of the wrong shape leads to; nothing of such a message was taken into account."""
_PREFIX = events.PLAIN.prefix.decode()


def data_bytes_of(text: str, data: Any, prefix: str = _PREFIX) -> int:
    """Return the length in bytes of the JSON of a message's `data`, as it was received after `prefix`."""
    if text.startswith(prefix) and text.isascii():
        return len(text) - len(prefix) - 1
    # Another server's spelling, or not ASCII: rare enough to be serialised again.
    return len(ujson.dumps(data, ensure_ascii=False, escape_forward_slashes=False).encode())


class Subscriber(Member):
    """One subscriber of everything."""

    __slots__ = ("_check",)

    def __init__(self, crowd: Crowd, number: int) -> None:
        super().__init__(crowd, number, subprotocol=None)
        self._check = self.check = StreamCheck()

    def on_text(self, text: str, received_ns: int) -> None:
        """Dispatch one event; what is not one is counted, and the client lives."""
        silence_ns = received_ns - self.heard_ns
        if silence_ns > self.crowd.noticed_ns:
            self.crowd.notice_silence(self, silence_ns)
        self.heard_ns = received_ns
        try:
            message = ujson.loads(text)
            event = message["event"]
            data = message["data"]
            if event == events.RECEIVE:
                self._take_update(text, data, received_ns)
            else:
                self._take_other(event, data)
        except BAD_MESSAGE:
            self.crowd.recorder.errors["bad message"] += 1

    def _take_update(self, text: str, data: dict[str, Any], received_ns: int) -> None:
        crowd = self.crowd
        now_us = received_ns // 1000 + crowd.wall_offset_us
        timestamp_ms = data["timestamp"]
        seq, epoch = data["seq"], data["epoch"]
        if type(seq) is not int or type(epoch) is not str:
            raise TypeError("a position is a whole number and the text of an epoch")
        latency_us = int(now_us - data.get("ts_us", timestamp_ms * 1000))
        response_ms = now_us / 1000 - timestamp_ms
        size = data_bytes_of(text, data)
        # All of it is well-formed: only now does anything change.
        self._check.observe(epoch, seq)
        crowd.recorder.update(latency_us, size)
        crowd.metrics.record(self.name, response_ms, size)

    def _take_other(self, event: str, data: dict[str, Any]) -> None:
        if event == events.HEARTBEAT:
            self.crowd.recorder.heartbeats += 1
            self._check.pass_to(str(data["epoch"]), int(data["seq"]))
        elif event == events.HELLO:
            self.name = str(data["address"])
        elif event == events.SUBSCRIBED:
            self._check.begin(str(data["epoch"]), int(data["seq"]))
        elif event == events.GAP:
            if data["from"] is not None and data["to"] is not None:
                self._check.tell(int(data["from"]), int(data["to"]))
        elif event == events.FEED and data["state"] == "epoch-changed":
            self._check.change_epoch(str(data["epoch"]))
        elif event == events.ERROR:
            self.crowd.recorder.errors[f"server error {str(data.get('code'))[:40]}"] += 1
