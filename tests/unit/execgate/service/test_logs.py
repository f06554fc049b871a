"""Logs: their form, and the throttle that a flood can't pass."""

import logging
import re
from collections.abc import Iterator

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
