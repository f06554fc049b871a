"""A real systemd boots what `./run install` has put there: it starts, reloads, restarts and stops the daemons.

One container for all of them; each test begins and ends with everything running. Followers are clients that
resume: whatever is done to the daemons, they get every update once.
"""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests import container
from tests.clients import Client
from tests.container import PATIENCE_S, Container
from tests.harness import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
PUBLISHER = "execgate-publisher.service"
GATEWAYS = ("execgate-gateway@1.service", "execgate-gateway@2.service")
UNITS = (PUBLISHER, *GATEWAYS)
CONFIG = "/etc/execgate/gateway.toml"
DATA = "/var/lib/execgate"
WATCHDOG_S = 8


class Machine(Container):
    """A booted container with execgate in it."""

    def settle(self) -> None:
        """Wait until everything runs, and a client would be served."""

        def is_settled() -> bool:
            states = self.run("systemctl", "is-active", *UNITS).stdout.split()
            if states != ["active"] * len(UNITS):
                return False
            with suppress(OSError, InvalidMessage):
                return self.get("/readyz")[0] == 200
            return False

        wait_until(is_settled, "all units active and a gateway ready", PATIENCE_S)

    def pid(self, unit: str) -> str:
        return self.show(unit, "MainPID")

    def restarts(self, *units: str) -> list[int]:
        return [int(self.show(unit, "NRestarts")) for unit in units]

    def wait_for_restarts(self, before: list[int], *units: str) -> None:
        """Wait until systemd has started each anew since it had done so `before` times."""

        def are_anew() -> bool:
            return all(now > then for now, then in zip(self.restarts(*units), before, strict=True))

        wait_until(are_anew, f"{units} anew", PATIENCE_S)

    def wait_for_words(self, unit: str, words: str, times: int = 1) -> None:
        """Wait until journald has so many lines of the unit with these words."""
        wait_until(
            lambda: sum(words in line for line in self.said(unit)) >= times, f"{unit}: {words!r}", PATIENCE_S
        )

    def change(self, path: str, old: str, new: str) -> None:
        """Edit a file as an operator would."""
        real = self.root / path[1:]
        text = real.read_text()
        assert old in text, text
        real.write_text(text.replace(old, new))

    def drop_in(self, unit: str, name: str, *lines: str) -> None:
        """Add lines to the section [Service] of a unit."""
        folder = self.root / f"etc/systemd/system/{unit}.d"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.conf").write_text("\n".join(["[Service]", *lines, ""]))


