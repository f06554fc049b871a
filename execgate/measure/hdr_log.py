"""HdrHistogram's text log of histograms, an interval a line, as its own tools in any language open it.

`Histogram` has the very buckets of an HdrHistogram of three digits that counts from 1 to `MAX_VALUE`, so nothing
is converted: the counts are written out in its "V2" encoding, compressed, in base64.
"""

import struct
import zlib
from base64 import b64encode
from datetime import UTC, datetime

from execgate.measure.histogram import MAX_VALUE, Histogram

_COOKIE = 0x1C849303 | 0x10  # V2, and its compressed form; 0x10 says that counts are of variable length
_COMPRESSED_COOKIE = 0x1C849304 | 0x10
_DIGITS = 3
_HEAD = struct.Struct(">iiiiqqd")  # cookie, length, index offset, digits, lowest, highest, integer-to-double ratio
_LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
_US_PER_MS = 1000.0


def encode(histogram: Histogram) -> str:
    """Return a histogram as HdrHistogram tools exchange it: compressed, in base64."""
    counts = _counts(histogram)
    plain = _HEAD.pack(_COOKIE, len(counts), 0, _DIGITS, 1, MAX_VALUE, 1.0) + counts
    compressed = zlib.compress(plain)
    return b64encode(struct.pack(">ii", _COMPRESSED_COOKIE, len(compressed)) + compressed).decode()


def heading(what: str, start_s: float) -> str:
    """Return the lines that begin a log.

    Args:
        what: says what is measured, in one line.
        start_s: wall-clock seconds since 1970 from which the lines' times count.
    """
    date = datetime.fromtimestamp(start_s, UTC).strftime("%a %b %d %H:%M:%S UTC %Y")
    return (
        f"#[{what}, in microseconds; Interval_Max is in milliseconds]\n"
        "#[Histogram log format version 1.3]\n"
        f"#[StartTime: {start_s:.3f} (seconds since epoch), {date}]\n"
        f"#[BaseTime: {start_s:.3f} (seconds since epoch)]\n"
        f"{_LEGEND}\n"
    )


def line(from_s: float, seconds: float, histogram: Histogram) -> str:
    """Return the line of one interval of microseconds.

    Args:
        from_s: when it began, in seconds after the log's start.
        seconds: its length.
        histogram: of that interval alone.
    """
    greatest_ms = (histogram.percentile(100) or 0) / _US_PER_MS
    return f"{from_s:.3f},{seconds:.3f},{greatest_ms:.3f},{encode(histogram)}\n"


def _counts(histogram: Histogram) -> bytes:
    """The counts up to the last that is not 0; two or more zeros in a row stand as their negated number."""
    words = bytearray()
    expected = 0
    for bucket, count in histogram.sparse().items():
        zeros = bucket - expected
        if zeros:
            words += _variable_length(-zeros if zeros > 1 else 0)
        words += _variable_length(count)
        expected = bucket + 1
    return bytes(words) or _variable_length(0)


def _variable_length(value: int) -> bytes:
    """ZigZag, then seven bits a byte, the lowest first; a ninth byte is whole (theirs is called LEB128-64b9B)."""
    rest = value << 1 if value >= 0 else (-value << 1) - 1
    word = bytearray()
    while rest > 0x7F and len(word) < 8:
        word.append(rest & 0x7F | 0x80)
        rest >>= 7
    word.append(rest)
    return bytes(word)
