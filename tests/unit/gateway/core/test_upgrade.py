"""The handshake: RFC 6455's own example passes, everything else is refused with a status and a reason."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from gateway.core.upgrade import Acceptance, Refusal, decide

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
GOOD = {
    "Host": "gateway.example:8124",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def judge(change: dict[str, str | None], *, method: str = "GET", allowed: Any = ()) -> Acceptance | Refusal:
    headers = {name: value for name, value in (GOOD | change).items() if value is not None}
    return decide(method, HTTPHeaders(headers), allowed)


def test_the_example_of_the_rfc_is_answered_as_the_rfc_does() -> None:
    decision = judge({})
    assert decision == Acceptance(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        False,
    )


@pytest.mark.parametrize("offered", ["execgate.1", "other, execgate.1", "execgate.1,other"])
def test_our_subprotocol_is_chosen_where_it_is_offered(offered: str) -> None:
    decision = judge({"Sec-WebSocket-Protocol": offered})
    assert isinstance(decision, Acceptance)
    assert decision.has_subprotocol
    assert b"\r\nSec-WebSocket-Protocol: execgate.1\r\n" in decision.head


@pytest.mark.parametrize("offered", ["", "execgate.10", "EXECGATE.1", "execgate"])
def test_another_subprotocol_is_not_chosen(offered: str) -> None:
    decision = judge({"Sec-WebSocket-Protocol": offered})
    assert isinstance(decision, Acceptance)
    assert not decision.has_subprotocol
    assert b"Protocol:" not in decision.head


@pytest.mark.parametrize(
    "change",
    [
        {"Upgrade": "WebSocket"},
        {"Upgrade": "h2c, websocket"},
        {"Connection": "keep-alive, upgrade"},
    ],
    ids=str,
)
def test_lists_and_cases_of_the_headers_do_not_matter(change: dict[str, str | None]) -> None:
    assert isinstance(judge(change), Acceptance)


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"Upgrade": None}, 426, "expected a WebSocket handshake"),
        ({"Upgrade": "websockets"}, 426, "expected a WebSocket handshake"),
        ({"Connection": None}, 400, "Connection: expected Upgrade"),
        ({"Connection": "close"}, 400, "Connection: expected Upgrade"),
        ({"Sec-WebSocket-Version": None}, 426, "Sec-WebSocket-Version '': expected 13"),
        ({"Sec-WebSocket-Version": "8"}, 426, "Sec-WebSocket-Version '8': expected 13"),
        ({"Sec-WebSocket-Key": None}, 400, "Sec-WebSocket-Key: expected 16 bytes in base64"),
        ({"Sec-WebSocket-Key": "c2hvcnQ="}, 400, "expected 16 bytes"),
        ({"Sec-WebSocket-Key": "not base64 at all!"}, 400, "expected 16 bytes"),
        ({"Sec-WebSocket-Key": "ü" * 24}, 400, "expected 16 bytes"),
        ({"Sec-WebSocket-Key": f"{KEY},{KEY}"}, 400, "expected 16 bytes"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, str | None], status: int, reason: str) -> None:
    decision = judge(change)
    assert isinstance(decision, Refusal)
    assert (decision.status, decision.kind) == (status, "handshake")
    assert reason in decision.reason


def test_refusals_name_what_would_be_taken_in_the_headers_that_http_has_for_it() -> None:
    version, post, plain = (
        judge({"Sec-WebSocket-Version": "8"}),
        judge({}, method="POST"),
        judge({"Upgrade": None}),
    )
    assert isinstance(version, Refusal)
    assert version.headers == {"Sec-WebSocket-Version": "13"}
    assert isinstance(post, Refusal)
    assert (post.status, post.headers) == (405, {"Allow": "GET"})
    assert isinstance(plain, Refusal)
    assert plain.headers == {"Upgrade": "websocket"}


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, ()),
        ("http://gateway.example:8124", ()),
        ("https://GATEWAY.example:8124", ()),
        ("https://desk.example", ("https://desk.example",)),
        ("null", ("null",)),
        ("http://anything", ("*",)),
    ],
)
def test_an_origin_of_the_same_host_of_the_list_or_of_no_browser_passes(origin: str | None, allowed: Any) -> None:
    assert isinstance(judge({"Origin": origin}, allowed=allowed), Acceptance)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "http://gateway.example",
        "http://gateway.example:8125",
        "http://gateway.example:8124.evil.example",
        "http://user@gateway.example:8124",
        "http://evil.example/?gateway.example:8124",
        "ftp://gateway.example:8124",
        "//gateway.example:8124",
        "gateway.example:8124",
        "https://desk.example.evil.example",
        "https://desk.example/",
        "http://[bad",
    ],
)
def test_any_other_origin_is_refused(origin: str) -> None:
    decision = judge({"Origin": origin}, allowed=("https://desk.example",))
    assert isinstance(decision, Refusal)
    assert (decision.status, decision.kind) == (403, "origin")


def test_without_a_host_no_origin_is_the_same() -> None:
    assert isinstance(judge({"Host": None, "Origin": "http://"}), Refusal)


@given(st.dictionaries(st.sampled_from([*GOOD, "Origin", "Sec-WebSocket-Protocol"]), st.text()), st.text())
def test_any_headers_give_a_decision(headers: dict[str, str], method: str) -> None:
    for base in ({}, GOOD):
        decision = decide(method or "GET", base | headers, ())
        assert isinstance(decision, Acceptance | Refusal)
        if isinstance(decision, Acceptance):
            assert decision.head.count(b"\r\n\r\n") == 1
