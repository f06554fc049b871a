"""The life of a daemon: how it stops, what it says, and that it ends with its parent, in real processes."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from execgate.service import systemd
from execgate.service.lifecycle import PARENT_VARIABLE, Stop, child_environment, tell_ready
from tests.harness import wait_until


def python(source: str, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )


def test_stop_is_awaited_asked_and_requested_more_than_once() -> None:
    async def check() -> None:
        stop = Stop()
        assert not stop.requested
        assert await stop.wait(0.01) is False
        asyncio.get_running_loop().call_later(0.01, stop.request)
        assert await stop.wait() is True
        stop.request()
        assert stop.requested
        assert await stop.wait(0) is True
        assert await stop.wait(10) is True

    asyncio.run(check())


def test_the_same_signal_again_asks_to_end_at_once_and_another_one_does_not() -> None:
    stop = Stop()
    stop.signal(signal.SIGINT)
    assert stop.requested
    stop.request()
    stop.signal(signal.SIGTERM)  # whoever started us passes Ctrl-C on
    assert not stop.at_once.is_set()
    stop.signal(signal.SIGINT)
    assert stop.at_once.is_set()


RUNS = """
    import sys
    from execgate.service.lifecycle import Stop, run, tell_ready
    from execgate.wire.errors import UsageError

    async def main(stop: Stop) -> int | None:
        if sys.argv[1] == "misused":
            raise UsageError("--listen 1.2.3.4:80: already in use")
        if sys.argv[1] == "waits":
            tell_ready("test", listen="127.0.0.1:0")
            await stop.wait()
        return {"none": None, "seven": 7, "waits": 0}[sys.argv[1]]

    sys.exit(run("execgate test", main))
"""


@pytest.mark.parametrize(("way", "status"), [("none", 0), ("seven", 7)])
def test_run_returns_what_main_returns(way: str, status: int) -> None:
    process = python(RUNS, way)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == status


def test_run_turns_a_usage_error_into_exit_2_and_one_line() -> None:
    process = python(RUNS, "misused")
    assert process.communicate(timeout=20) == ("", "execgate test: --listen 1.2.3.4:80: already in use\n")
    assert process.returncode == 2


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_requests_the_stop_and_main_ends_in_its_own_way(signum: signal.Signals) -> None:
    process = python(RUNS, "waits")
    assert process.stdout is not None
    assert process.stdout.readline() == f"test ready pid={process.pid} listen=127.0.0.1:0\n"
    process.send_signal(signum)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


def test_the_ready_line_is_told_to_systemd_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    monkeypatch.setattr(systemd, "notify", told.append)
    tell_ready("gateway", listen="[::1]:5", workers=2)
    assert capsys.readouterr().out == f"gateway ready pid={os.getpid()} listen=[::1]:5 workers=2\n"
    assert told == ["READY=1"]


def test_the_ready_line_leaves_standard_output_to_results_where_it_is_asked_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell_ready("loadgen", to_stderr=True, target="127.0.0.1:1")
    assert capsys.readouterr() == ("", f"loadgen ready pid={os.getpid()} target=127.0.0.1:1\n")


CHILD = """
    import os, signal, sys, time
    from execgate.service.lifecycle import PARENT_VARIABLE, end_with_parent
    def ended(signum, frame):
        open(sys.argv[1], "w").write("SIGTERM")
        os._exit(0)
    signal.signal(signal.SIGTERM, ended)
    end_with_parent()
    print("child", os.getpid(), PARENT_VARIABLE in os.environ, flush=True)
    time.sleep(60)
"""
PARENT = """
    import subprocess, sys, time
    from execgate.service.lifecycle import child_environment
    environment = child_environment() if sys.argv[3] == "bound" else None
    subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], env=environment)
    time.sleep(60)
"""


@pytest.mark.parametrize("bond", ["bound", "free"])
def test_a_child_gets_sigterm_when_its_parent_is_killed_if_the_parent_asked_for_it(
    bond: str, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    parent = python(PARENT, textwrap.dedent(CHILD), str(mark), bond)
    assert parent.stdout is not None
    _, child_pid, inherits = parent.stdout.readline().split()
    child = psutil.Process(int(child_pid))
    try:
        assert inherits == "False", "the child's own children do not mistake its parent for theirs"
        parent.kill()
        parent.wait(10)
        if bond == "bound":
            wait_until(lambda: mark.exists() and mark.read_text(), "the child was told to end")
            assert mark.read_text() == "SIGTERM"
        else:  # the control: without the bond the child lives on
            wait_until(lambda: child.ppid() != parent.pid, "the child was adopted")
            assert child.is_running()
            assert not mark.exists()
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
        parent.kill()
        parent.communicate(timeout=10)


def test_a_child_whose_parent_died_before_it_could_ask_ends_at_once() -> None:
    process = python(RUNS, "waits", environment={PARENT_VARIABLE: "1"} if os.getpid() != 1 else {})
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


FILLS = """
    import os
    from execgate.service.lifecycle import fill_standard_descriptors
    os.close(0)
    os.close(2)
    fill_standard_descriptors()
    print([os.readlink(f"/proc/self/fd/{n}") for n in (0, 2)], os.open("/", os.O_RDONLY) > 2)
    try:
        os.read(0, 1)
    except OSError as error:
        print(error.strerror)
"""


def test_closed_standard_descriptors_are_filled_so_that_no_socket_takes_their_place() -> None:
    process = python(FILLS)
    assert process.communicate(timeout=20)[0] == "['/dev/null', '/dev/null'] True\nBad file descriptor\n"


def test_a_child_s_environment_is_ours_and_our_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECGATE_SOMETHING", "x")
    for name in systemd.OURS:  # a child that told systemd of itself would speak for us
        monkeypatch.setenv(name, "1")
    environment = child_environment()
    assert not systemd.OURS & environment.keys()
    assert environment[PARENT_VARIABLE] == str(os.getpid())
    assert environment["EXECGATE_SOMETHING"] == "x"
    assert PARENT_VARIABLE not in os.environ
