"""The order desk: every order ends exactly once, whoever is first: handler, deadline, or the session's end."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execgate.measure.classic import ClassicMetrics
from gateway import orders
from gateway.core.orders import Order, OrderStatus
from gateway.counters import Counters
from gateway.orders import MAX_PENDING, ImmediateHandler, OrderDesk, PendingOrder
from tests.unit.gateway.fakes import Owner

TIMEOUT_S = 5.0


class LateHandler:
    """Keeps orders until the test settles them."""

    def __init__(self) -> None:
        self.taken: list[PendingOrder] = []

    def submit(self, pending: PendingOrder) -> None:
        self.taken.append(pending)


class Clock:
    """Time and timers that only the test moves; the desk and the keepalive ask it instead of asyncio and time."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.now_s

    def get_running_loop(self) -> "Clock":
        return self

    def call_later(self, delay_s: float, call: Callable[[], None]) -> "Clock":
        self.timers.append((self.now_s + delay_s, call))
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def advance(self, seconds: float, late_s: float = 0.0) -> None:
        """Let time pass; each timer comes `late_s` late."""
        until_s = self.now_s + seconds
        while True:
            due = min(self.timers, key=lambda timer: timer[0], default=None)
            if due is None or due[0] + late_s > until_s:
                break
            self.timers.remove(due)
            self.now_s = max(self.now_s, due[0] + late_s)
            due[1]()
        self.now_s = until_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    with clock_in(orders) as clock:
        yield clock


def clock_in(module: object) -> "_Patched":
    return _Patched(module)


class _Patched:
    """Puts a Clock where `module` has asyncio and time; hypothesis needs a fresh one an example."""

    def __init__(self, module: object) -> None:
        self._module = module

    def __enter__(self) -> Clock:
        clock = Clock()
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(self._module, "asyncio", clock)
        self._patch.setattr(self._module, "time", clock)
        return clock

    def __exit__(self, *error: object) -> None:
        self._patch.undo()


def order(number: int = 1) -> Order:
    return Order(number, 999_990, "a", [{"symbol": "A"}], None, None, 100)


def desk(handler: orders.OrderHandler, metrics: ClassicMetrics | None = None) -> OrderDesk:
    return OrderDesk(handler, TIMEOUT_S, Counters(), metrics)


def is_empty(desk: OrderDesk) -> bool:
    return not desk._pending and not desk._per_connection


def test_an_order_settled_at_once_is_answered_at_once_and_leaves_nothing_behind(clock: Clock) -> None:
    owner, at = Owner(), desk(ImmediateHandler())
    at.place(order(), owner.as_connection)
    assert [(o.request, s, r) for o, s, r in owner.answers] == [(1, OrderStatus.ACCEPTED, None)]
    assert at._counters.orders == {"accepted": 1}
    assert is_empty(at)
    assert not clock.timers


def test_the_first_end_counts_and_later_ones_are_only_counted(clock: Clock) -> None:
    owner, handler = Owner(), LateHandler()
    at = desk(handler)
    at.place(order(), owner.as_connection)
    handler.taken[0].settle(OrderStatus.REJECTED, "no")
    handler.taken[0].settle(OrderStatus.ACCEPTED)
    clock.advance(2 * TIMEOUT_S)
    at.forget(owner.as_connection)
    assert [(s, r) for _, s, r in owner.answers] == [(OrderStatus.REJECTED, "no")]
    assert at._counters.orders == {"rejected": 1, "late": 1}
    assert is_empty(at)


def test_an_order_without_an_end_is_unknown_soon_after_its_deadline(clock: Clock) -> None:
    owner, handler = Owner(), LateHandler()
    at = desk(handler)
    at.place(order(), owner.as_connection)
    clock.advance(TIMEOUT_S - 0.01)
    assert owner.answers == []
    clock.advance(0.3)
    assert [(s, r) for _, s, r in owner.answers] == [(OrderStatus.UNKNOWN, "no answer within 5 s")]
    assert at._counters.order_s.sum_s == pytest.approx(TIMEOUT_S, abs=0.1)
    handler.taken[0].settle(OrderStatus.ACCEPTED)
    assert at._counters.orders == {"unknown": 1, "late": 1}
    assert sum(count for key, count in at._counters.order_s.figures().items() if key != "sum") == 1
    assert is_empty(at)
    assert not clock.timers, "nothing is swept where nothing waits"


