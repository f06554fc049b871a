"""The pub/sub client of 2012: subscribed as soon as it is connected, it times and checks every update.

Made by `classic.py`, called by the connection for each message. It sends nothing until its connection is lost.
Then it comes back as a client of `execgate.1`, to whichever target has its turn, and asks for what follows its
position, so that a stream is one over all its connections. A server that names no position is not asked.
"""

import time
from typing import Any

import ujson

from execgate.measure.clocks import Reading, read_clock
from execgate.wire import events
from loadgen.client import Closed, Connection
from loadgen.core.stream_check import StreamCheck
from loadgen.core.update import Update, read_update, update_of
from loadgen.crowd import Crowd, Member

BAD_MESSAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError)
"""What JSON of the wrong shape leads to; nothing of such a message was taken into account."""
_PREFIX = events.PLAIN.prefix.decode()
_ASK_FOR_STAMPS = events.encode_event(events.STAMPS_REQUEST, {})
_STATIONS = ("ts", "fed", "began", "written")


def data_bytes_of(text: str, data: Any, prefix: str = _PREFIX) -> int:
    """Return the length in bytes of the JSON of a message's `data`, as it was received after `prefix`."""
    if text.startswith(prefix):
        size = len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
        return size - len(prefix) - 1
    # Another server's spelling: rare enough to be serialised again.
    return len(ujson.dumps(data, ensure_ascii=False, escape_forward_slashes=False).encode())


