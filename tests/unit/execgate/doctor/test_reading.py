"""What the doctor reads: a made-up machine below another root, and this one."""

import json
from pathlib import Path

import pytest

from execgate import doctor
from execgate.doctor.reading import COMPILED, Reading
from execgate.wire.errors import UsageError


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def test_the_kernels_files_are_read_as_it_writes_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/sys/fs/file-nr": "2016\t0\t9223372",
            "proc/sys/fs/nr_open": "1048576",
            "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999",
            "proc/sys/net/ipv4/tcp_mem": "287898\t383867\t575796",
            "proc/sys/net/ipv4/tcp_migrate_req": "0",
            "proc/net/softnet_stat": "000a 00000010 0 0\n000b 00000001 0 0",
            "proc/meminfo": "MemTotal:  1000 kB\nMemAvailable:  600 kB",
            "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave",
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance",
        },
    )
    facts = Reading(tmp_path).machine(3)
    assert (facts.files_used, facts.file_max, facts.nr_open) == (2016, 9_223_372, 1_048_576)
    assert facts.port_range == (32_768, 60_999)
    assert facts.tcp_mem == (287_898, 383_867, 575_796)
    assert (facts.migrate, facts.softnet_drops, facts.workers) == (0, 17, 3)
    assert (facts.memory_total, facts.memory_available) == (1_024_000, 614_400)
    assert facts.huge_pages == "madvise"
    assert facts.governors == ("powersave", "performance")
    assert (facts.somaxconn, facts.conntrack_max, facts.clock_source, facts.cgroup_memory) == (None,) * 4


def test_limits_of_control_groups_version_2_are_the_least_on_the_way_up(tmp_path: Path) -> None:
    group = "sys/fs/cgroup"
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/system.slice/execgate.service",
            "proc/meminfo": "MemTotal:  9000000 kB",
            f"{group}/system.slice/execgate.service/memory.max": "max",
            f"{group}/system.slice/execgate.service/cpu.max": "150000 100000",
            f"{group}/system.slice/memory.max": "2000000000",
            f"{group}/system.slice/cpu.max": "max 100000",
            f"{group}/system.slice/pids.max": "512",
            f"{group}/pids.max": "1000",
        },
    )
    facts = Reading(tmp_path).machine(1)
    assert (facts.cgroup_memory, facts.cgroup_cpus, facts.cgroup_pids) == (2_000_000_000, 1.5, 512)


def test_limits_of_control_groups_version_1_are_found_by_their_controller(tmp_path: Path) -> None:
    group = "sys/fs/cgroup"
    write(
        tmp_path,
        {
            "proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/",
            "proc/meminfo": "MemTotal:  9000000 kB",
            f"{group}/memory/docker/abc/memory.limit_in_bytes": "1000000000",
            f"{group}/memory/memory.limit_in_bytes": "9223372036854771712",
            f"{group}/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "50000",
            f"{group}/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000",
            f"{group}/cpu,cpuacct/cpu.cfs_quota_us": "-1",
            f"{group}/cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
    )
    facts = Reading(tmp_path).machine(1)
    assert (facts.cgroup_memory, facts.cgroup_cpus, facts.cgroup_pids) == (1_000_000_000, 0.5, None)


def test_an_installation_is_looked_at(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "etc/execgate/gateway.toml": 'feed = "tcp://10.0.0.1:5550"\ntls_key = "/etc/execgate/keys/k"',
            "etc/execgate/other.toml": "feed = ",
            "etc/execgate/publisher.toml": 'pub = "tcp://127.0.0.1:5550"\ndata_dir = "/var/lib/execgate"',
            "etc/execgate/keys/k": "secret",
            "etc/systemd/system/execgate-gateway@.service": "",
            "run/systemd/system/x": "",
            "var/lib/execgate/x": "",
        },
    )
    (tmp_path / "etc/execgate/keys/k").chmod(0o640)
    (tmp_path / "var/lib/execgate").chmod(0o750)
    found = Reading(tmp_path).installation()
    assert [one.remote for one in found.files] == [("feed",), (), ()]
    assert found.files[1].problem.startswith("no TOML: ")
    assert found.units == ("execgate-gateway@.service",)
    assert found.has_systemd
    assert found.data is not None
    assert (found.data.path, found.data.exists, found.data.mode) == ("/var/lib/execgate", True, 0o750)
    assert [(key.path, key.mode) for key in found.keys] == [("/etc/execgate/keys/k", 0o640)]
    assert sorted((*found.compiled, *found.uncompiled)) == sorted(COMPILED)


def test_the_modules_that_are_compiled_are_those_of_setup_py() -> None:
    text = (Path(__file__).resolve().parents[4] / "setup.py").read_text()
    assert [name for name in COMPILED if f'"{name}"' not in text] == []
    assert text.partition("COMPILED = (")[2].partition(")")[0].count('"') == 2 * len(COMPILED)


@pytest.mark.parametrize("wanted", ["1", "10000000"])
def test_this_machine_is_told_of(wanted: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = doctor.main(["--connections", wanted, "--json", "-"])
    told = json.loads(capsys.readouterr().out)
    assert told["connections"] == int(wanted)
    assert status == (0 if told["fine"] else 1)
    assert told["good_for"]["server"]["connections"] > 0
    if wanted != "1":
        assert status == 1, "no machine of ours is good for ten million"


def test_it_prints_a_table_and_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "told.json"
    doctor.main(["--all", "--json", str(path)])
    text = capsys.readouterr().out
    assert "net.core.somaxconn" in text
    assert "as a server: good for " in text
    assert len(json.loads(path.read_text())["findings"]) > 20


def test_a_file_that_cannot_be_written_is_misuse() -> None:
    with pytest.raises(UsageError, match="--json /nowhere/x: No such file"):
        doctor.main(["--json", "/nowhere/x"])


def test_what_we_may_not_look_at_is_unknown(tmp_path: Path) -> None:
    write(tmp_path, {"etc/execgate/publisher.toml": 'data_dir = "/loop/d"'})
    (tmp_path / "loop").symlink_to("loop")  # an error also for root
    found = Reading(tmp_path).installation().data
    assert found is not None
    assert found.exists is None
