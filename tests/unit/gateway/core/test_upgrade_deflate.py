"""The handshake's answer to offers of permessage-deflate; `execgate.wire.deflate` has the rules of an offer."""

import pytest
from tornado.httputil import HTTPHeaders

from gateway.core.upgrade import Acceptance, Refusal, decide
from tests.unit.gateway.core.test_upgrade import GOOD


def judge(*offers: str, may_deflate: bool = True) -> Acceptance | Refusal:
    headers = HTTPHeaders(GOOD)
    for offer in offers:
        headers.add("Sec-WebSocket-Extensions", offer)
    return decide("GET", headers, (), may_deflate=may_deflate)


@pytest.mark.parametrize(
    ("offers", "bits"),
    [
        (["permessage-deflate; client_max_window_bits"], 12),
        (["permessage-deflate; server_max_window_bits=9"], 9),
        (["other", "permessage-deflate"], 12),  # a header in two lines is one list
    ],
)
def test_an_accepted_offer_is_named_in_the_answer(offers: list[str], bits: int) -> None:
    decision = judge(*offers)
    assert isinstance(decision, Acceptance)
    assert decision.deflate_bits == bits
    assert decision.head.count(b"\r\nSec-WebSocket-Extensions: permessage-deflate; ") == 1
    assert f"server_max_window_bits={bits}\r\n".encode() in decision.head
    assert decision.head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("offers", "may_deflate"), [([], True), (["other"], True), (["permessage-deflate"], False)]
)
def test_nothing_is_named_where_nothing_was_agreed_on(offers: list[str], may_deflate: bool) -> None:
    decision = judge(*offers, may_deflate=may_deflate)
    assert isinstance(decision, Acceptance)
    assert decision.deflate_bits == 0
    assert b"Extensions" not in decision.head


def test_a_header_against_the_grammar_is_refused() -> None:
    decision = judge("permessage-deflate; =")
    assert isinstance(decision, Refusal)
    assert (decision.status, decision.kind) == (400, "handshake")
