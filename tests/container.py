"""A systemd of its own: the host's /usr under an empty root, booted by systemd-nspawn with a network of its own.

What was installed into its root stays over a reboot, as do the journal of journald and a small file system for
`/var/lib/execgate`. Commands run in it by nsenter; a socket is opened there by entering its network for a moment.
"""

import ctypes
import http.client
import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.harness import wait_until
from tests.rig import get_over

PATIENCE_S = 60.0
ADDRESS = ("127.0.0.1", 8124)
_NEWNET = 0x40000000  # CLONE_NEWNET of setns(2)
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64")
_DATA = "/var/lib/execgate"

# In a mount namespace of its own, and as number 1 of a process namespace: nothing outlives it, whatever becomes of
# us. Its own cgroup too: nspawn calls its child's `payload`, wherever it is.
_BOOT = f"""\
set -eu
root=$1 name=$2 clone=$3 data_mib=$4
for hierarchy in /sys/fs/cgroup/unified /sys/fs/cgroup/systemd /sys/fs/cgroup; do
    [ -e "$hierarchy/cgroup.procs" ] || continue
    mkdir -p "$hierarchy/$name"
    echo $$ >"$hierarchy/$name/cgroup.procs"
done
mount -t tmpfs tmpfs /run
mount -t tmpfs -o "size=${{data_mib}}M,mode=0755" tmpfs "$root{_DATA}"
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
status=133 # what nspawn leaves a reboot to others with
while [ "$status" -eq 133 ]; do
    status=0
    systemd-nspawn -D "$root" --bind-ro=/usr --bind-ro="$clone:/mnt" \\
        --register=no --keep-unit --private-network --console=pipe -b systemd.firstboot=off \\
        systemd.mask=systemd-networkd.service systemd.mask=systemd-networkd.socket || status=$?
done
"""


def why_not() -> str | None:
    """Return what a container lacks here; None if it may be tried."""
    if os.geteuid() != 0:
        return "not root"
    missing = [name for name in ("systemd-nspawn", "unshare", "nsenter", "setpriv") if shutil.which(name) is None]
    return f"no {', '.join(missing)} (apt-get install systemd-container util-linux)" if missing else None


class Container:
    """One that boots at `start` and ends at `close`, or with this thread.

    Args:
        folder: an empty directory for its root.
        clone: shown in it as /mnt, read-only.
        data_mib: the size of its file system for /var/lib/execgate.
    """

    def __init__(self, folder: Path, clone: Path, data_mib: int) -> None:
        self.root = folder
        self._clone = clone
        self._data_mib = data_mib
        self._name = f"execgate-boot-{os.getpid()}"
        self._words = folder.with_name(f"{folder.name}.log")
        self._script: subprocess.Popen[bytes] | None = None
        for name in (
            "usr",
            "etc",
            "proc",
            "sys",
            "dev",
            "run",
            "tmp",
            "root",
            "mnt",
            "var/log/journal",
            _DATA[1:],
        ):
            (folder / name).mkdir(parents=True)
        for name in _LINKS:
            if Path("/", name).is_symlink():
                (folder / name).symlink_to(Path("/", name).readlink())
        shutil.copy("/usr/lib/os-release", folder / "etc/os-release")
        # With a name of its own it is no first boot, which would enable every service of the host's packages.
        (folder / "etc/machine-id").write_text(f"{os.urandom(16).hex()}\n")

    def start(self) -> None:
        """Boot it; return when its systemd takes commands."""
        apart = ("--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")
        prefix = ("setpriv", "--pdeathsig", "KILL", "unshare", *apart)
        script = ("sh", "-c", _BOOT, "sh", str(self.root), self._name, str(self._clone), str(self._data_mib))
        with self._words.open("wb") as words:
            self._script = subprocess.Popen(
                [*prefix, *script], stdin=subprocess.DEVNULL, stdout=words, stderr=subprocess.STDOUT
            )
        self.wait_for_boot(None)

    def wait_for_boot(self, before: int | None) -> None:
        """Wait for a systemd that takes commands and is not the process `before`."""

        def is_up() -> bool:
            assert self._script is not None
            assert self._script.poll() is None, f"nspawn ended: {self.words()}"
            leader = self._find_leader()
            return leader not in (None, before) and self.run("systemctl", "is-system-running").stdout.strip() in (
                "running",
                "degraded",
                "starting",
            )

        wait_until(is_up, f"a boot: {self.words()}", PATIENCE_S)

    @property
    def leader(self) -> int:
        """The process that is its number 1.

        Raises:
            ProcessLookupError: none is, in the middle of a reboot.
        """
        leader = self._find_leader()
        if leader is None:
            raise ProcessLookupError("no systemd runs in the container")
        return leader

    def _find_nspawn(self) -> int | None:
        return self._find_child(
            self._find_child(self._script.pid if self._script else None, "sh"), "systemd-nspawn"
        )

    def _find_leader(self) -> int | None:
        """Return the child of nspawn that executes systemd, not the one that prepares that."""
        return self._find_child(self._find_nspawn(), "systemd")

    @staticmethod
    def _find_child(parent: int | None, command: str) -> int | None:
        with suppress(OSError):
            for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
                if Path(f"/proc/{child}/comm").read_text().strip() == command:
                    return int(child)
        return None

    def words(self) -> str:
        """Return what nspawn and the console said."""
        return self._words.read_text(errors="replace")[-4000:] if self._words.exists() else "nothing"

    def run(self, *command: str, timeout_s: float = PATIENCE_S) -> "subprocess.CompletedProcess[str]":
        """Run a command in it, as its root."""
        entered = ["nsenter", "-t", str(self._find_leader() or 0), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        return subprocess.run(
            [*entered, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def do(self, *command: str) -> str:
        """Run a command in it that must go well; return its standard output."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.do("systemctl", "show", "--value", "-p", name, unit).strip()

    def said(self, unit: str) -> list[str]:
        """Return the lines that journald has of a unit and of systemd about it, since the first boot."""
        return self.do("journalctl", "--quiet", "--no-pager", "-o", "cat", "-u", unit).splitlines()

    def real(self, path: str) -> Path:
        """Return where a path of it is here, also of what it has mounted."""
        return Path(f"/proc/{self.leader}/root{path}")

    def connect(self) -> socket.socket:
        """Return a connection to its gateways' port, from within its network."""
        libc = ctypes.CDLL(None, use_errno=True)
        with (
            Path(f"/proc/{self.leader}/ns/net").open() as theirs,
            Path("/proc/thread-self/ns/net").open() as ours,
        ):
            if libc.setns(theirs.fileno(), _NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                return socket.create_connection(ADDRESS, 10)
            finally:
                assert libc.setns(ours.fileno(), _NEWNET) == 0

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the body of a page of one of its gateways."""
        connection = http.client.HTTPConnection(*ADDRESS)
        connection.sock = self.connect()
        return get_over(connection, path)

    def close(self) -> None:
        """End it and everything in it, and remove its root; whatever state it is in."""
        script = self._script
        if script is not None and script.poll() is None:
            nspawn = self._find_nspawn()
            if nspawn is not None:
                os.kill(nspawn, signal.SIGTERM)  # an orderly halt
            try:
                script.wait(15 if nspawn is not None else 0)
            except subprocess.TimeoutExpired:
                script.kill()  # and all in its namespace
                script.wait()
        for hierarchy in ("unified", "systemd", "."):
            for folder, _, _ in os.walk(Path("/sys/fs/cgroup", hierarchy, self._name), topdown=False):
                with suppress(OSError):
                    Path(folder).rmdir()
        shutil.rmtree(self.root, ignore_errors=True)
