"""The cases: what issue and page promise of them, as far as it can be said without a run."""

from collections import Counter
from dataclasses import replace

import pytest

from benchmarks import knee
from benchmarks.__main__ import compare
from benchmarks.cases import CASES
from benchmarks.knee import KNEE
from benchmarks.running import Figures, Work
from benchmarks.servers import OURS, SERVERS, Server
from benchmarks.tables import table
from benchmarks.topics import TOPICS, taken_by
from tests.unit.benchmarks.rows import case, figures


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.variants])
def test_ratios_of_a_case_with_variants_refer_to_one_of_them(name: str) -> None:
    case = CASES[name]
    rows = case.rows([])
    assert case.reference == "" or all(case.reference_of(row) in rows for row in rows)


def test_servers_that_cannot_do_the_work_are_left_out() -> None:
    servers = [SERVERS[name] for name in (OURS, "limit", "ws")]
    assert list(CASES["fanout"].rows(servers)) == [OURS, "limit", "ws"]
    assert list(CASES["orders-open"].rows(servers)) == [OURS, "ws"]
    assert list(CASES["feed"].rows(servers)) == [OURS]
    assert {server.name for server, _ in CASES["slow"].rows(servers).values()} == {OURS}


def test_variants_are_measured_in_turn_and_a_measure_may_call_its_own_run_void() -> None:
    order = []

    def measure(_server: Server, work: Work) -> Figures:
        order.append(work.rate)
        return figures(1_000, void="it was raining")

    variants = {"a": Work(1, 1, 1), "b": Work(1, 2, 1)}
    runs = compare(*((rainy := replace(case(), variants=variants, measure=measure)), rainy.rows([])), 2)
    assert order == [1, 2, 1, 2]
    assert [run["void"] for run in runs["b"]] == ["it was raining"] * 2


def test_a_server_beside_does_every_variant_and_is_its_reference() -> None:
    beside = replace(case(), beside="limit")
    rows = beside.rows([])
    assert list(rows)[:2] == ["none", "none: limit"]
    assert {name: server.name for name, (server, _) in rows.items()} == {
        **dict.fromkeys(beside.variants, OURS),
        **{f"{name}: limit": "limit" for name in beside.variants},
    }
    runs = {name: [figures(3_000 if server.name == OURS else 2_000)] for name, (server, _) in rows.items()}
    lines = table(beside, runs).splitlines()
    assert lines[0].split()[:3] == ["variant", "vs", "limit"]
    assert [line.split()[-3:-2] for line in lines[1:]] == [["1.50"], ["1.00"]] * 3


def test_every_variant_of_topics_delivers_as_much() -> None:
    for name, work in TOPICS.variants.items():
        assert work.rate * work.connections * work.taken / work.topics == 20_000, name


@pytest.mark.parametrize(("topics", "groups"), [(100, 1), (100, 10), (10_000, 1)])
def test_groups_share_their_topics_and_none_with_another(topics: int, groups: int) -> None:
    taken = [tuple(taken_by(index, topics, groups)) for index in range(1_000)]
    assert len(set(taken)) == groups
    assert set(Counter(taken).values()) == {1_000 // groups}
    assert len({topic for group in set(taken) for topic in group}) == 10 * groups


@pytest.mark.parametrize("topics", [100, 10_000])
def test_spread_subscribers_all_take_another_ten(topics: int) -> None:
    taken = [frozenset(taken_by(index, topics, 1_000)) for index in range(1_000)]
    assert {len(each) for each in taken} == {10}
    assert len(set(taken)) == 1_000


class Holding:
    """Stands for `run`: a server that holds up to `most` updates a second; beyond it, `change` is what is seen."""

    def __init__(self, most: float, **change: float) -> None:
        self.most = most
        self.change = {"delivered_share": 0.5, **change}

    def __call__(self, _server: Server, work: Work) -> Figures:
        good: Figures = {
            "delivered_share": 1.0,
            "p99_us": 1_000,
            "closed_by_server": 0,
            "server_busy": 1.0,
            "client_core_busy": 0.5,
            "spins": False,
            "behind_us": 0,
            "feed_behind_us": 0,
            "content_differs": 0,
        }
        return good if work.rate <= self.most else good | self.change


@pytest.mark.parametrize("most", [60, 260, 14_000])
def test_the_knee_is_found_within_a_tenth(most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knee, "run", Holding(most))
    found = knee.find_knee(SERVERS[OURS], KNEE.work or Work(1, 1, 1))
    assert most * 1_000 / 1.1 <= found["deliveries_per_s"] <= most * 1_000
    assert found["void"] == ""


def test_a_knee_where_the_client_gave_in_is_void_and_says_how_far_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knee, "run", Holding(100, client_core_busy=1.0, server_busy=0.7))
    found = knee.find_knee(SERVERS[OURS], KNEE.work or Work(1, 1, 1))
    assert found["void"] == "at least 100,000 deliveries/s: the client was the bottleneck (its core 100% busy)"
