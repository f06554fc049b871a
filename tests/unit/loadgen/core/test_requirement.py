"""Requirements: what may be asked, what is refused, and what becomes of each."""

import pytest

from loadgen.core.figures import Figures
from loadgen.core.requirement import parse_requirement
from tests.unit.loadgen.core.making import histogram, record

FIGURES = Figures(
    [
        record(
            delivery_us=histogram([*[10_000] * 989, *[60_000] * 11]),
            response_us=histogram([5_000] * 30),
            connect_response_us=histogram([800, 900]),
            missing=2,
            delivered=1000,
            orders_sent=30,
            orders_answered=30,
        )
    ]
)


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("p50<50ms", True),
        ("p99<50ms", False),
        ("delivery.p99 <= 61 ms", True),
        ("p90>=10ms", True),
        ("max<0.07s", True),
        ("max<60000us", False),
        ("p99.9<1s", None),
        ("order.p50<6ms", True),
        ("order.p99<6ms", None),
        ("order_service.max<1s", None),
        ("connect.max<1ms", True),
        ("lost==0", False),
        ("lost == 2", True),
        ("missing!=2", False),
        ("duplicates==0", True),
        ("orders_unanswered==0", True),
        ("delivered_per_s>=1000", True),
        ("delivered_per_s>1000.5", False),
    ],
)
def test_it_holds_or_breaks_or_cannot_be_told(text: str, held: bool | None) -> None:
    judged = parse_requirement(text).judge(FIGURES)
    assert (judged.text, judged.held) == (text, held)


def test_what_was_found_is_said() -> None:
    assert parse_requirement("p50<50ms").judge(FIGURES).found == "10.007 ms of 1000 samples"
    assert parse_requirement("p99.9<1s").judge(FIGURES).found == "1000 samples, and it takes 10000 to tell"
    assert parse_requirement("lost==0").judge(FIGURES).found == "2"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected NAME"),
        ("p99", "expected NAME"),
        ("p99<50", "p99 needs a unit: us, ms or s"),
        ("p99<50min", "p99 needs a unit"),
        ("p99=50ms", "expected NAME"),
        ("p99<-1ms", "expected NAME"),
        ("p0<50ms", "expected NAME"),
        ("p100<50ms", "expected NAME"),
        ("nothing.p99<50ms", "expected NAME"),
        ("lost==0ms", "lost has no unit"),
        ("latency<5ms", "expected NAME"),
    ],
)
def test_what_is_no_requirement_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_requirement(text)


@pytest.mark.parametrize(
    ("text", "subscribers", "orders", "senseless"),
    [
        ("p99<50ms", 0, True, True),
        ("p99<50ms", 1, False, False),
        ("order.p99<50ms", 5, False, True),
        ("orders_unanswered==0", 5, False, True),
        ("order_service.p99<50ms", 0, True, False),
        ("errors==0", 0, True, False),
    ],
)
def test_a_load_that_cannot_tell_is_refused(text: str, subscribers: int, orders: bool, senseless: bool) -> None:
    assert bool(parse_requirement(text).why_senseless(subscribers=subscribers, orders=orders)) == senseless
