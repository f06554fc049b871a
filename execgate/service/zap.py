"""ZAP (https://rfc.zeromq.org/spec/27): ZeroMQ asks here whether a peer that has shown its CURVE key may come in.

One handler a context, on the running loop, made before its sockets bind. A domain is a directory of public keys,
read again when a key is added or removed, so that a new gateway needs no restart of the publisher. (pyzmq's own
authenticators run `zmq.asyncio` or a thread, log each refusal, and wait to be told of a new key.)
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import zmq
from zmq.utils import z85

from execgate.service import curve
from execgate.service.logs import Throttle
from execgate.wire.errors import UsageError

_LOG = logging.getLogger("execgate.zap")
_REQUESTS_A_TURN = 100
_REREAD_S = 1.0
"""Between two readings of a directory, however many knock meanwhile."""
_FRAMES = 7  # version, request id, domain, address, identity, mechanism, and CURVE's one credential


class Allowed:
    """The public keys of one directory.

    Raises:
        UsageError: it can't be read.
    """

    def __init__(self, flag: str, path: str) -> None:
        self._flag = flag
        self._path = path
        self._changed_ns: int | None = self._look()
        self._read_s = time.monotonic()
        self._names = curve.load_directory(flag, path)

    def name_of(self, key: bytes) -> str | None:
        """Return the name of a key that may come in, None for any other."""
        changed_ns, now_s = self._look(), time.monotonic()
        if changed_ns != self._changed_ns and now_s - self._read_s >= _REREAD_S:
            self._read_s = now_s
            self._read_again(changed_ns)
        return self._names.get(key)

    def _read_again(self, changed_ns: int) -> None:
        try:
            self._names = curve.load_directory(self._flag, self._path)
        except UsageError as error:  # perhaps a key is still being written: tried again; the keys before stay
            self._changed_ns = None
            _LOG.error("keys not read again, those before stay: %s", error)
            return
        self._changed_ns = changed_ns
        _LOG.info("%s %s read again keys=%d", self._flag, self._path, len(self._names))

    def _look(self) -> int:
        """When the directory last changed; 0 where it is not there."""
        try:
            return Path(self._path).stat().st_mtime_ns
        except OSError:
            return 0


class Zap:
    """The handler of one context.

    Args:
        context: its ZeroMQ context, which stays the caller's.
        domains: who may come in, by the domain that a socket was secured with.

    Attributes:
        counts: `allowed` and `refused`. A peer that does not speak CURVE is refused by ZeroMQ without a question.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", domains: Mapping[str, Allowed]) -> None:
        self.counts: Counter[str] = Counter()
        self._domains = domains
        self._refusals = Throttle(_LOG)
        self._again: asyncio.Handle | None = None
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind("inproc://zeromq.zap.01")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._answer)

    def close(self) -> None:
        """Answer no more: from now on nobody gets in."""
        self._loop.remove_reader(self._socket.fileno())
        if self._again is not None:
            self._again.cancel()
        self._socket.close()

    def _answer(self) -> None:
        try:
            for _ in range(_REQUESTS_A_TURN):
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
                self._socket.send_multipart(self._verdict(frames))
        except zmq.Again:
            return
        self._again = self._loop.call_soon(self._answer)

    def _verdict(self, frames: Sequence[bytes]) -> list[bytes]:
        """Judge one request; ZeroMQ itself made it, so only its key is the peer's."""
        version, request_id, domain, address, _identity, mechanism = frames[:6]
        name = None
        if mechanism == b"CURVE" and len(frames) == _FRAMES and (allowed := self._domains.get(domain.decode())):
            key = z85.encode(frames[6])
            name = allowed.name_of(key)
            if name is None:
                self._refusals.warning(
                    "refused address=%s domain=%s key=%s: not among the keys that may connect",
                    address.decode(errors="replace"),
                    domain.decode(),
                    key.decode(),
                )
        if name is None:
            self.counts["refused"] += 1
            # Final for libzmq's client, which does not come again by itself. (A 300 would have it come again, and
            # libzmq 4.3.5 then keeps the refused connection open, past HANDSHAKE_IVL.)
            return [version, request_id, b"400", b"key not allowed", b"", b""]
        self.counts["allowed"] += 1
        return [version, request_id, b"200", b"OK", name.encode(), b""]
