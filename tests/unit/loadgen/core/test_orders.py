"""The order book: every order ends exactly once, and the sums always balance."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from loadgen.core.orders import OrderBook, Times

TIMEOUT_NS = 100


def test_an_answer_is_timed_from_the_send_and_from_when_it_was_due() -> None:
    book = OrderBook(TIMEOUT_NS)
    book.send(1, client=7, intended_ns=10, sent_ns=30)
    assert book.answer(1, 7, 50) == Times(service_ns=20, response_ns=40)
    assert (book.sent, book.answered, book.outstanding) == (1, 1, 0)


def test_a_rejection_is_an_end_of_its_own() -> None:
    book = OrderBook(TIMEOUT_NS)
    book.send(1, 7, 0, 0)
    assert book.answer(1, 7, 50, rejected=True) is not None
    assert (book.answered, book.rejected) == (0, 1)


@pytest.mark.parametrize("looked", [True, False])
def test_the_deadline_decides_and_not_when_somebody_looks(looked: bool) -> None:
    book = OrderBook(TIMEOUT_NS)
    book.send(1, 7, 0, 0)
    if looked:
        assert book.expire(TIMEOUT_NS) == 1
    assert book.answer(1, 7, TIMEOUT_NS) is None
    assert (book.timed_out, book.late, book.unexpected, book.answered) == (1, 1, 0, 0)


def test_only_what_is_due_expires() -> None:
    book = OrderBook(TIMEOUT_NS)
    book.send(1, 7, 0, 0)
    book.send(2, 7, 0, 50)
    assert book.expire(TIMEOUT_NS - 1) == 0
    assert book.expire(TIMEOUT_NS) == 1
    assert book.outstanding == 1


def test_a_second_answer_and_another_clients_end_nothing() -> None:
    book = OrderBook(TIMEOUT_NS)
    book.send(1, 7, 0, 0)
    assert book.answer(1, 8, 10) is None
    assert book.outstanding == 1
    assert book.answer(1, 7, 10) is not None
    assert book.answer(1, 7, 11) is None
    assert (book.answered, book.unexpected) == (1, 2)


def test_a_disconnect_ends_that_clients_orders_alone() -> None:
    book = OrderBook(TIMEOUT_NS)
    for request in (1, 2):
        book.send(request, 7, 0, 0)
    book.send(3, 8, 0, 0)
    assert book.disconnect(7) == 2
    assert book.disconnect(7) == 0
    assert (book.disconnected, book.outstanding) == (2, 1)
    assert book.answer(1, 7, 10) is None
    assert book.unexpected == 1


def test_it_is_bounded() -> None:
    book = OrderBook(TIMEOUT_NS, capacity=3)
    for round_ in range(5):
        for number in range(3):
            assert not book.full
            book.send(round_ * 3 + number, 7, 0, round_ * TIMEOUT_NS)
        assert book.full
        with pytest.raises(ValueError, match="full"):
            book.send(99, 7, 0, 0)
        book.expire((round_ + 1) * TIMEOUT_NS)
    assert len(book._overdue) == 3
    assert not book._by_client


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: sent = the four ends + outstanding, and each end is final."""

    def __init__(self) -> None:
        super().__init__()
        self.book = OrderBook(TIMEOUT_NS, capacity=8)
        self.now_ns = 0
        self.next_request = 0

    @rule(client=st.integers(0, 2))
    def send(self, client: int) -> None:
        if not self.book.full:
            self.book.send(self.next_request, client, self.now_ns, self.now_ns)
            self.next_request += 1

    @rule(request=st.integers(0, 30), client=st.integers(0, 2), rejected=st.booleans())
    def answer(self, request: int, client: int, rejected: bool) -> None:
        before = self.book.answered + self.book.rejected
        times = self.book.answer(request, client, self.now_ns, rejected=rejected)
        assert self.book.answered + self.book.rejected - before == (times is not None)

    @rule(by_ns=st.integers(0, 150))
    def pass_time(self, by_ns: int) -> None:
        self.now_ns += by_ns

    @rule()
    def expire(self) -> None:
        self.book.expire(self.now_ns)

    @rule(client=st.integers(0, 2))
    def disconnect(self, client: int) -> None:
        self.book.disconnect(client)

    @invariant()
    def sums_balance(self) -> None:
        book = self.book
        ends = book.answered + book.rejected + book.timed_out + book.disconnected
        assert book.sent == self.next_request == ends + book.outstanding
        assert sum(len(requests) for requests in book._by_client.values()) == book.outstanding
        assert book.outstanding <= 8
        assert book.late <= book.timed_out


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=40)