class Follower(threading.Thread):
    """A client that connects, resumes where it was, and notes each seq and gap, until it is told to stop."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(daemon=True)
        self.seqs: list[int] = []
        self.epochs: set[str] = set()
        self.gaps: list[Any] = []
        self.connections = 0
        self._machine = machine
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            with suppress(OSError, ConnectionClosed, InvalidHandshake, InvalidMessage, TimeoutError):
                self._follow()
            self._over.wait(0.05)

    def _follow(self) -> None:
        """Follow one connection to its end, or until we are told to stop."""
        with Client("127.0.0.1:8124", subscribe_at_connect=False, sock=self._machine.connect()) as client:
            self.connections += 1
            since = {"epoch": max(self.epochs), "seq": self.seqs[-1]} if self.seqs else None
            client.send("subscribe-execs", {"since": since})
            while not self._over.is_set():
                with suppress(TimeoutError):
                    self._note(client.receive(0.2))

    def _note(self, message: dict[str, Any]) -> None:
        data = message["data"]
        if message["event"] == "receive-execs":
            self.seqs.append(data["seq"])
            self.epochs.add(data["epoch"])
        elif message["event"] == "gap" or (message["event"] == "subscribed" and data["gap"]):
            self.gaps.append(message)

    def more(self, count: int = 5) -> None:
        """Wait for so many more updates."""
        before = len(self.seqs)
        wait_until(
            lambda: len(self.seqs) >= before + count, f"{count} updates, got {self.seqs[before:]}", PATIENCE_S
        )

    def stop(self) -> None:
        self._over.set()
        self.join(PATIENCE_S)


@contextmanager
def following(machine: Machine, count: int = 2) -> Iterator[list[Follower]]:
    """Have followers; in the end each has got more, and nothing is missing or came twice, in one epoch."""
    followers = [Follower(machine) for _ in range(count)]
    for follower in followers:
        follower.start()
    try:
        for follower in followers:
            follower.more()
        yield followers
        machine.settle()
        for follower in followers:
            follower.more()
    finally:
        for follower in followers:
            follower.stop()
    for follower in followers:
        first = follower.seqs[0]
        assert follower.gaps == []
        assert follower.seqs == list(range(first, first + len(follower.seqs)))
        assert len(follower.epochs) == 1


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One on which execgate was installed, with another feed and a quicker watchdog, and which was booted then."""
    reason = container.why_not()
    if reason is not None:
        message = f"NO SYSTEMD WAS BOOTED, install, units and restarts are untested here: {reason}"
        pytest.fail(message) if os.environ.get("CI") and os.geteuid() == 0 else pytest.skip(message)
    folder = tmp_path_factory.mktemp("boot") / "root"
    made = Machine(folder, ROOT, data_mib=24)
    try:
        install(made, "install", "--gateways", "2")
        made.change("/etc/execgate/publisher.toml", '["ingest-ack"]', '["synthetic"]\nrate = 200')
        made.change(CONFIG, "drain_s = 5", "drain_s = 1")
        made.change(CONFIG, "connection_burst = 20", "connection_burst = 1000")
        for unit in (PUBLISHER, "execgate-gateway@.service"):
            made.drop_in(unit, "watchdog", f"WatchdogSec={WATCHDOG_S}")
        made.start()
        made.settle()
        yield made
    finally:
        made.close()


