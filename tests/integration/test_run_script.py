"""`./run` on machines that lack this or that: what it says, what it makes, when it makes it again.

Its Pythons are stand-ins (a shell script that answers as an interpreter would and makes environments of more
stand-ins), so nothing is downloaded and each case takes milliseconds. `test_fresh_clone.py` runs the real thing.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = "bash cat cut dirname env find flock id mkdir readlink rm seq sha256sum tr wc"

STAND_IN = r"""#!/bin/bash
# A Python that tells its base directory, makes environments and installs nothing.
echo "$0 $*" >>"$CALLS"
case "$*" in
-V) echo "Python 3.{minor}.0" ;;
*sys.base_prefix*) {probe} ;;
*ensurepip*) exit {venv_status} ;;
*sys.version_info*) echo "3.{minor}" ;;
"-m venv "*)
    mkdir -p "$3/bin"
    for name in python tox execgate; do
        printf '%s\n' '#!/bin/bash' 'echo "$0 $*" >>"$CALLS"; exit ${{STAND_IN_STATUS:-0}}' >"$3/bin/$name"
        chmod +x "$3/bin/$name"
    done
    ;;
esac
"""


COMPILED = re.findall(r'^    "([a-z_.]+)",$', (ROOT / "setup.py").read_text(), re.MULTILINE)
BUILT_FROM = [
    "pyproject.toml",
    "setup.py",
    "gateway/delivery.pxd",
    *(f"{module.replace('.', '/')}.py" for module in COMPILED),
]


class Machine:
    """A directory with the clone's `run`, and a PATH with a few tools and whatever Pythons a test adds."""

    def __init__(self, base: Path) -> None:
        self.clone, self.path, self.calls = base / "a clone", base / "bin", base / "calls"
        self.clone.mkdir()
        self.path.mkdir()
        for name in ("run", *BUILT_FROM):
            (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.clone / name)
        shutil.copytree(ROOT / "requirements", self.clone / "requirements")
        for tool in [*TOOLS.split(), "chmod"]:
            found = shutil.which(tool)
            assert found is not None, tool
            (self.path / tool).symlink_to(found)

    def add_tool(self, name: str) -> None:
        (self.path / name).write_text("#!/bin/bash\n")
        (self.path / name).chmod(0o755)

    def add_python(
        self,
        minor: int,
        *,
        with_venv: bool = True,
        base: Path | None = None,
        shim: bool = False,
        says: Path | None = None,
    ) -> Path:
        """Add python3.MINOR to PATH (or to `base`/bin); a shim is one of pyenv's that is not selected.

        It `says` where its base is: by default where it is.
        """
        home = base or self.path.parent
        (home / "bin").mkdir(parents=True, exist_ok=True)
        python = home / "bin" / f"python3.{minor}"
        probe = "exit 1" if shim else f"echo '{says or home}'"
        python.write_text(STAND_IN.format(minor=minor, probe=probe, venv_status=0 if with_venv else 1))
        python.chmod(0o755)
        return python

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.calls.write_text("")
        return subprocess.run(
            [str(self.clone / "run"), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd="/",
            env={
                "PATH": str(self.path),
                "HOME": str(self.path.parent),
                "CALLS": str(self.calls),
                **environment,
            },
        )

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_alone_it_lists_every_verb_that_it_takes(machine: Machine) -> None:
    done = machine.run()
    taken = re.search(r'^case "\$\{1:-\}" in$(.*)^esac$', (ROOT / "run").read_text(), re.MULTILINE | re.DOTALL)
    assert taken is not None
    labels = re.findall(r"^    ([a-z][a-z |]*)\)", taken.group(1), re.MULTILINE)
    verbs = {verb.strip() for label in labels for verb in label.split("|")}
    assert {"setup", "demo", "test", "lock", "clean"} <= verbs
    assert done.returncode == 0
    assert all(re.search(rf"^  {verb}\b", done.stdout, re.MULTILINE) for verb in verbs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], "unknown verb fly"),
        (["setup", "now"], "setup takes no arguments, not now"),
        (["test", "tests/unit"], "come after --, not tests/unit"),
    ],
)
def test_misuse_gives_one_line_and_status_2(machine: Machine, arguments: list[str], words: str) -> None:
    done = machine.run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_a_python_it_names_the_command_that_installs_one(machine: Machine) -> None:
    machine.add_tool("apt-get")
    done = machine.run("setup")
    assert done.returncode == 1
    assert "no Python 3.11 or newer" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr


