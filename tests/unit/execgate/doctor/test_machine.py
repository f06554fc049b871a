"""The limits of a machine, on given values: which are named, how many connections each allows, what to set."""

from dataclasses import fields, replace
from typing import Any

import pytest

from execgate.doctor.core.finding import LIMITS, NOTE, OK, UNKNOWN, Diagnosis, Finding, as_text
from execgate.doctor.core.machine import Facts, judge_machine

GOOD = Facts(
    soft_files=65_536,
    hard_files=65_536,
    workers=1,
    cores=4,
    nr_open=1_048_576,
    file_max=9_000_000,
    files_used=2_000,
    port_range=(10_240, 65_535),
    somaxconn=4096,
    syn_backlog=8192,
    netdev_backlog=1000,
    softnet_drops=0,
    rmem=(4096, 131_072, 6_291_456),
    wmem=(4096, 16_384, 4_194_304),
    rmem_max=212_992,
    wmem_max=212_992,
    tcp_mem=(190_000, 250_000, 380_000),
    migrate=1,
    tw_buckets=131_072,
    swappiness=10,
    min_free_kib=67_584,
    clock_source="tsc",
    memory_available=8 * 2**30,
    memory_total=16 * 2**30,
    huge_pages="madvise",
)
"""A machine that is good for 10,000, and nothing to say about it."""


def judged(connections: int = 10_000, **changed: Any) -> Diagnosis:
    return Diagnosis(connections, tuple(judge_machine(replace(GOOD, **changed), connections)))


def named(diagnosis: Diagnosis, name: str) -> Finding:
    (found,) = [one for one in diagnosis.findings if one.name == name]
    return found


