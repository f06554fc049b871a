"""`./run install` and `uninstall` into a directory: what is put there, what is never written over, what goes.

The environments here are real but empty ones, made in milliseconds; the whole thing, its wheels and a systemd that
starts it, is in test_boot.py.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from execgate.install import app, environment
from execgate.install.place import Target

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "/opt/execgate/bin/execgate"
GATEWAY = "/etc/execgate/gateway.toml"
UNIT = "/etc/systemd/system/execgate-gateway@.service"


def empty(clone: Path, made: Path, seen_as: str) -> None:
    """Make an environment without anything in it but a command that says which it is."""
    (made / "bin").mkdir(parents=True)
    (made / "bin/execgate").write_text(f"#!/bin/sh\necho {seen_as}\n")
    (made / "bin/execgate").chmod(0o755)


class Machine:
    """A directory to install into, and a copy of the clone's files that a test may change."""

    def __init__(self, base: Path) -> None:
        self.clone, self.root = base / "clone", base / "root"
        self.root.mkdir()
        for folder in ("etc", *environment.PACKAGES):
            shutil.copytree(
                ROOT / folder, self.clone / folder, ignore=shutil.ignore_patterns("__pycache__", "*.so")
            )
        for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "requirements/runtime.lock"):
            (self.clone / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, self.clone / name)

    def target(self, prefix: str = app.DEFAULT_PREFIX, *, dry_run: bool = False) -> Target:
        return Target(self.root, prefix, dry_run)

    def install(
        self, gateways: int | None = None, prefix: str = app.DEFAULT_PREFIX, dry_run: bool = False
    ) -> None:
        app.install(self.clone, self.target(prefix, dry_run=dry_run), gateways, empty)

    def real(self, path: str) -> Path:
        return self.target().real(path)

    def there(self) -> dict[str, bytes | str]:
        """Every file and link, with its content."""
        return {
            str(path.relative_to(self.root)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_symlink() or path.is_file()
        }

    def gateways(self) -> list[str]:
        wants = self.real("/etc/systemd/system/execgate.target.wants")
        return sorted(path.name for path in wants.iterdir() if "gateway" in path.name)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def run(*arguments: str | Path, python: str = sys.executable) -> "subprocess.CompletedProcess[str]":
    command = [python, "-B", "-m", "execgate.install", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)


def test_it_does_what_a_dry_run_said_and_the_second_time_nothing(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.install(2, dry_run=True)
    assert machine.there() == {}
    said = capsys.readouterr().out
    machine.install(2)
    did = capsys.readouterr().out
    created = [line.partition("created: ")[2] for line in did.splitlines() if "created: " in line]
    assert created
    assert created == [
        line.partition("would create: ")[2]
        for line in said.splitlines()
        if "would create: " in line and "/venvs/" not in line
    ]
    there = machine.there()
    machine.install()
    again = capsys.readouterr().out
    assert machine.there() == there
    assert "created" not in again
    assert "updated" not in again
    assert machine.gateways() == ["execgate-gateway@1.service", "execgate-gateway@2.service"]  # as many as before


def test_an_edited_file_is_kept_with_the_new_one_beside_it_until_it_is_taken(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.install()
    for path in (GATEWAY, UNIT):
        machine.real(path).write_text("# mine\n")
    machine.real(GATEWAY).chmod(0o640)
    for name in ("execgate/gateway.toml", "execgate/publisher.toml"):
        with (machine.clone / "etc" / name).open("a") as file:
            file.write("# of the new version\n")
    for _ in range(2):
        machine.install()
        assert machine.real(GATEWAY).read_text() == machine.real(UNIT).read_text() == "# mine\n"
        assert machine.real(f"{GATEWAY}.new").read_text().endswith("# of the new version\n")
        assert not machine.real(f"{UNIT}.new").exists()  # nothing new is shipped
        assert f"kept: {GATEWAY} (edited" in capsys.readouterr().out
    assert machine.real("/etc/execgate/publisher.toml").read_text().endswith("# of the new version\n")
    machine.real(f"{GATEWAY}.new").replace(machine.real(GATEWAY))
    machine.install()
    assert not machine.real(f"{GATEWAY}.new").exists()
    (machine.clone / "etc/execgate/gateway.toml").write_text("# yet newer\n")
    machine.install()
    assert machine.real(GATEWAY).read_text() == "# yet newer\n"  # it is ours again


def test_the_command_is_the_newest_version_and_an_older_clone_brings_its_own_back(machine: Machine) -> None:
    def version() -> str:
        return machine.real(COMMAND).resolve().parents[1].name

    machine.install()
    first = version()
    lock = machine.clone / "requirements/runtime.lock"
    old = lock.read_text()
    seen = {first}
    for change in range(4):
        lock.write_text(f"{old}# {change}\n")
        machine.install()
        seen.add(version())
    assert len(seen) == 5
    assert len(list(machine.real("/opt/execgate/lib/execgate/venvs").iterdir())) == app.KEPT_VERSIONS
    lock.write_text(f"{old}# 2\n")
    machine.install()
    assert version() in seen


def test_units_run_the_command_at_the_prefix(machine: Machine) -> None:
    machine.install(prefix="/srv/eg")
    units = [path.read_text() for path in machine.real("/etc/systemd/system").glob("*.service")]
    assert len(units) == 2
    assert all("ExecStart=/srv/eg/bin/execgate " in unit for unit in units)
    assert not any("/opt/execgate" in line for unit in units for line in unit.splitlines())
    assert machine.real("/srv/eg/bin/execgate").resolve().exists()


def test_a_link_that_starts_a_unit_points_at_it(machine: Machine) -> None:
    machine.install(3)
    links = [path for path in machine.real("/etc/systemd/system").rglob("*") if path.is_symlink()]
    assert len(links) == 5
    assert all(machine.real(str(link.readlink())).is_file() for link in links)


def test_fewer_gateways_are_unlinked(machine: Machine) -> None:
    machine.install(3)
    machine.install(1)
    assert machine.gateways() == ["execgate-gateway@1.service"]


def test_uninstall_leaves_what_was_edited_and_data_and_says_so(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    data = machine.real("/var/lib/execgate/journal.sqlite")
    data.parent.mkdir(parents=True)
    data.write_text("rows")
    machine.install(2)
    machine.real(GATEWAY).write_text("# mine\n")
    app.uninstall(machine.target(dry_run=True))
    assert machine.real(COMMAND).is_symlink()
    capsys.readouterr()
    app.uninstall(machine.target())
    assert machine.there() == {
        "etc/execgate/gateway.toml": b"# mine\n",
        "var/lib/execgate/journal.sqlite": b"rows",
    }
    assert not machine.real("/opt/execgate").exists()
    said = capsys.readouterr().out
    assert f"kept: {GATEWAY} (edited, so it stays)" in said
    assert "stays: the journal in /var/lib/execgate" in said


@pytest.mark.slow
def test_a_build_that_fails_changes_nothing(machine: Machine) -> None:
    machine.install()
    there = machine.there()
    (machine.clone / "etc/execgate/gateway.toml").write_text("# new\n")
    (machine.clone / "requirements/runtime.lock").write_text("no-such-distribution @ file:///nowhere.whl\n")
    with pytest.raises(environment.BuildError, match="pip"):
        app.install(machine.clone, machine.target(), None)
    assert machine.there() == there


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["install", "--prefix", "relative"], 2, "--prefix 'relative': expected an absolute path"),
        (["install", "--prefix", "/opt/a b"], 2, "--prefix '/opt/a b': expected an absolute path"),
        (["install", "--prefix", "/home/me/execgate"], 2, "ProtectHome=yes hides it"),
        (["install", "--gateways", "0"], 2, "'0': expected a number from 1 to 64"),
        (["install", "--gateway", "2"], 2, "unrecognized arguments: --gateway 2"),
        (["uninstall"], 2, "nothing is installed at /opt/execgate"),
        (["install", "--root", "/no/such"], 2, "--root /no/such: is no directory"),
    ],
)
def test_misuse_is_named(tmp_path: Path, arguments: list[str], status: int, words: str) -> None:
    done = run(arguments[0], "--root", tmp_path, *arguments[1:])
    assert (done.returncode, list(tmp_path.iterdir())) == (status, [])
    assert words in done.stderr


def test_a_record_that_is_none_is_named_and_nothing_is_done(tmp_path: Path) -> None:
    record = tmp_path / "opt/execgate/lib/execgate/installed.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"files": 3}')
    done = run("uninstall", "--root", tmp_path)
    assert done.returncode == 2
    assert f"{record}: not a record of an installation" in done.stderr