def test_without_the_venv_package_it_names_the_command_that_installs_it(machine: Machine) -> None:
    machine.add_tool("apt-get")
    machine.add_python(12, with_venv=False)
    done = machine.run("demo")
    assert done.returncode == 1
    assert "apt-get install python3.12-venv" in done.stderr
    assert not (machine.clone / ".venv").exists()


def test_a_python_that_can_make_environments_is_preferred_to_an_older_one_that_cannot(machine: Machine) -> None:
    machine.add_python(11, with_venv=False)
    machine.add_python(13)
    assert "Python 3.13" in machine.run("setup").stderr


def test_pyenv_versions_are_found_behind_shims_that_fail(machine: Machine, tmp_path: Path) -> None:
    machine.add_python(12, shim=True)
    machine.add_python(12, base=tmp_path / ".pyenv/versions/3.12.1")
    done = machine.run("setup")
    assert done.returncode == 0
    assert ".pyenv/versions/3.12.1/bin/python3.12" in done.stderr


def test_the_chosen_python_is_taken_and_a_wrong_choice_is_named(machine: Machine, tmp_path: Path) -> None:
    machine.add_python(11)
    chosen = machine.add_python(14, base=tmp_path / "opt")
    assert machine.run("setup").returncode == 0
    assert str(chosen) in machine.run("setup", EXECGATE_PYTHON=str(chosen)).stderr
    assert machine.run("setup", EXECGATE_PYTHON=str(chosen)).stderr == ""
    assert "EXECGATE_PYTHON=/nowhere" in machine.run("demo", EXECGATE_PYTHON="/nowhere").stderr


def test_everything_is_installed_by_hash_and_the_project_without_its_dependencies(machine: Machine) -> None:
    machine.add_python(11)
    machine.run("setup")
    installs = [call for call in machine.called() if " install " in call]
    assert len(installs) == 2
    assert all(word in installs[0] for word in ("--require-hashes", "--only-binary :all:", "runtime.lock"))
    assert all(word in installs[1] for word in ("--no-deps", "--no-build-isolation"))


def test_a_second_run_makes_nothing_and_becomes_the_demo_with_its_arguments(machine: Machine) -> None:
    machine.add_python(11)
    assert machine.run("demo", "--for", "5").returncode == 0
    done = machine.run("demo", "--json", "a file", STAND_IN_STATUS="7")
    assert done.returncode == 7
    assert machine.called() == [f"{machine.clone}/.venv/bin/execgate demo --json a file"]
    assert done.stderr == ""


def test_every_compiled_module_is_one_of_those_that_the_environment_is_made_anew_for() -> None:
    named = re.findall(r"[a-z_/]+", (ROOT / "run").read_text().partition("BUILT_FROM=(")[2].partition(")\n")[0])
    assert COMPILED
    assert all(any(name.endswith(module.replace(".", "/")) for name in named) for module in COMPILED)


@pytest.mark.parametrize("change", ["lock", "project", "compiled module", "half made", "moved"])
def test_an_environment_that_is_out_of_date_or_half_made_is_made_anew(machine: Machine, change: str) -> None:
    machine.add_python(11)
    machine.run("setup")
    if change == "lock":
        (machine.clone / "requirements/runtime.lock").write_text("# other\n")
    elif change == "project":
        (machine.clone / "pyproject.toml").write_text("# other\n")
    elif change == "compiled module":
        (machine.clone / "gateway/delivery.py").write_text("# other\n")
    elif change == "half made":
        (machine.clone / ".venv/made-from").unlink()
    else:
        machine.clone = machine.clone.rename(machine.clone.with_name("elsewhere"))
    left_over = machine.clone / ".venv/left-over"
    left_over.touch()
    assert "making .venv" in machine.run("setup").stderr
    assert not left_over.exists()