def test_a_good_machine_has_nothing_in_the_way() -> None:
    diagnosis = judged()
    assert {one.level for one in diagnosis.findings} == {OK}
    assert diagnosis.is_fine
    assert diagnosis.good_for("server") == (250_000 // 4, "net.ipv4.tcp_mem")
    assert diagnosis.good_for("client") == (55_296, "net.ipv4.ip_local_port_range")


@pytest.mark.parametrize(
    ("name", "changed", "server", "client", "fix"),
    [
        ("open files, soft limit", {"soft_files": 1024}, 924, 924, "ulimit -n 10100"),
        ("open files, hard limit", {"hard_files": 4096}, 3996, 3996, "LimitNOFILE=10100"),
        ("fs.nr_open", {"nr_open": 5000}, 4900, None, "sysctl -w fs.nr_open=10100"),
        ("fs.file-max", {"file_max": 9000}, 7000, 7000, "sysctl -w fs.file-max=22000"),
        (
            "net.ipv4.ip_local_port_range",
            {"port_range": (60_000, 60_999)},
            None,
            1000,
            "60-execgate.conf does this",
        ),
        ("nf_conntrack_max", {"conntrack_max": 9000, "conntrack_count": 500}, 8500, 8500, "conntrack_max=20500"),
        ("net.ipv4.tcp_mem", {"tcp_mem": (1, 4000, 5000)}, 1000, 1000, "more memory"),
        ("memory available", {"memory_available": 40 * 1024 * 999}, 999, 999, "more memory"),
        ("memory of the control group", {"cgroup_memory": 40 * 1024 * 999}, 999, 999, "MemoryMax="),
    ],
)
def test_what_limits_the_number_of_connections_is_named_with_the_number_and_what_to_set(
    name: str, changed: dict[str, Any], server: int | None, client: int | None, fix: str
) -> None:
    diagnosis = judged(**changed)
    found = named(diagnosis, name)
    assert (found.level, found.server, found.client) == (LIMITS, server, client)
    assert fix in found.fix
    assert not diagnosis.is_fine
    if server is not None:
        assert diagnosis.good_for("server") == (server, name)
    assert diagnosis.good_for("client") == ((client, name) if client is not None else (55_296, _PORTS))
    assert [one.name for one in diagnosis.findings if one.level != OK] == [name]
    # It limits no more where fewer are wanted than it is good for.
    assert judged(min(x for x in (server, client) if x is not None), **changed).is_fine


_PORTS = "net.ipv4.ip_local_port_range"


@pytest.mark.parametrize(
    ("name", "changed", "fix"),
    [
        ("net.core.somaxconn", {"somaxconn": 128}, "60-execgate.conf"),
        ("net.ipv4.tcp_max_syn_backlog", {"syn_backlog": 128}, "60-execgate.conf"),
        ("net.ipv4.tcp_migrate_req", {"migrate": 0}, "60-execgate.conf"),
        ("net.core.netdev_max_backlog", {"softnet_drops": 5}, "sysctl -w net.core.netdev_max_backlog=2000"),
        ("net.ipv4.tcp_wmem", {"wmem": (4096, 16_384, 33_554_432)}, "tcp_wmem='4096 16384 4194304'"),
        ("net.ipv4.tcp_rmem", {"rmem": (4096, 16_384, 33_554_432)}, "tcp_rmem='4096 16384 6291456'"),
        ("vm.swappiness", {"swappiness": 60}, "60-execgate.conf"),
        ("transparent huge pages", {"huge_pages": "always"}, "echo madvise"),
        ("CPU governor", {"governors": ("powersave", "performance")}, "cpupower frequency-set -g performance"),
        ("clock source", {"clock_source": "hpet"}, "tsc=reliable"),
        ("CPU", {"cgroup_cpus": 0.5}, "CPUQuota="),
    ],
)
def test_what_costs_latency_is_a_note_and_in_nobodys_way(name: str, changed: dict[str, Any], fix: str) -> None:
    diagnosis = judged(**changed)
    assert named(diagnosis, name).level == NOTE
    assert fix in named(diagnosis, name).fix
    assert diagnosis.is_fine
    assert diagnosis.good_for("server") == judged().good_for("server")


def test_workers_have_descriptors_of_their_own_and_a_client_is_one_process() -> None:
    found = named(judged(10_000, soft_files=5_100, workers=2), "open files, soft limit")
    assert (found.server, found.client) == (10_000, 5_000)
    assert found.wanted == "5,100 in each of 2 workers"


def test_what_the_list_of_2012_set_is_looked_at() -> None:
    names = " ".join(one.name for one in judged().findings)
    for name in (
        *("rmem_max", "wmem_max", "tcp_rmem", "tcp_wmem", "tcp_mem", "tcp_max_tw_buckets", "netdev_max_backlog"),
        *(
            "min_free_kbytes",
            "swappiness",
            "ip_local_port_range",
            "somaxconn",
            "tcp_max_syn_backlog",
            "open files",
        ),
    ):
        assert name in names


def test_a_machine_of_which_little_can_be_read_is_judged_by_the_rest() -> None:
    bare = Facts(soft_files=200, hard_files=2**63 - 1, workers=1, cores=1)
    diagnosis = Diagnosis(50, tuple(judge_machine(bare, 50)))
    assert diagnosis.good_for("server") == (100, "open files, soft limit")
    assert {one.level for one in diagnosis.findings} == {OK, UNKNOWN}
    assert named(diagnosis, "open files, hard limit").found == "unlimited"
    assert {field.name for field in fields(Facts) if getattr(bare, field.name) is None} >= {"somaxconn", "tcp_mem"}


def test_a_container_with_room_for_too_few_processes_is_in_the_way() -> None:
    diagnosis = judged(cgroup_pids=10)
    assert named(diagnosis, "processes of the control group").level == LIMITS
    assert diagnosis.good_for("server") == (0, "processes of the control group")


def test_a_terminal_shows_what_is_not_fine_what_to_do_once_and_the_number() -> None:
    text = as_text(judged(soft_files=1024, somaxconn=128, migrate=0), everything=False)
    assert "LIMITS  open files, soft limit" in text
    assert "fs.nr_open" not in text
    assert text.count("60-execgate.conf does this") == 1, "one line for all that it mends"
    assert "as a server: good for 924 connections, by open files, soft limit" in text
    assert text.splitlines()[-1] == "10,000 connections are wanted: something is in the way"
    everything = as_text(judged(), everything=True)
    assert "fs.nr_open" in everything
    assert everything.splitlines()[-1].endswith("nothing in the way")


def test_json_has_the_bounds_and_each_finding() -> None:
    told = judged(soft_files=1024).as_dict()
    assert (told["fine"], told["connections"]) == (False, 10_000)
    assert told["good_for"]["server"] == {"connections": 924, "limit": "open files, soft limit"}
    assert len(told["findings"]) == len(judged().findings)
