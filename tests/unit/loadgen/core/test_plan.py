"""A plan's schedules, against what its stages say; its shares, which together are the whole."""

from collections import Counter
from dataclasses import replace
from heapq import merge
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.core.figures import MEASURE, RAMP, WARM_UP
from loadgen.core.plan import Act, Group, Plan, Size, Stage, steady_plan
from loadgen.core.verdict import asked_of

SECOND = 1_000_000_000
sizes = st.lists(st.integers(1, 40), min_size=0, max_size=4)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    groups = tuple(Group(f"g{number}", size) for number, size in enumerate(draw(sizes)))
    rate = draw(st.sampled_from([0.7, 3.0, 100.0, 333.0]))
    order_clients = draw(st.integers(0, 7))
    stages, before, joining = [], 0, order_clients
    for number in range(draw(st.integers(1, 4))):
        is_storm = draw(st.booleans()) and not joining
        target = before if is_storm or not groups else draw(st.integers(0, 100))
        seconds = (abs(target - before) + joining) / rate + draw(st.sampled_from([0.25, 1.0]))
        stages.append(
            Stage(
                f"s{number}",
                MEASURE,
                seconds,
                target,
                rate,
                orders_per_s=draw(st.sampled_from([0.0, 0.3, 17.0])),
                burst=draw(st.integers(0, 5)),
                burst_every_s=0.3,
                storm_over_s=draw(st.sampled_from([0.0, 0.2])) if is_storm else None,
            )
        )
        before, joining = target, 0
    return Plan(groups, tuple(stages), order_clients)


def shares(plan: Plan, processes: list[int]) -> list[Plan]:
    """Every process' share, where each is shared among `processes` in turn."""
    found = [plan]
    for of in processes:
        found = [share.share(index, of) for share in found for index in range(of)]
    return found


@given(plans(), st.lists(st.integers(1, 4), max_size=2))
def test_shares_together_are_the_whole(plan: Plan, processes: list[int]) -> None:
    parts = shares(plan, processes)
    for stage in plan.stages:
        assert sum(part.clients_in(stage) for part in parts) == plan.clients_in(stage)
        places = [place for part in parts for place in part.places(stage.subscribers)]
        assert sorted(places, key=lambda place: place[0]) == list(plan.places(stage.subscribers))
    together = Counter(change for part in parts for change in part.changes())
    assert together == Counter(plan.changes())
    assert list(merge(*(part.orders() for part in parts))) == list(plan.orders())


