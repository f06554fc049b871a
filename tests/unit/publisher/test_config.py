"""The settings: what contradicts itself or can't be is one line that names it; each flag is in the docs."""

import dataclasses
from pathlib import Path

import pytest

from execgate.service.options import environment_names, flag_of, load
from execgate.wire.errors import UsageError
from publisher.config import PublisherConfig

DOCS = Path(__file__).parents[3] / "docs"


def config(*arguments: str, environment: dict[str, str] | None = None) -> PublisherConfig:
    return load(PublisherConfig, "execgate publisher", arguments, environment or {}, description="", examples="")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["--source", "kafka"],
            "--source 'kafka': expected synthetic, file:PATH, - (standard input), ingest or ingest-ack",
        ),
        (["--source", "file:"], "--source 'file:': expected"),
        (["--source", "-", "--source", "-"], "--source -: expected once"),
        (["--rate", "0"], "--rate '0': expected a number over 0"),
        (["--rate", "nan"], "--rate 'nan': expected a number over 0"),
        (["--rate", "5", "--interval-ms", "10:20"], "--rate and --interval-ms: expected one of them"),
        (["--interval-ms", "20:10"], "--interval-ms '20:10': expected LO:HI"),
        (["--pace", "rate"], "--pace rate: expected --rate N next to it"),
        (["--pace", "fast"], "--pace 'fast': expected one of asap, rate, recorded"),
        (["--rows", "0"], "--rows '0': expected a whole number from 1 to 1000"),
        (["--heartbeat-ms", "1001"], "--heartbeat-ms '1001': expected a whole number from 10 to 1000"),
        (["--max-updates", "0"], "--max-updates '0': expected a whole number from 1"),
        (["--pub", "udp://x:1"], "--pub 'udp://x:1': expected tcp://HOST:PORT or ipc://PATH"),
        (["--pub", "tcp://0.0.0.0:1"], "--pub tcp://0.0.0.0:1: not on the loopback"),
        (["--pub", "tcp://*:1"], "--pub tcp://*:1: not on the loopback"),
        (["--source", "ingest", "--ingest", "tcp://10.0.0.1:1"], "--ingest tcp://10.0.0.1:1: not on the loopback"),
        (["--source", "ingest-ack", "--ingest-ack", "tcp://*:1"], "--ingest-ack tcp://*:1: not on the loopback"),
        (["--replay", "tcp://10.0.0.1:1"], "--replay tcp://10.0.0.1:1: not on the loopback"),
        (
            ["--pub", "tcp://127.0.0.1:65535"],
            "--replay: no port after that of tcp://127.0.0.1:65535; say --replay",
        ),
        (["--curve-clients", "d"], "--curve-clients: expected --curve-key FILE next to it"),
        (["--curve-producers", "d"], "--curve-producers: expected --curve-key FILE next to it"),
        (["--curve-key", "k"], "--curve-key: expected --curve-clients DIR next to it"),
        (
            ["--curve-key", "k", "--curve-clients", "d", "--source", "ingest-ack"],
            "--curve-key and --source ingest-ack: expected --curve-producers DIR next to them",
        ),
        (["--topic", "ex.{symbol}"], "--topic 'ex.{symbol}': expected a delimiter"),
        (["--log-level", "loud"], "--log-level 'loud': expected one of"),
    ],
)
def test_a_bad_setting_is_named_with_what_was_expected(arguments: list[str], reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        config(*arguments)
    assert str(refused.value).startswith(reason)


def test_an_address_off_the_loopback_is_taken_where_the_operator_says_so() -> None:
    assert config("--pub", "tcp://*:1", "--insecure-feed").pub == "tcp://*:1"
    assert config("--ingest", "tcp://10.0.0.1:1").source == ("synthetic",)  # not bound, so not refused


def test_with_curve_an_address_off_the_loopback_is_taken() -> None:
    keys = ("--curve-key", "k", "--curve-clients", "d", "--curve-producers", "p")
    assert config(*keys, "--pub", "tcp://*:1", "--source", "ingest", "--ingest", "tcp://*:9").pub == "tcp://*:1"


def test_replay_is_next_to_the_feed_unless_it_is_said_where() -> None:
    assert config().replay_endpoint == "tcp://127.0.0.1:5551"
    assert config("--pub", "tcp://127.0.0.1:0").replay_endpoint == "tcp://127.0.0.1:0"
    assert config("--replay", "tcp://127.0.0.1:9").replay_endpoint == "tcp://127.0.0.1:9"


def test_the_pace_of_lines_follows_the_rate() -> None:
    assert config().line_pace == "asap"
    assert config("--rate", "5").line_pace == "rate"
    assert config("--rate", "5", "--pace", "asap").line_pace == "asap"


def test_the_environment_name_of_2012_sets_the_rows() -> None:
    assert config(environment={"MAX_ROWS": "7"}).rows == 7
    assert config("--rows", "3", environment={"MAX_ROWS": "7"}).rows == 3
    assert config(environment={"EXECGATE_SOURCE": "synthetic ingest"}).source == ("synthetic", "ingest")


def test_every_setting_is_in_the_docs() -> None:
    page = (DOCS / "publisher.md").read_text()
    for field in dataclasses.fields(PublisherConfig):
        assert f"`{flag_of(field)}`" in page, flag_of(field)
        for alias in environment_names(field)[1:]:
            assert f"`{alias}`" in page, alias
