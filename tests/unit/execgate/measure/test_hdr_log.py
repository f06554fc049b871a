"""HdrHistogram's log: its reference writes the same bytes, and its Python package reads them."""

import platform
import zlib
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execgate.measure import hdr_log
from execgate.measure.histogram import MAX_VALUE, Histogram

values = st.one_of(st.integers(0, 5000), st.integers(0, MAX_VALUE), st.sampled_from([0, 1, 2047, 2048, MAX_VALUE]))
counts = st.one_of(st.integers(1, 200), st.integers(1, 1 << 40))


def theirs() -> Any:
    """HdrHistogram's package; it has wheels for x86-64 alone."""
    if platform.machine() != "x86_64":
        pytest.importorskip("hdrh.histogram", reason="hdrhistogram has no wheel for this processor")
    import hdrh.histogram

    return hdrh.histogram.HdrHistogram


def recorded(*numbers: int) -> Histogram:
    histogram = Histogram()
    for number in numbers:
        histogram.record(number)
    return histogram


# What HdrHistogram 2.2.2 (Java, the reference) encodes of the same values, before it is compressed.
HEAD = "0000000000000003000000000000000100000000ffffffff3ff0000000000000"
KNOWN = [
    ((1, 5, 2047, 2048, 5000, 1_000_000), "0000000e", "00020502f11f0202c11302fb7a02"),
    ((), "00000001", "00"),
    ((0, 0, 0, 3, MAX_VALUE), "00000007", "060302f5ef0202"),
    ((7, 9, 9, 1 << 20), "00000008", "0d020004ebaf0102"),
]


@pytest.mark.parametrize(("numbers", "length", "counts"), KNOWN)
def test_an_encoding_is_that_of_the_reference_byte_for_byte(
    numbers: tuple[int, ...], length: str, counts: str
) -> None:
    encoded = b64decode(hdr_log.encode(recorded(*numbers)))
    assert encoded[:4].hex() == "1c849314"
    assert int.from_bytes(encoded[4:8]) == len(encoded) - 8
    assert zlib.decompress(encoded[8:]).hex() == "1c849313" + length + HEAD + counts


@settings(max_examples=12, deadline=None)
@given(st.dictionaries(values, counts, max_size=12))
def test_their_package_decodes_every_count(wanted: dict[int, int]) -> None:
    hdr_histogram = theirs()
    ours, reference = Histogram(), hdr_histogram(1, MAX_VALUE, 3)
    for value, count in wanted.items():
        ours.add([(bucket, count) for bucket in recorded(value).sparse()])
        reference.record_value(value, count)
    decoded = hdr_histogram.decode(hdr_log.encode(ours))
    assert decoded.get_total_count() == ours.count
    assert decoded.equals(reference)
    assert decoded.get_value_at_percentile(99) == (ours.percentile(99) or 0)


def test_their_reader_opens_a_log_with_its_times(tmp_path: Path) -> None:
    hdr_histogram = theirs()
    from hdrh.log import HistogramLogReader

    path = tmp_path / "delivery.hlog"
    intervals = [(0.0, 1.0, recorded(1, 2, 3)), (1.0, 0.5, recorded(70_000)), (1.5, 1.0, recorded(5, 5))]
    path.write_text(
        hdr_log.heading("delivery latency", 1_700_000_000.25)
        + "".join(hdr_log.line(*interval) for interval in intervals)
    )
    reader = HistogramLogReader(str(path), hdr_histogram(1, MAX_VALUE, 3))
    read = []
    while (interval := reader.get_next_interval_histogram()) is not None:
        read.append(interval)
    reader.close()
    assert [interval.get_total_count() for interval in read] == [3, 1, 2]
    starts = [interval.get_start_time_stamp() / 1000 - 1_700_000_000.25 for interval in read]
    assert starts == pytest.approx([0.0, 1.0, 1.5])
    assert read[1].get_end_time_stamp() - read[1].get_start_time_stamp() == pytest.approx(500)
    assert read[1].get_max_value() == pytest.approx(70_000, rel=0.001)


def test_a_line_says_the_greatest_in_milliseconds() -> None:
    assert hdr_log.line(2.0, 1.0, recorded(1500, 2000)).startswith("2.000,1.000,2.000,HISTF")