@given(plans(), st.integers(1, 4))
def test_shares_are_even_and_in_order(plan: Plan, of: int) -> None:
    for index in range(of):
        part = plan.share(index, of)
        offsets = [change.offset_ns for change in part.changes()]
        assert offsets == sorted(offsets)
        mine = Counter(group.name for _, group in part.places(plan.subscribers))
        for group in plan.groups:
            assert mine[group.name] in (group.count // of, -(-group.count // of))


@given(plans())
def test_each_stage_has_the_clients_and_the_orders_that_it_asks_for(plan: Plan) -> None:
    there: set[int] = set()
    changes, orders = list(plan.changes()), list(plan.orders())
    start_ns = 0.0
    for stage in plan.stages:
        end_ns = start_ns + stage.seconds * SECOND
        away = set()
        for change in changes:
            if not start_ns - 2 < change.offset_ns <= end_ns + 2:
                continue
            if change.act is Act.JOIN and change.place not in there:
                there.add(change.place)
            elif change.act is Act.LEAVE:
                there.discard(change.place)
            elif change.offset_ns >= end_ns - 2:  # a storm at the next one's start
                continue
            elif change.act is Act.DROP:
                away.add(change.place)
            elif change.act is Act.RETURN:
                away.remove(change.place)
        assert there == set(range(stage.subscribers))
        assert not away
        due = [due_ns for due_ns in orders if start_ns - 2 < due_ns <= end_ns + 2]
        if plan.order_clients:
            # One more or less at either edge, where a burst at the next one's start falls on this one's end.
            bursts = stage.burst * -(-round(stage.seconds * 1e9) // round(stage.burst_every_s * 1e9))
            expected = stage.orders_per_s * stage.seconds + bursts
            assert expected - 2 <= len(due) <= expected + 2 + 5
        else:
            assert due == []
        start_ns = end_ns
    assert sum(change.act is Act.JOIN_TO_ORDER for change in changes) == plan.order_clients


@given(sizes.filter(bool), st.integers(1, 200))
def test_any_number_of_subscribers_has_the_mixture(counts: list[int], subscribers: int) -> None:
    groups = tuple(Group(f"g{number}", size) for number, size in enumerate(counts))
    found = Counter(group.name for _, group in Plan(groups, ()).places(subscribers))
    for group in groups:
        exact = subscribers * group.count / sum(counts)
        assert abs(found[group.name] - exact) < len(groups)
        if subscribers % sum(counts) == 0:
            assert found[group.name] == exact


def test_a_plan_without_a_scenario_is_that_of_the_flags() -> None:
    plan = steady_plan(Size(3, order_clients=2, connect_rate=10.0, warm_up_s=2.0, measure_s=4.0, orders_per_s=5.0))
    assert [(stage.phase, stage.seconds) for stage in plan.stages] == [(RAMP, 1.5), (WARM_UP, 2.0), (MEASURE, 4.0)]
    assert [(change.offset_ns * 10 // SECOND, change.act, change.place) for change in plan.changes()] == [
        (1, Act.JOIN, 0),
        (2, Act.JOIN, 1),
        (3, Act.JOIN, 2),
        (4, Act.JOIN_TO_ORDER, 0),
        (5, Act.JOIN_TO_ORDER, 1),
    ]
    orders = list(plan.orders())
    assert orders[:2] == [int(1.7 * SECOND), int(1.9 * SECOND)]
    assert len(orders) == 30
    asked = asked_of(plan)
    assert (asked.subscribers, asked.clients, asked.measure_s, asked.orders_per_s) == (3, 5, 4.0, 5.0)


def test_the_last_to_come_is_the_first_to_leave_and_a_storm_drops_all_at_once() -> None:
    stages = (
        Stage("up", RAMP, 1.0, 3, 10.0),
        Stage("storm", MEASURE, 2.0, 3, 10.0, storm_over_s=0.3),
        Stage("down", MEASURE, 1.0, 1, 10.0),
    )
    plan = Plan((Group("a", 3),), stages)
    found = [(change.offset_ns * 10 // SECOND, change.act, change.place) for change in plan.changes()]
    assert found[3:6] == [(10, Act.DROP, place) for place in range(3)]
    assert found[6:9] == [(10 + place, Act.RETURN, place) for place in range(3)]
    assert found[9:] == [(31, Act.LEAVE, 2), (32, Act.LEAVE, 1)]


STAGE = Stage("s", MEASURE, 1.0, 10, 20.0)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([replace(STAGE, subscribers=30)], "stage s: 30 clients that join or leave at 20 a second take 1.5 s"),
        ([STAGE, replace(STAGE, name="t", storm_over_s=1.1)], "stage t: a storm is over within its 1 s"),
        ([replace(STAGE, storm_over_s=0.1)], "stage s: a storm"),
    ],
)
def test_a_stage_without_the_time_for_what_happens_in_it_is_refused(stages: list[Stage], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Plan((Group("a", 30),), tuple(stages))


@pytest.mark.parametrize(("index", "of"), [(-1, 2), (2, 2), (0, 0)])
def test_there_is_no_share_beyond_the_last(index: Any, of: Any) -> None:
    with pytest.raises(ValueError, match="share"):
        Plan((), ()).share(index, of)


def test_who_may_be_away_is_not_missed_by_the_verdict() -> None:
    groups = (Group("a", 6), Group("b", 3, "stuck"), Group("c", 1, "reconnecting", reconnect_every_s=1.0))
    hold = Stage("hold", MEASURE, 2.0, 10, 100.0)
    assert asked_of(Plan(groups, (hold,), 2)).clients == 2, "they join in the first stage, while it measures"
    ramp = replace(hold, phase=RAMP)
    assert asked_of(Plan(groups, (ramp, hold), 2)).clients == 8
    storm = replace(hold, storm_over_s=0.5)
    assert asked_of(Plan(groups, (ramp, hold, storm), 2)).clients == 2
    spike = replace(hold, subscribers=20, orders_per_s=50.0, burst=5, burst_every_s=1.5)
    asked = asked_of(Plan(groups, (ramp, hold, spike), 2))
    assert (asked.subscribers, asked.clients, asked.measure_s, asked.orders_per_s) == (20, 8, 4.0, 27.5)
