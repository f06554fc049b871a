"""Reads what the doctor judges: /proc, /sys, control groups, /etc/execgate. Writes nothing, needs no rights.

What can't be read is None; below another `root` than / tests put what they like.
"""

import importlib.util
import os
import pwd
import resource
import tomllib
from collections.abc import Iterator
from pathlib import Path

from execgate.doctor.core.install import LINKS, UNITS, ConfigFile, Installation, Place
from execgate.doctor.core.machine import Facts
from execgate.service.endpoints import parse_tcp_address

COMPILED = ("gateway.delivery", "gateway.core.messages", "gateway.core.orders", "execgate.wire.frame_parser")
"""As in setup.py."""
_MOST_BYTES = 1024 * 1024
_UNIT_FOLDERS = (
    "etc/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
)
_SECRETS = ("curve_key", "tls_key")


class Reading:
    """Looks below `root`."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def machine(self, workers: int) -> Facts:
        """Return the limits of this machine, for so many gateways."""
        soft, hard = (2**63 - 1 if one == resource.RLIM_INFINITY else one for one in _files())
        used, _, file_max = (self._numbers("proc/sys/fs/file-nr") + [None] * 3)[:3]
        ports = self._numbers("proc/sys/net/ipv4/ip_local_port_range")
        available, total = self._memory()
        return Facts(
            soft_files=soft,
            hard_files=hard,
            workers=workers,
            cores=len(os.sched_getaffinity(0)),
            nr_open=self._number("proc/sys/fs/nr_open"),
            file_max=file_max,
            files_used=used,
            port_range=(ports[0], ports[1]) if len(ports) == 2 else None,
            somaxconn=self._number("proc/sys/net/core/somaxconn"),
            syn_backlog=self._number("proc/sys/net/ipv4/tcp_max_syn_backlog"),
            netdev_backlog=self._number("proc/sys/net/core/netdev_max_backlog"),
            softnet_drops=self._softnet_drops(),
            rmem=self._triple("proc/sys/net/ipv4/tcp_rmem"),
            wmem=self._triple("proc/sys/net/ipv4/tcp_wmem"),
            rmem_max=self._number("proc/sys/net/core/rmem_max"),
            wmem_max=self._number("proc/sys/net/core/wmem_max"),
            tcp_mem=self._triple("proc/sys/net/ipv4/tcp_mem"),
            migrate=self._number("proc/sys/net/ipv4/tcp_migrate_req"),
            tw_buckets=self._number("proc/sys/net/ipv4/tcp_max_tw_buckets"),
            swappiness=self._number("proc/sys/vm/swappiness"),
            min_free_kib=self._number("proc/sys/vm/min_free_kbytes"),
            conntrack_max=self._number("proc/sys/net/netfilter/nf_conntrack_max"),
            conntrack_count=self._number("proc/sys/net/netfilter/nf_conntrack_count"),
            governors=self._governors(),
            clock_source=self._text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            memory_available=available,
            memory_total=total,
            cgroup_memory=min(
                self._group_limits("memory.max", "memory", "memory.limit_in_bytes", total), default=None
            ),
            cgroup_cpus=min(self._group_cpus(), default=None),
            cgroup_pids=min(self._group_limits("pids.max", "pids", "pids.max", None), default=None),
            huge_pages=self._chosen("sys/kernel/mm/transparent_hugepage/enabled"),
        )

    def installation(self) -> Installation:
        """Return how execgate is installed here."""
        files = [_config_file(path) for path in sorted(self._root.glob("etc/execgate/*.toml"))]
        compiled = [name for name in COMPILED if _is_compiled(name)]
        units = {unit for folder in _UNIT_FOLDERS for unit in UNITS if (self._root / folder / unit).exists()}
        data = [one.settings["data_dir"] for one in files if isinstance(one.settings.get("data_dir"), str)]
        keys = [str(one.settings[name]) for one in files for name in _SECRETS if one.settings.get(name)]
        return Installation(
            compiled=tuple(compiled),
            uncompiled=tuple(name for name in COMPILED if name not in compiled),
            has_systemd=(self._root / "run/systemd/system").exists(),
            units=tuple(unit for unit in UNITS if unit in units),
            files=tuple(files),
            data=self._place(data[0]) if data else None,
            keys=tuple(self._place(path) for path in dict.fromkeys(keys)),
        )

    def _place(self, path: str) -> Place:
        try:
            found = (self._root / path.lstrip("/")).stat()
        except FileNotFoundError:
            return Place(path, exists=False)
        except OSError:
            return Place(path, exists=None)
        try:
            owner = pwd.getpwuid(found.st_uid).pw_name
        except KeyError:
            owner = str(found.st_uid)
        return Place(path, True, found.st_mode & 0o7777, owner)

    def _text(self, name: str) -> str | None:
        try:
            with (self._root / name).open(encoding="utf-8", errors="replace") as file:
                return file.read(_MOST_BYTES).strip()
        except OSError:
            return None

    def _numbers(self, name: str) -> list[int]:
        try:
            return [int(word) for word in (self._text(name) or "").split()]
        except ValueError:
            return []

    def _number(self, name: str) -> int | None:
        found = self._numbers(name)
        return found[0] if len(found) == 1 else None

    def _triple(self, name: str) -> tuple[int, int, int] | None:
        found = self._numbers(name)
        return (found[0], found[1], found[2]) if len(found) == 3 else None

    def _chosen(self, name: str) -> str | None:
        """Return the word in brackets: the kernel's way to show one of several."""
        found = [word for word in (self._text(name) or "").split() if word.startswith("[")]
        return found[0].strip("[]") if found else None

    def _softnet_drops(self) -> int | None:
        try:
            return sum(
                int(line.split()[1], 16) for line in (self._text("proc/net/softnet_stat") or "").splitlines()
            )
        except (ValueError, IndexError):
            return None

    def _governors(self) -> tuple[str, ...]:
        names = sorted(self._root.glob("sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"))
        found = (self._text(str(path.relative_to(self._root))) for path in names)
        return tuple(word for word in found if word)

    def _memory(self) -> tuple[int | None, int | None]:
        told = {}
        for line in (self._text("proc/meminfo") or "").splitlines():
            name, _, rest = line.partition(":")
            told[name] = rest.split()
        sizes = [int(told[name][0]) * 1024 if told.get(name) else None for name in ("MemAvailable", "MemTotal")]
        return sizes[0], sizes[1]

    def _group_folders(self, controller: str) -> Iterator[Path]:
        """Yield the folders of this process' control group and those above, of version 2 and 1's `controller`."""
        for line in (self._text("proc/self/cgroup") or "").splitlines():
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if controllers == "":
                base = self._root / "sys/fs/cgroup"
            elif controller in controllers.split(","):
                base = self._root / "sys/fs/cgroup" / controllers
            else:
                continue
            folder = base / path.lstrip("/")
            while folder != base and base in folder.parents:
                yield folder
                folder = folder.parent
            yield base

    def _group_limits(self, new: str, controller: str, old: str, ceiling: int | None) -> Iterator[int]:
        """Yield the limits of a control group and those above; one at or over `ceiling` is none."""
        for folder in self._group_folders(controller):
            for name in {new, old}:
                value = self._number(str((folder / name).relative_to(self._root)))
                if value is not None and value < 2**62 and (ceiling is None or value < ceiling):
                    yield value

    def _group_cpus(self) -> Iterator[float]:
        for folder in self._group_folders("cpu"):
            below = folder.relative_to(self._root)
            words = (self._text(f"{below}/cpu.max") or "max").split()
            if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
                yield int(words[0]) / int(words[1])
            quota, period = self._number(f"{below}/cpu.cfs_quota_us"), self._number(f"{below}/cpu.cfs_period_us")
            if quota is not None and quota > 0 and period:
                yield quota / period


def _files() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def _is_compiled(name: str) -> bool:
    """Whether what would be imported is not Python source; nothing of the module runs."""
    try:
        found = importlib.util.find_spec(name)
    except ImportError:
        return False
    return found is not None and found.origin is not None and not found.origin.endswith(".py")


def _is_remote(endpoint: str) -> bool:
    """Whether a ZeroMQ endpoint is reached over a network."""
    scheme, _, rest = endpoint.partition("://")
    if scheme != "tcp":
        return False
    try:
        return not parse_tcp_address(rest.replace("*:", "0.0.0.0:", 1)).is_loopback
    except ValueError:
        return True


def _config_file(path: Path) -> ConfigFile:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return ConfigFile(str(path), f"larger than {_MOST_BYTES:,} bytes")
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
        remote = [name for name in LINKS if isinstance(settings.get(name), str) and _is_remote(settings[name])]
        return ConfigFile(str(path), settings=settings, remote=tuple(remote))
    except OSError as error:
        return ConfigFile(str(path), error.strerror or str(error))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return ConfigFile(str(path), f"no TOML: {error}")