def test_orders_of_a_session_that_ended_are_disconnected_and_those_of_others_go_on(clock: Clock) -> None:
    gone, other, handler = Owner(), Owner(), LateHandler()
    at = desk(handler)
    for owner in (gone, other, gone):
        at.place(order(), owner.as_connection)
    at.forget(gone.as_connection)
    at.forget(gone.as_connection)
    for pending in handler.taken:
        pending.settle(OrderStatus.ACCEPTED)
    assert gone.answers == []
    assert len(other.answers) == 1
    assert at._counters.orders == {"disconnected": 2, "accepted": 1, "late": 2}
    assert is_empty(at)


def test_orders_under_way_are_bounded_a_session(clock: Clock) -> None:
    owner, other, handler = Owner(), Owner(), LateHandler()
    at = desk(handler)
    taken = [at.place(order(number), owner.as_connection) for number in range(MAX_PENDING + 1)]
    assert taken == [True] * MAX_PENDING + [False]
    ((refused, status, reason),) = owner.answers
    assert (refused.request, status) == (MAX_PENDING, OrderStatus.REJECTED)
    assert reason == "100 orders of this session are under way"
    assert len(handler.taken) == MAX_PENDING
    at.place(order(), other.as_connection)
    handler.taken[0].settle(OrderStatus.ACCEPTED)
    at.place(order(), owner.as_connection)
    assert len(handler.taken) == MAX_PENDING + 2


def test_the_2012_figures_take_the_time_since_the_requests_timestamp(clock: Clock) -> None:
    metrics = ClassicMetrics(2)
    desk(ImmediateHandler(), metrics).place(order(), Owner().as_connection)
    summary = metrics.take()
    assert (summary.count, summary.average_ms, summary.average_size) == (1, 10, 100)


def test_a_closed_desk_sweeps_no_more(clock: Clock) -> None:
    at = desk(LateHandler())
    at.close()
    at.place(order(), Owner().as_connection)
    assert clock.timers
    at.close()
    assert not clock.timers


# What happens, in which order: (what, to whom).
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.integers(0, 2)),
        st.tuples(st.just("settle"), st.integers(0, 20)),
        st.tuples(st.just("wait"), st.integers(1, 40)),  # tenths of a second
        st.tuples(st.just("leave"), st.integers(0, 2)),
    ),
    max_size=60,
)


@given(_STEPS)
def test_each_order_ends_exactly_once_in_any_order_of_settle_timeout_and_disconnect(
    steps: list[tuple[str, int]],
) -> None:
    """The naive model: an order's end is whichever came first; nothing is answered to a session that left."""
    with clock_in(orders) as clock:
        owners = [Owner() for _ in range(3)]
        handler = LateHandler()
        at = desk(handler)
        placed: list[tuple[Owner, float]] = []
        ends: dict[int, str] = {}
        late = 0
        for what, which in steps:
            if what == "place":
                at.place(order(len(placed)), owners[which].as_connection)
                placed.append((owners[which], clock.now_s + TIMEOUT_S))
            elif what == "settle" and placed:
                number = which % len(placed)
                late += number in ends
                ends.setdefault(number, "accepted")
                handler.taken[number].settle(OrderStatus.ACCEPTED)
            elif what == "wait":
                clock.advance(which / 10 + 0.25)  # a quarter of a second is more than two sweeps
                for number, (_, deadline_s) in enumerate(placed):
                    if clock.now_s - 0.25 > deadline_s:
                        ends.setdefault(number, "unknown")
                    elif clock.now_s > deadline_s and handler.taken[number].settled:
                        ends.setdefault(number, "unknown")  # swept already, or not yet: both are in time
            elif what == "leave":
                at.forget(owners[which].as_connection)
                for number, (owner, _) in enumerate(placed):
                    if owner is owners[which]:
                        ends.setdefault(number, "disconnected")
            waiting = [number for number in range(len(placed)) if number not in ends]
            assert [pending.order.request for pending in at._pending] == waiting
            assert sum(map(len, at._per_connection.values())) == len(waiting)
        expected = Counter(ends.values())
        if late:
            expected["late"] = late
        assert at._counters.orders == expected
        answered = Counter(str(o.request) for owner in owners for o, _, _ in owner.answers)
        assert answered == Counter(str(number) for number, end in ends.items() if end != "disconnected")


def test_a_real_loop_sweeps_too() -> None:
    async def scene() -> Owner:
        owner = Owner()
        at = OrderDesk(LateHandler(), 0.05, Counters())
        at.place(order(), owner.as_connection)
        deadline_s = asyncio.get_running_loop().time() + 5
        while not owner.answers and asyncio.get_running_loop().time() < deadline_s:
            await asyncio.sleep(0.01)
        return owner

    assert asyncio.run(scene()).answers[0][1] is OrderStatus.UNKNOWN
