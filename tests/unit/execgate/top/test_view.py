"""What `execgate top` makes of two looks."""

import pytest

from execgate.top.config import metrics_url
from execgate.top.view import OVER_S, Between, Look, rows, screen

GATEWAY = "execgate_gateway_"


def look(at_s: float, failure: str | None = None, **samples: float) -> Look:
    return Look("box:9124", at_s, {(name, ""): value for name, value in samples.items()}, failure)


def gateway_look(**samples: float) -> Look:
    return Look("box:9124", 1, {(f"{GATEWAY}{name}", ""): value for name, value in samples.items()}, None)


def buckets(name: str, at_s: float, counts: dict[str, float]) -> Look:
    return Look("box:9124", at_s, {(f"{name}_bucket", bound): count for bound, count in counts.items()}, None)


def test_a_rate_is_over_the_time_between_the_looks() -> None:
    assert Between(look(10, c_total=100), look(12, c_total=150)).rate("c_total") == 25


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (look(10), look(12, c_total=150)),  # it was not there
        (look(10, c_total=100), look(12, c_total=50)),  # the process is another one
        (look(10, c_total=100), look(10, c_total=150)),
    ],
)
def test_there_is_no_rate_where_a_counter_can_not_be_compared(before: Look, after: Look) -> None:
    assert Between(before, after).rate("c_total") is None


def test_a_rate_is_of_all_values_of_the_label_or_of_one() -> None:
    before, after = (
        Look("box", at_s, {("c_total", "slow"): slow, ("c_total", "ended"): ended}, None)
        for at_s, slow, ended in ((0, 1, 2), (1, 4, 4))
    )
    assert Between(before, after).rate("c_total") == 5
    assert Between(before, after).rate("c_total", "slow") == 3


def test_the_99th_percentile_is_of_what_came_between_the_looks() -> None:
    slow_before = buckets("d", 0, {"0.001": 0, "0.01": 0, "10.0": 500, "+Inf": 500})
    after = buckets("d", 1, {"0.001": 98, "0.01": 100, "10.0": 600, "+Inf": 600})
    assert Between(slow_before, after).p99("d") == 0.01
    assert Between(after, after).p99("d") is None
    assert Between(slow_before, buckets("d", 1, {"10.0": 500, "+Inf": 501})).p99("d") == OVER_S


def test_each_process_has_its_row_and_who_gives_none_says_why() -> None:
    gateway = gateway_look(ready=1, workers=2)
    publisher = look(1, execgate_publisher_ready=1, execgate_publisher_seq=1042)
    looks = [gateway, publisher, look(1, node_load1=3), look(1, failure="Connection refused")]
    found = rows(looks, looks)
    assert [row["ready"] for row in found["gateways"]] == [1]
    assert [row["seq"] for row in found["publishers"]] == [1042]
    assert [row["why"] for row in found["silent"]] == ["its metrics are not of execgate", "Connection refused"]


def test_no_line_is_wider_than_the_terminal_and_what_is_unknown_is_a_dash() -> None:
    gateway = gateway_look(ready=1, queue_bytes=5 * 2**20)
    lines = screen(rows([gateway], [gateway]), 300)
    assert len(lines[0]) == len(lines[1])
    assert lines[1].split()[:4] == ["box:9124", "1", "-", "-"]
    assert "5.0" in lines[1]
    assert all(len(line) <= 30 for line in screen(rows([gateway], [gateway]), 30))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:9124", "http://127.0.0.1:9124/metrics"),
        ("http://gw", "http://gw/metrics"),
        ("https://gw:1/other", "https://gw:1/other"),
        ("[::1]:9124", "http://[::1]:9124/metrics"),
    ],
)
def test_an_address_is_enough(text: str, url: str) -> None:
    assert metrics_url(text) == url


@pytest.mark.parametrize("text", ["", "box", "box:http", "ftp://box:1", "http://", "9124"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        metrics_url(text)
