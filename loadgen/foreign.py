"""A subscriber of a server that is not ours: it reads what an adapter finds, and says what it was given to say.

Made by `run.py` in the place of `subscriber.py`'s, called by the connection for each message.
"""

from loadgen.client import Connection
from loadgen.core.adapter import BAD_SEQ, Adapter
from loadgen.core.stream_check import StreamCheck
from loadgen.crowd import Crowd, Member

_EPOCH = ""
"""A sequence that begins anew is not told apart from one that goes backwards."""


class ForeignSubscriber(Member):
    """One subscriber of whatever the server sends it.

    The stream is one over all connections of a client: what passes while it is away is lost.
    """

    __slots__ = ("_adapter", "_check")

    def __init__(self, crowd: Crowd, number: int, adapter: Adapter) -> None:
        super().__init__(crowd, number, adapter.subprotocol)
        self._check = self.check = StreamCheck()
        self._adapter = adapter

    def on_open(self, connection: Connection) -> None:
        """See `client.Listener`."""
        super().on_open(connection)
        for message in self._adapter.on_open:
            connection.send_text(message)

    def on_text(self, text: str, received_ns: int, doubt_ns: int) -> None:
        """Answer it, or take the updates in it; what is neither is counted."""
        crowd = self.crowd
        silence_ns = received_ns - self.heard_ns
        if silence_ns > crowd.noticed_ns:
            crowd.notice_silence(self, silence_ns)
        self.heard_ns = received_ns
        reply = self._adapter.replies.get(text)
        if reply is not None:
            crowd.recorder.heartbeats += 1
            if self._connection is not None:
                self._connection.send_text(reply)
            return
        readings = self._adapter.read(text)
        if not readings:
            crowd.recorder.other += 1
            return
        now_us = received_ns // 1000 + crowd.wall_offset_us
        size = (len(text) if text.isascii() else len(text.encode())) // len(readings)
        for seq, ts_us, problem in readings:
            if problem:
                crowd.recorder.errors[problem] += 1
            if problem == BAD_SEQ:
                continue
            if seq is None:
                crowd.recorder.unnumbered += 1
            else:
                self._check.observe(_EPOCH, seq)
            crowd.recorder.update(None if ts_us is None else now_us - ts_us, size, doubt_ns // 1000)