class Subscriber(Member):
    """One subscriber of everything."""

    __slots__ = ("_asked", "_asked_stamps_ns", "_check", "_last", "_recording", "_tells_stamps")

    def __init__(self, crowd: Crowd, number: int) -> None:
        super().__init__(crowd, number, subprotocol=None)
        self._check = self.check = StreamCheck()
        self._asked = False  # this connection was asked for what follows our position, and has not answered yet
        self._recording = crowd.new_recording(number)
        self._last = (0, 0)  # seq and latency in microseconds of the last update
        self._tells_stamps = False  # whether this server does
        self._asked_stamps_ns = 0  # when it was asked; 0 while no answer is due

    def on_open(self, connection: Connection) -> None:
        """See `client.Listener`."""
        self._asked = self._tells_stamps = False
        self._asked_stamps_ns = 0
        super().on_open(connection)

    def on_close(self, closed: Closed) -> None:
        """See `client.Listener`."""
        if self._recording is not None:
            self._recording.closed(closed.code, closed.reason)
        if self._check.resume_point is not None:
            self.subprotocol = events.SUBPROTOCOL
        super().on_close(closed)

    def close(self) -> None:
        """Close the connection, if there is one; what comes on it yet is not written down."""
        if self._recording is not None:
            self._recording.end()
            self._recording = None
        super().close()

    def on_text(self, text: str, received_ns: int, doubt_ns: int) -> None:
        """Dispatch one event; what is not one is counted, and the client lives."""
        silence_ns = received_ns - self.heard_ns
        if silence_ns > self.crowd.noticed_ns:
            self.crowd.notice_silence(self, silence_ns)
        self.heard_ns = received_ns
        update = read_update(text) if text.startswith(_PREFIX) else None
        if update is not None:
            self._take_update(text, update, received_ns, doubt_ns)
            return
        try:
            message = ujson.loads(text)
            event = message["event"]
            data = message["data"]
            if event == events.RECEIVE:
                self._take_update(text, update_of(data), received_ns, doubt_ns, data)
            else:
                self._take_other(event, data)
        except BAD_MESSAGE:
            self.crowd.recorder.errors["bad message"] += 1

    def _take_update(
        self, text: str, update: Update, received_ns: int, doubt_ns: int, data: dict[str, Any] | None = None
    ) -> None:
        """Take an update; `data` is what it was made from, where another server spelled it in its own way."""
        crowd = self.crowd
        now_us = received_ns // 1000 + crowd.wall_offset_us
        born_us = update.timestamp * 1000 if update.ts_us is None else update.ts_us
        latency_us = int(now_us - born_us)
        size = data_bytes_of(text, data)
        # All of it is well-formed: only now does anything change.
        self._observe(update)
        if self._recording is not None:
            payload = text[len(_PREFIX) : -1] if text.startswith(_PREFIX) else text
            self._recording.update(update.epoch, update.seq, payload)
        self._last = (update.seq, latency_us)
        self._record(latency_us, size, doubt_ns // 1000)
        if crowd.metrics is not None:
            crowd.metrics.record(self.name, now_us / 1000 - update.timestamp, size)

    def _observe(self, update: Update) -> None:
        self._check.observe(update.epoch, update.seq)

    def _record(self, latency_us: int, data_bytes: int, doubt_us: int) -> None:
        self.crowd.recorder.update(latency_us, data_bytes, doubt_us)

    def _beat(self, epoch: str, seq: int, data: dict[str, Any]) -> None:  # noqa: ARG002
        self._check.pass_to(epoch, seq)

    def _miss(self, data: dict[str, Any]) -> None:
        if data["from"] is not None and data["to"] is not None:
            self._check.tell(int(data["from"]), int(data["to"]))

    def _take_other(self, event: str, data: dict[str, Any]) -> None:
        check, recording = self._check, self._recording
        if event == events.HEARTBEAT:
            self.crowd.recorder.heartbeats += 1
            if not self._asked:  # until it is answered, it is of a position that nothing was said about
                self._beat(str(data["epoch"]), int(data["seq"]), data)
            if recording is not None:
                recording.heartbeat(data)
        elif event == events.HELLO:
            self.name = str(data["address"])
            self._tells_stamps = data.get("stamps") is True
            self._ask(data)
        elif event == events.SUBSCRIBED:
            self._take_subscribed(data)
        elif event == events.GAP:
            self._miss(data)
            if recording is not None:
                recording.gap(data)
        elif event == events.FEED:
            if data["state"] == "epoch-changed":
                check.change_epoch(str(data["epoch"]))
            if recording is not None:
                recording.feed(data)
        elif event == events.STAMPS:
            self._take_stamps(data)
        elif event == events.ERROR:
            self.crowd.recorder.errors[f"server error {str(data.get('code'))[:40]}"] += 1

    def ask_for_stamps(self) -> bool:
        """Ask, if the server tells stamps and does not owe us an answer."""
        if self._connection is None or not self._tells_stamps or self._asked_stamps_ns:
            return False
        self._asked_stamps_ns = time.monotonic_ns()
        self._connection.send_text(_ASK_FOR_STAMPS)
        return True

    def _take_stamps(self, data: dict[str, Any]) -> None:
        """Take the server's time, and the hops of the update that came just before."""
        asked_ns, self._asked_stamps_ns = self._asked_stamps_ns, 0
        if not asked_ns:
            return
        recorder = self.crowd.recorder
        # Not `heard_ns`: the kernel's stamp is told by two clocks, too early where we were held up between them.
        now_ns = time.monotonic_ns()
        now_us = now_ns // 1000 + self.crowd.wall_offset_us
        gateway = read_clock(int(data["now_us"]), now_us, now_ns - asked_ns)
        told = data.get("publisher")  # its clock against the gateway's
        publisher = None if told is None else gateway.plus(Reading(told["uncertainty_us"], told["offset_us"]))
        recorder.clock(str(self.target), gateway, publisher)
        update, (seq, latency_us) = data["update"], self._last
        # What this client was not sent, or reads late from a backlog, is another update than the newest.
        if update is not None and update["seq"] == seq and update["epoch"] == self._check.epoch:
            recorder.hops(latency_us, *(int(update[f"{station}_us"]) for station in _STATIONS))

    def _ask(self, hello: dict[str, Any]) -> None:
        """Ask for what follows our position, where there is one."""
        point = self._check.resume_point
        since = None if point is None or self.subprotocol is None else {"epoch": point[0], "seq": point[1]}
        wanted = self._wanted(since)
        if wanted is not None and self._connection is not None:
            self._connection.send_text(events.encode_event(events.SUBSCRIBE, wanted))
        if since is not None:
            self._asked = True
            self.crowd.recorder.resumes += 1
        if self._recording is not None:
            self._recording.asked(hello.get("session"), since)

    def _wanted(self, since: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return the subscription to ask for, None where there is no need to."""
        return None if since is None else {"since": since}

    def _take_subscribed(self, data: dict[str, Any]) -> None:
        epoch, seq = str(data["epoch"]), int(data["seq"])
        if self._asked:
            self._asked = False
            told = data["gap"]
            gap = None if told is None else (int(told["from"]), None if told["to"] is None else int(told["to"]))
            self._check.resume(epoch, seq, gap)
            self.crowd.recorder.recovered += bool(data["recovered"])
        else:
            self._check.begin(epoch, seq)
        if self._recording is not None:
            self._recording.subscribed(data)
