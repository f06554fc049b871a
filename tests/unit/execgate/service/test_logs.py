"""Logs: their form, and the throttle that a flood can't pass."""

import json
import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from execgate.service import logs


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(logs, "time", clock)
    return clock


def test_one_line_a_second_passes_with_the_number_held_back(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    throttle = logs.Throttle(logging.getLogger("flood"))
    for _ in range(5):
        throttle.warning("refused peer=%s", "10.0.0.1")
    clock.now += 0.999
    throttle.warning("refused peer=%s", "10.0.0.2")
    assert caplog.messages == ["refused peer=10.0.0.1"]
    clock.now += 0.001
    throttle.warning("refused peer=%s", "10.0.0.3")
    assert caplog.messages[1:] == ["refused peer=10.0.0.3 held_back=5"]
    clock.now += 1
    throttle.warning("refused peer=%s", "10.0.0.4")
    assert caplog.messages[2:] == ["refused peer=10.0.0.4"], "counted anew"


def test_a_message_without_arguments_may_be_held_back_too(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    throttle = logs.Throttle(logging.getLogger("flood"))
    throttle.warning("full")
    throttle.warning("full")
    clock.now += 1
    throttle.warning("full")
    assert caplog.messages == ["full", "full held_back=1"]


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def test_logs_go_to_standard_error_with_time_level_and_name(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.set_up("warning")
    logging.getLogger("gateway").info("not shown")
    logging.getLogger("gateway").warning("closed code=%d", 4108)
    logging.getLogger("tornado.general").warning("not shown")
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} WARNING gateway closed code=4108\n", said.err)


@pytest.mark.parametrize(
    ("line", "event", "fields"),
    [
        ("feed joined epoch=ab seq=7", "feed joined", {"epoch": "ab", "seq": "7"}),
        ("lost why='it is gone' n=1", "lost", {"why": "it is gone", "n": "1"}),
        ('refused: reason="a=b"', "refused", {"reason": "a=b"}),
        ("no fields here", "no fields here", {}),
        ("empty code=", "empty", {"code": ""}),
    ],
)
def test_a_line_has_an_event_and_fields(line: str, event: str, fields: dict[str, str]) -> None:
    assert logs.parts_of(line) == (event, fields)


def test_json_has_the_fields_of_a_line_and_the_traceback_in_one_line(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.set_up("info", "json")
    try:
        raise ValueError("no such figure")
    except ValueError:
        logging.getLogger("gateway").exception("a chore failed name=%s", "report")
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said.pop("time"))
    assert said.pop("traceback").endswith("ValueError: no such figure")
    assert said.pop("message") == "a chore failed name=report"
    assert said == {"level": "error", "logger": "gateway", "event": "a chore failed", "name": "report"}


def fields_of(sent: bytes) -> dict[str, str]:
    """Read a datagram as journald does."""
    found = {}
    while sent:
        name, _, sent = sent.partition(b"\n")
        if b"=" in name:
            name, _, value = name.partition(b"=")
        else:
            length = int.from_bytes(sent[:8], "little")
            value, sent = sent[8 : 8 + length], sent[9 + length :]
        found[name.decode()] = value.decode()
    return found


def test_journald_gets_fields_and_what_it_does_not_take_goes_to_standard_error(
    root_logger: logging.Logger,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = str(tmp_path / "journal")
    monkeypatch.setattr(logs.Journal.__init__, "__defaults__", (path,))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(path)
        journald.settimeout(10)
        logs.set_up("info", "journald")
        logging.getLogger("gateway").warning("session ended session=%s why='two\nlines'", "g-1-2")
        said = fields_of(journald.recv(65536))
    assert said.pop("SYSLOG_PID").isdigit()
    assert said == {
        "MESSAGE": "session ended session=g-1-2 why='two\nlines'",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "execgate",
        "EXECGATE_LOGGER": "gateway",
        "EXECGATE_EVENT": "session ended",
        "EXECGATE_SESSION": "g-1-2",
        "EXECGATE_WHY": "two\nlines",
    }
    assert capsys.readouterr().err == ""
    logging.getLogger("gateway").error("journald is gone")
    assert "ERROR gateway journald is gone" in capsys.readouterr().err


def test_ten_lines_of_an_event_pass_then_one_says_how_many_did_not(
    clock: Clock, root_logger: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.set_up("debug")
    log = logging.getLogger("gateway")
    for number in range(25):
        log.warning("refused peer=%s", number)
        log.debug("looked at peer=%s", number)
    log.warning("something else")
    words = [line.partition(" gateway ")[2] for line in capsys.readouterr().err.splitlines()]
    assert sum(line.startswith("refused") for line in words) == logs.LIMIT
    assert sum(line.startswith("looked") for line in words) == 25, "debug is what was asked for"
    assert words[-1] == "something else"
    clock.now += logs.WINDOW_S
    log.info("whatever comes next")
    words = [line.partition(" gateway ")[2] for line in capsys.readouterr().err.splitlines()]
    assert words == ["held back lines=15 within_s=10 the last: refused peer=24", "whatever comes next"]
    log.warning("refused peer=%s", "again")
    assert "refused peer=again" in capsys.readouterr().err