def test_a_failed_install_ends_it_and_is_not_taken_for_done(machine: Machine) -> None:
    machine.add_python(11)
    done = machine.run("demo", STAND_IN_STATUS="1")
    assert done.returncode == 1
    assert "cannot install requirements/runtime.lock" in done.stderr
    assert not any(" demo" in call for call in machine.called())
    assert machine.run("demo").returncode == 0


def test_tox_gets_the_pythons_found_and_pytest_its_arguments(machine: Machine) -> None:
    for minor in (11, 12, 13):
        machine.add_python(minor)
    done = machine.run("test", "--", "tests/unit", "-k", "a name", CI="1")
    assert done.returncode == 0
    assert machine.called()[-1].endswith("/.venv-tox/bin/tox run -e py311,py312,py313 -- tests/unit -k a name")
    assert "MISSING" not in done.stderr


def test_without_arguments_lint_types_and_the_slow_tests_run_too(machine: Machine) -> None:
    for minor in (11, 12, 13, 14):
        machine.add_python(minor)
    machine.add_tool("chromium")
    machine.run("test")
    assert machine.called()[-1].endswith("/.venv-tox/bin/tox run -e lint,types,py311,py312,py313,py314,once")


def test_a_failing_tox_is_a_failing_run(machine: Machine) -> None:
    machine.add_python(11)
    machine.run("test", "--", "tests/unit")
    assert machine.run("test", "--", "tests/unit", STAND_IN_STATUS="3").returncode == 3


def test_fewer_than_three_pythons_are_told_and_fail_where_ci_is_set(machine: Machine) -> None:
    machine.add_python(11)
    machine.add_python(13)
    at_hand = machine.run("test", "--", "tests/unit", CI="")
    assert at_hand.returncode == 0
    assert "MISSING: Python 3.12" in at_hand.stderr
    in_ci = machine.run("test", "--", "tests/unit", CI="true")
    assert in_ci.returncode == 1
    assert "fewer than three" in in_ci.stderr
    assert not any("tox run" in call for call in machine.called())


def test_a_missing_browser_is_said_aloud_where_none_may_be_installed(machine: Machine) -> None:
    machine.add_python(11)
    done = machine.run("test")
    assert done.returncode == 0
    assert "NOT TESTED: the page in a browser" in done.stderr


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_what_is_to_be_installed_is_left_to_the_module_for_it_with_a_python_of_all_users(
    machine: Machine, verb: str
) -> None:
    chosen = machine.add_python(11)
    assert machine.run(verb, "--root", "a dir", EXECGATE_PYTHON=str(chosen)).returncode == 0
    assert machine.called()[-1] == f"{chosen} -B -m execgate.install {verb} --root a dir"


@pytest.mark.parametrize("home", ["/root/.pyenv/versions/3.12.1", "/home/me/python", "/run/user/1000/python"])
def test_a_python_that_the_units_hide_from_the_daemons_is_not_installed_with(machine: Machine, home: str) -> None:
    chosen = machine.add_python(12, says=Path(home))
    done = machine.run("install", EXECGATE_PYTHON=str(chosen))
    assert done.returncode == 1
    assert f"{home}: the units' ProtectHome=yes hides it" in done.stderr
    assert "EXECGATE_PYTHON=/path/to/python3 ./run install" in done.stderr
    assert not any("execgate.install" in call for call in machine.called())


def test_clean_takes_what_was_made_and_nothing_else(machine: Machine) -> None:
    machine.add_python(11)
    before = sorted(machine.clone.iterdir())
    machine.run("test", "--", "tests/unit")
    assert (machine.clone / ".venv-tox").exists()
    assert machine.run("clean").returncode == 0
    assert sorted(machine.clone.iterdir()) == before
