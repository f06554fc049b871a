"""An update as it travels from the publisher to the gateways: four ZeroMQ frames.

The publisher encodes, the gateway's feed decodes. The payload is never looked into on this road: it was
serialised once, when the update was stamped, and reaches subscribers as the same bytes.
"""

import re
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from execgate.wire.errors import UpdateError

MAGIC = b"XG"
VERSION = 1
MAX_SEQ = 2**53 - 1
"""seq and tseq stay below 2^53, so that a JavaScript number holds them exactly."""

# magic, version, type, flags, publisher id, epoch, seq, tseq, ts_us; network order.
_HEADER = struct.Struct("!2sBBHHQQQQ")
HEADER_BYTES = _HEADER.size
_EPOCH_TEXT = re.compile("[0-9a-f]{16}")
FRAME_COUNT = 4


class Kind(IntEnum):
    """What a message on the feed is."""

    DATA = 1
    HEARTBEAT = 2
    EPOCH = 3
    BYE = 4


class Update(NamedTuple):
    """One message of the feed. For anything but DATA, `seq` is the last seq that was published.

    Attributes:
        topic: opaque to gateways, ends in a delimiter; empty unless DATA.
        epoch: u64 that names one life of the publisher's numbering.
        seq: contiguous in the epoch, from 1; `tseq` the same within the topic.
        ts_us: wall-clock microseconds since 1970, when the update was stamped.
        key: conflation key; empty is never conflated.
        payload: the `data` object of `receive-execs` as UTF-8 JSON; empty unless DATA.
    """

    kind: int
    topic: bytes
    epoch: int
    seq: int
    tseq: int
    ts_us: int
    key: bytes
    payload: bytes


def encode(update: Update, publisher_id: int = 0) -> list[bytes]:
    """Return the four frames of `update`, ready for `send_multipart`."""
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        update.kind,
        0,
        publisher_id,
        update.epoch,
        update.seq,
        update.tseq,
        update.ts_us,
    )
    return [update.topic, header, update.key, update.payload]


_KINDS = frozenset(Kind)


def decode(frames: Sequence[bytes]) -> Update:
    """Read the frames of one ZeroMQ message.

    Raises:
        UpdateError: not four frames, or a header of another magic, version, length or type, or a seq out of
            bounds.
    """
    if len(frames) != FRAME_COUNT:
        raise UpdateError(f"{len(frames)} frames, expected {FRAME_COUNT}")
    topic, header, key, payload = frames
    if len(header) != HEADER_BYTES:
        raise UpdateError(f"a header of {len(header)} bytes, expected {HEADER_BYTES}")
    magic, version, kind, _flags, _publisher, epoch, seq, tseq, ts_us = _HEADER.unpack(header)
    if magic != MAGIC:
        raise UpdateError(f"magic {magic!r}, expected {MAGIC!r}")
    if version != VERSION:
        raise UpdateError(f"version {version}, expected {VERSION}")
    if kind not in _KINDS:
        raise UpdateError(f"type {kind}, expected one of {sorted(_KINDS)}")
    if seq > MAX_SEQ or tseq > MAX_SEQ:
        raise UpdateError(f"seq {seq}, tseq {tseq}: expected at most {MAX_SEQ}")
    if kind == Kind.DATA and not (seq and tseq):
        raise UpdateError(f"seq {seq}, tseq {tseq}: expected an update's to count from 1")
    return Update(kind, topic, epoch, seq, tseq, ts_us, key, payload)


def epoch_text(epoch: int) -> str:
    """Return the epoch as it stands in JSON: 16 lower-case hex digits."""
    return f"{epoch:016x}"


def epoch_of(text: object) -> int | None:
    """Return the epoch that `epoch_text` made into `text`; None where that is none."""
    return int(text, 16) if type(text) is str and _EPOCH_TEXT.fullmatch(text) else None


def fitting(updates: Sequence[Update], max_bytes: int) -> list[Update]:
    """Return as many of `updates`, from the first on, as fit into `max_bytes` of payload, and at least one."""
    size = 0
    for count, update in enumerate(updates):
        size += len(update.payload)
        if size > max_bytes and count:
            return list(updates[:count])
    return list(updates)