def install(machine: Machine, *arguments: str) -> str:
    """`./run install` or `uninstall` into its root, from outside."""
    command = [str(ROOT / "run"), *arguments, "--root", str(machine.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_was_installed_starts_at_boot_as_users_of_its_own_with_the_kernels_settings(machine: Machine) -> None:
    for unit in UNITS:
        machine.wait_for_words(unit, " ready pid=")
        assert machine.show(unit, "NRestarts") == "0"
    machine.wait_for_words(PUBLISHER, "begins: the journal is new")
    wait_until(lambda: "feed=live" in machine.show(GATEWAYS[0], "StatusText"), "a status with figures")
    users = {unit: machine.do("stat", "-c", "%U", f"/proc/{machine.pid(unit)}").strip() for unit in UNITS}
    assert users == {PUBLISHER: "execgate-publisher", **dict.fromkeys(GATEWAYS, "execgate-gateway")}
    assert machine.do("stat", "-c", "%U %a", DATA).split() == ["execgate-publisher", "700"]
    assert machine.do("sysctl", "-n", "net.ipv4.tcp_migrate_req", "net.ipv4.tcp_max_syn_backlog").split() == [
        "1",
        "8192",
    ]
    with Client("127.0.0.1:8124", sock=machine.connect()) as client:
        assert len(client.seqs(5)) == 5
        order = {"request": 1, "rows": 1, "timestamp": 1, "address": "a", "execs": [{"symbol": "Q"}]}
        assert client.ask("order-request", order)["data"]["status"] == "accepted"


def test_a_good_reload_is_in_force_and_a_bad_one_fails_with_the_reason_and_changes_nothing(
    machine: Machine,
) -> None:
    def topics() -> int:
        with Client("127.0.0.1:8124", subscribe_at_connect=False, sock=machine.connect()) as client:
            return int(client.receive_event("hello")["data"]["limits"]["topics"])

    before = [machine.pid(unit) for unit in UNITS]
    with following(machine, 1):
        machine.change(CONFIG, "drain_s = 1\n", "drain_s = 1\nmax_topics = 7\n")
        machine.do("systemctl", "reload", *UNITS)
        wait_until(lambda: topics() == topics() == 7, "both gateways with the new limit", PATIENCE_S)
        machine.change(CONFIG, "max_topics = 7", "max_topics = 0")
        for unit in GATEWAYS:
            failed = machine.run("systemctl", "reload", unit)
            assert failed.returncode != 0
            machine.wait_for_words(unit, "max_topics '0': expected")
            assert machine.show(unit, "ActiveState") == "active"
        machine.do("systemctl", "kill", "-s", "HUP", GATEWAYS[0])  # past the check
        machine.wait_for_words(GATEWAYS[0], "settings not reloaded, the old ones stay reason=")
        assert topics() == 7
        machine.change(CONFIG, "max_topics = 0", "max_topics = 8")
        machine.do("systemctl", "reload", *GATEWAYS)
        wait_until(lambda: topics() == topics() == 8, "both gateways with the next limit", PATIENCE_S)
    assert [machine.pid(unit) for unit in UNITS] == before


def test_who_is_killed_comes_back_and_nobody_misses_anything(machine: Machine) -> None:
    with following(machine) as followers:
        for unit in UNITS:
            before, pid = machine.restarts(unit), machine.pid(unit)
            machine.do("kill", "-9", pid)
            machine.wait_for_restarts(before, unit)
            machine.wait_for_words(unit, "code=killed, status=9/KILL")
            machine.settle()
            assert machine.pid(unit) != pid
            for follower in followers:
                follower.more()
    machine.wait_for_words(PUBLISHER, "goes on")


def test_who_hangs_is_ended_by_the_watchdog_and_comes_back(machine: Machine) -> None:
    hung = (PUBLISHER, GATEWAYS[0])
    with following(machine):
        before = machine.restarts(*hung)
        for unit in hung:
            machine.do("kill", "-STOP", machine.pid(unit))
        for unit in hung:
            machine.wait_for_words(unit, f"Watchdog timeout (limit {WATCHDOG_S}s)!")
            machine.wait_for_words(unit, "Failed with result 'watchdog'.")
        machine.wait_for_restarts(before, *hung)


def test_gateways_are_rolled_one_after_the_other_and_end_cleanly(machine: Machine) -> None:
    with following(machine, 4) as followers:
        for unit in GATEWAYS:
            ended = sum("Deactivated successfully" in line for line in machine.said(unit))
            machine.do("systemctl", "restart", unit)
            assert machine.show(unit, "ActiveState") == "active"
            assert machine.show(unit, "NRestarts") == "0"
            machine.wait_for_words(unit, "Deactivated successfully", ended + 1)
            machine.wait_for_words(unit, "draining connections=")
    assert all(follower.connections > 1 for follower in followers)


def test_a_full_disk_holds_the_feed_and_it_goes_on_once_there_is_room(machine: Machine) -> None:
    filler = machine.real(f"{DATA}/filler")
    pids = [machine.pid(unit) for unit in UNITS]
    with following(machine, 1):
        try:
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(b"x" * 65536)
            machine.wait_for_words(PUBLISHER, "journal failing reason=")
            assert machine.run("systemctl", "is-active", *UNITS).stdout.split() == ["active"] * 3
            assert machine.get("/healthz")[0] == 200
        finally:
            filler.unlink()
        machine.wait_for_words(PUBLISHER, "journal heals after_s=")
    assert [machine.pid(unit) for unit in UNITS] == pids


def test_connections_wait_in_the_backlog_of_a_socket_unit_while_gateways_are_away(machine: Machine) -> None:
    sockets = [unit.replace(".service", ".socket") for unit in GATEWAYS]
    machine.do("systemctl", "stop", *GATEWAYS)
    machine.do("systemctl", "enable", "--now", *sockets)
    machine.do("systemctl", "start", "execgate.target")
    machine.settle()
    before = machine.restarts(*GATEWAYS)
    with following(machine):
        machine.do("systemctl", "kill", "-s", "KILL", *GATEWAYS)
        wait_until(lambda: machine.pid(GATEWAYS[0]) == machine.pid(GATEWAYS[1]) == "0", "both away", PATIENCE_S)
        waiting = [machine.connect() for _ in range(8)]
        for sock in waiting:
            sock.settimeout(PATIENCE_S)
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert sock.recv(64).startswith(b"HTTP/1.1 200 ")
            sock.close()
        machine.wait_for_restarts(before, *GATEWAYS)
    machine.do("systemctl", "disable", "--now", *sockets)
    machine.do("systemctl", "restart", *GATEWAYS)
    machine.settle()


def test_secret_keys_that_root_alone_can_read_are_passed_as_credentials(machine: Machine) -> None:
    keys = "/etc/execgate/keys"
    execgate = "/opt/execgate/bin/execgate"
    machine.do(execgate, "keygen", keys, "publisher")
    machine.do(execgate, "keygen", f"{keys}/gateways", "gateway")
    of_publisher, of_gateway = f"{keys}/publisher.key", f"{keys}/gateways/gateway.key"
    units = {PUBLISHER: of_publisher, "execgate-gateway@.service": of_gateway}
    for unit, key in units.items():
        commented = (machine.root / f"etc/systemd/system/{unit}").read_text().splitlines()
        load, name = (line for line in commented if line.startswith(("#LoadCredential=", "#Environment=")))
        other = (
            f"Environment=EXECGATE_CURVE_CLIENTS={keys}/gateways"
            if unit == PUBLISHER
            else f"Environment=EXECGATE_CURVE_SERVER={keys}/publisher.pub"
        )
        machine.drop_in(unit, "curve", f"{load[1:].rpartition(':')[0]}:{key}", name[1:], other)
        assert machine.do("stat", "-c", "%U %a", key).split() == ["root", "600"]
    machine.do("systemctl", "daemon-reload")
    machine.do("systemctl", "restart", PUBLISHER, *GATEWAYS)
    machine.settle()
    with following(machine, 1):
        for unit in UNITS:
            environment = machine.do("cat", f"/proc/{machine.pid(unit)}/environ")
            assert f"EXECGATE_CURVE_KEY=/run/credentials/{unit}/curve.key" in environment
    for unit in units:
        (machine.root / f"etc/systemd/system/{unit}.d/curve.conf").unlink()
    machine.do("systemctl", "daemon-reload")
    machine.do("systemctl", "restart", PUBLISHER, *GATEWAYS)
    machine.settle()


def test_after_a_reboot_everything_is_there_again_in_the_same_epoch(machine: Machine) -> None:
    with following(machine):
        before = machine.leader
        machine.run("systemctl", "reboot")
        machine.wait_for_boot(before)
        machine.settle()
        assert all(machine.show(unit, "NRestarts") == "0" for unit in UNITS)
    for unit in UNITS:
        assert not any("Traceback" in line for line in machine.said(unit))


def test_installed_again_where_it_runs_nothing_changes_and_uninstalled_only_data_and_edits_stay(
    machine: Machine,
) -> None:
    pids = [machine.pid(unit) for unit in UNITS]
    again = machine.do("/mnt/run", "install")
    assert [machine.pid(unit) for unit in UNITS] == pids
    assert not any(word in again for word in ("created", "updated", "removed"))
    for command in ("systemd-sysusers", "systemd-tmpfiles", "sysctl", "systemctl daemon-reload"):
        (line,) = [line for line in again.splitlines() if f"ran: {command}" in line]
        complaint = line.partition("ran: ")[2].partition(": ")[2]
        assert complaint in ("", 'sysctl: permission denied on key "vm.swappiness"')  # it is the whole machine's
    said = machine.do("/mnt/run", "uninstall")
    assert f"kept: {CONFIG} (edited, so it stays)" in said
    assert machine.run("systemctl", "is-active", *UNITS, "execgate.target").stdout.split() == ["inactive"] * 4
    assert not (machine.root / "opt/execgate").exists()
    assert [
        path.name for path in (machine.root / "etc/systemd/system").rglob("execgate*") if not path.is_dir()
    ] == []
    assert machine.do("ls", DATA).split() != []
