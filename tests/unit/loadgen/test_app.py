"""`execgate loadgen` and its words: what is listed, and what is refused before anything is started."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import pytest

from execgate.service import options
from execgate.wire.errors import UsageError
from loadgen import app
from loadgen.capacity_config import CapacityConfig
from loadgen.config import RunConfig

T = TypeVar("T")


@pytest.mark.parametrize("words", [[], ["--help"], ["classic2012", "--help"]])
def test_it_lists_its_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(words) == 0
    text = capsys.readouterr().out
    assert "classic2012 pubsub" in text
    assert "classic2012 orders" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["classic"], "unknown command 'classic'"),
        (["classic2012"], "no program given; expected pubsub or orders"),
        (["classic2012", "sub"], "'sub' is unknown; expected pubsub or orders"),
        (["classic2012", "pubsub", "--url", "http://h/ws"], r"--url 'http://h/ws': expected ws://HOST:PORT/PATH"),
        (
            ["classic2012", "pubsub", "--url", "wss://h:0/ws"],
            "--url 'wss://h:0/ws': expected ws://HOST:PORT/PATH or wss:",
        ),
        (["find-capacity", "--junit", "x"], "--junit 'x': it is for one run"),
        (["find-capacity", "--preset", "storm"], "--preset 'storm': it is for one run"),
        (["find-capacity", "--var", "rate"], "--var rate: expected --ingest or --local"),
        (["find-capacity", "--ingest", "ipc://x"], "--ingest is for --var rate"),
        (["find-capacity", "--var", "speed"], "--var 'speed': expected one of subscribers, rate, orders"),
        (["find-capacity", "--slo", "p99<50ms,p98"], "--slo 'p99<50ms,p98': expected NAME"),
        (["find-capacity", "--slo", "order.p99<1ms"], "--slo 'order.p99<1ms': about orders, and there is no"),
        (["find-capacity", "--start", "0"], "--start '0': expected a whole number"),
        (["classic2012", "orders", "--max-rows", "0"], "--max-rows '0': expected a whole number"),
    ],
)
def test_what_cannot_be_run_is_refused(words: list[str], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        app.main(words)


@pytest.mark.parametrize("program", ["pubsub", "orders"])
def test_help_shows_options_and_examples(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app.main(["classic2012", program, "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert "--for S" in text
    assert f"execgate loadgen classic2012 {program} --" in text
    assert ("--max-rows" in text) == (program == "orders"), "only orders have rows of ours"


def test_a_trial_of_a_search_is_a_run_with_the_settings_of_the_search() -> None:
    """The words that its process is started with make the same settings, whatever they are."""
    words = (
        *("--url", "ws://h:1/ws", "--url", "ws://[::1]:2/ws", "--insecure-tls", "--slo", "lost==0,p99<5ms"),
        *(
            "--seq-regex",
            r"q=(\d+)",
            "--ts-regex",
            r"t=(\d+)",
            "--on-open",
            '{"a": "b c"}',
            "--on-open=-x",
            "--reply",
            "ping=pong=1",
        ),
        *("--require", "errors==0", "--source", "127.0.0.1", "--server-pid", "1", "--for", "0.25", "--seed", "0"),
    )
    search = _loaded(CapacityConfig, words)
    trial = search.trial(7, "07-7")
    assert (trial.subscribers, trial.name, trial.quiet, trial.for_) == (7, "07-7", True, 0.25)
    assert [str(one) for one in trial.require] == ["lost==0", "p99<5ms", "errors==0"]
    assert trial.on_open == (b'{"a": "b c"}', b"-x")
    environment = {"EXECGATE_SUBSCRIBERS": "9", "EXECGATE_QUIET": "false"}
    assert _loaded(RunConfig, options.arguments_of(trial), environment) == trial


def test_a_trial_that_starts_its_servers_is_told_no_url() -> None:
    search = _loaded(CapacityConfig, ["--var", "rate", "--local", "publisher+1"])
    assert search.trial(7, "07-7").local_rate == 7
    assert _loaded(RunConfig, options.arguments_of(search.trial(7, "07-7"))) == search.trial(7, "07-7")


def _loaded(config_class: type[T], words: Sequence[str], environment: Mapping[str, str] | None = None) -> T:
    return options.load(config_class, "execgate test", words, environment or {}, description="", examples="")
