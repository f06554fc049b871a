"""What a machine has no room for is refused before a run, with what to do about it."""

import os
import resource
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from execgate.wire.errors import UsageError
from loadgen import room
from loadgen.config import RunConfig
from loadgen.core.plan import Plan
from loadgen.core.target import Target, from_each

HERE, THERE = Target("127.0.0.1", 1, "/ws"), Target("192.0.2.1", 1, "/ws")
BASE = RunConfig()


@pytest.fixture
def few_files() -> Iterator[int]:
    """A process that may open 1,000 files, and begins with 300."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 1000:
        pytest.skip("this process may open too few files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of eight cores, on which a process may open 20,000 files."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    monkeypatch.setattr(room, "raise_file_limit", lambda: 20_000)


def how_many(processes: int, subscribers: int = 50_000) -> int:
    config = replace(BASE, subscribers=subscribers, processes=processes)
    return room.how_many_processes(config, config.plan(), [HERE])


def plan_of(clients: int) -> Plan:
    return replace(BASE, subscribers=clients).plan()


@pytest.mark.parametrize(
    ("clients", "orders_per_s", "target", "expected"),
    [
        (100, None, THERE, 1),
        (1_000, 2_000, THERE, 1),
        (1_001, None, THERE, 2),
        (5_000, None, THERE, 5),
        (50_000, None, THERE, 8),
        (50_000, None, HERE, 7),  # a core is the server's
        (190_000, None, HERE, 10),  # 19,900 clients fit into one
        (100, 9_000, THERE, 5),
    ],
)
@pytest.mark.usefixtures("cores")
def test_processes_are_as_many_as_the_load_needs_and_the_cores_allow(
    clients: int, orders_per_s: float | None, target: Target, expected: int
) -> None:
    config = replace(BASE, subscribers=clients - (10 if orders_per_s else 0), orders_per_s=orders_per_s)
    assert room.how_many_processes(config, config.plan(), [target]) == expected


@pytest.mark.parametrize(("rate", "expected"), [(20.0, 5), (1.0, 1), (12.5, 4), (1_000.0, 7)])
@pytest.mark.usefixtures("cores")
def test_where_it_is_known_what_the_server_sends_that_counts_and_not_the_clients(
    rate: float, expected: int
) -> None:
    config = replace(BASE, subscribers=5_000, local=2, local_rate=rate)
    assert room.how_many_processes(config, config.plan(), [HERE]) == expected


@pytest.mark.usefixtures("cores")
def test_processes_that_are_asked_for_are_refused_where_their_clients_do_not_fit() -> None:
    with pytest.raises(UsageError, match=r"--processes 2: 25000 clients and 100 .* 20000 .* say --processes 3"):
        how_many(2)
    assert how_many(3) == 3


@pytest.mark.usefixtures("cores")
def test_local_gateways_are_refused_where_their_clients_do_not_fit() -> None:
    room.check_local(plan_of(39_800), 2)
    with pytest.raises(UsageError, match=r"publisher\+2: 19901 clients .* 20000 .* say --local publisher\+3"):
        room.check_local(plan_of(39_801), 2)


@pytest.mark.usefixtures("cores")
def test_more_processes_than_clients_are_refused() -> None:
    assert how_many(5, subscribers=5) == 5
    with pytest.raises(UsageError, match="--processes 5: more than the 4 clients"):
        how_many(5, subscribers=4)


def test_the_limit_of_open_files_is_raised_as_far_as_it_may(few_files: int) -> None:
    assert room.raise_file_limit() == few_files
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (few_files, few_files)


def test_more_clients_than_ports_are_refused_unless_sources_or_servers_are_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ports = tmp_path / "ports"
    ports.write_text("32768\t60999\n")
    monkeypatch.setattr(room, "_PORT_RANGE", ports)
    room.check_ports(plan_of(28_232), [HERE], [])
    with pytest.raises(UsageError, match=r"60000 clients.*28232 ports .* give --source 3 times"):
        room.check_ports(plan_of(60_000), [HERE, HERE], [])
    room.check_ports(plan_of(60_000), [HERE], ["127.0.0.1", "127.0.0.2", "127.0.0.3"])
    room.check_ports(plan_of(60_000), [HERE, THERE], ["127.0.0.1", "127.0.0.2"])


def test_a_source_is_an_address_of_this_machine_and_of_the_servers_family() -> None:
    room.check_sources(["127.0.0.1", "127.0.0.9"], [HERE])
    with pytest.raises(UsageError, match=r"--source 192.0.2.7: not an address of this machine: Cannot assign"):
        room.check_sources(["127.0.0.1", "192.0.2.7"], [HERE])
    with pytest.raises(UsageError, match=r"--source ::1: the server's address, 127.0.0.1, is not IPv6"):
        room.check_sources(["::1"], [HERE])


def test_a_server_that_is_no_process_is_refused() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    room.check_servers([os.getpid()])
    with pytest.raises(UsageError, match=f"--server-pid {ended.pid}: there is no such process"):
        room.check_servers([os.getpid(), ended.pid])


def test_clients_that_take_turns_use_every_pair_of_source_and_server() -> None:
    pairs = from_each([HERE, THERE], ["127.0.0.1", "127.0.0.2"])
    assert [(target.host, target.source) for target in pairs] == [
        ("127.0.0.1", "127.0.0.1"),
        ("192.0.2.1", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.2"),
        ("192.0.2.1", "127.0.0.2"),
    ]
    assert from_each([HERE], []) == [HERE]
