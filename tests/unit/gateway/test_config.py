"""The settings: what is refused names where it was said, its value and what was expected; 2012's names work."""

import pytest

from execgate.service.endpoints import TcpAddress
from execgate.service.options import load
from execgate.wire.errors import UsageError
from gateway.config import GatewayConfig


def config(*arguments: str, environment: dict[str, str] | None = None) -> GatewayConfig:
    return load(GatewayConfig, "execgate gateway", arguments, environment or {}, description="", examples="")


def test_the_defaults_are_the_loopback_and_the_port_of_2012() -> None:
    defaults = config()
    assert defaults.listen == TcpAddress("127.0.0.1", 8124)
    assert defaults.feed == "tcp://127.0.0.1:5550"
    assert (defaults.workers, defaults.share_port, defaults.emit_volatile) == (1, False, False)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--listen", "8124"], "--listen '8124': expected HOST:PORT such as 127.0.0.1:8124"),
        (["--listen", "127.0.0.1:65536"], "--listen '127.0.0.1:65536': expected HOST:PORT"),
        (["--listen", "0.0.0.0:1"], "--listen 0.0.0.0:1: not on the loopback, and plain text; say --tls-cert"),
        (["--tls-cert", "a.crt"], "--tls-cert without --tls-key: TLS takes both"),
        (["--tls-key", "a.key"], "--tls-key without --tls-cert: TLS takes both"),
        (["--listen", "[::]:1"], "--listen [::]:1: not on the loopback"),
        (["--stats-listen", "10.0.0.1:1"], "--stats-listen 10.0.0.1:1: not on the loopback"),
        (["--feed", "udp://x:1"], "--feed 'udp://x:1': expected tcp://HOST:PORT or ipc://PATH"),
        (["--feed", "tcp://10.0.0.1:5550"], "--feed tcp://10.0.0.1:5550: not on the loopback"),
        (["--curve-key", "k"], "--curve-key without --curve-server: CURVE takes both"),
        (["--curve-server", "k"], "--curve-server without --curve-key: CURVE takes both"),
        (["--workers", "0"], "--workers '0': expected a whole number from 1 to 256"),
        (["--workers", "257"], "--workers '257': expected a whole number from 1 to 256"),
        (["--max-connections", "0"], "--max-connections '0': expected a whole number from 1"),
        (["--max-exchanges", "x"], "--max-exchanges 'x': expected a whole number from 1"),
        (["--connections-per-s", "-1"], "--connections-per-s '-1': expected a whole number from 0"),
        (["--connection-burst", "0"], "--connection-burst '0': expected a whole number from 1"),
        (["--messages-per-s", "-1"], "--messages-per-s '-1': expected a whole number from 0"),
        (["--max-message-kib", "16385"], "--max-message-kib '16385': expected a whole number from 1 to 16384"),
        (["--max-fragments", "0"], "--max-fragments '0': expected a whole number from 1"),
        (["--max-depth", "1"], "--max-depth '1': expected a whole number from 2 to 500"),
        (["--max-depth", "501"], "--max-depth '501': expected a whole number from 2 to 500"),
        (["--max-topics", "0"], "--max-topics '0': expected a whole number from 1"),
        (["--outbound-kib", "0"], "--outbound-kib '0': expected a whole number from 1"),
        (["--outbound-total-mib", "1.5"], "--outbound-total-mib '1.5': expected a whole number from 1"),
        (["--send-buffer-kib", "-1"], "--send-buffer-kib '-1': expected a whole number from 0"),
        (["--header-timeout-s", "0"], "--header-timeout-s '0': expected a number over 0"),
        (["--message-timeout-s", "nan"], "--message-timeout-s 'nan': expected a number over 0"),
        (["--heartbeat-s", "inf"], "--heartbeat-s 'inf': expected a number over 0"),
        (["--ping-s", "-1"], "--ping-s '-1': expected a number over 0"),
        (["--idle-s", ""], "--idle-s '': expected a number over 0"),
        (["--ping-s", "50"], "--ping-s 50: expected less than --idle-s 45"),
        (["--ping-s", "5", "--idle-s", "5"], "--ping-s 5: expected less than --idle-s 5"),
        (["--order-timeout-s", "soon"], "--order-timeout-s 'soon': expected a number over 0"),
        (["--feed-stale-s", "0"], "--feed-stale-s '0': expected a number over 0"),
        (["--zmq-hwm", "0"], "--zmq-hwm '0': expected a whole number from 1"),
        (["--drain-s", "0"], "--drain-s '0': expected a number over 0"),
        (["--csv-interval-s", "0"], "--csv-interval-s '0': expected a number over 0"),
        (["--outlier-size", "0"], "--outlier-size '0': expected a whole number from 1 to 1000"),
        (["--log-level", "loud"], "--log-level 'loud': expected one of debug, info, warning, error"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_thing_its_value_and_what_was_expected(arguments: list[str], reason: str) -> None:
    flag, *rest = arguments
    words = [f"{flag}={rest[0]}", *rest[1:]]  # so that a value may begin with a dash
    with pytest.raises(UsageError) as refused:
        config(*words)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"EMIT_VOLATILE": "maybe"}, "EMIT_VOLATILE 'maybe': expected true or false"),
        ({"MAX_THREADS": "none"}, "MAX_THREADS 'none': expected a whole number from 1 to 256"),
        ({"OUTLIER_SIZE": "-2"}, "OUTLIER_SIZE '-2': expected a whole number"),
        ({"EXECGATE_LISTEN": "x"}, "EXECGATE_LISTEN 'x': expected HOST:PORT"),
    ],
)
def test_a_bad_environment_name_is_named_as_it_was_written(environment: dict[str, str], reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        config(environment=environment)
    assert reason in str(refused.value)


def test_the_names_of_2012_still_work_and_newer_ones_win() -> None:
    old = {"EMIT_VOLATILE": "true", "MAX_THREADS": "3", "OUTLIER_SIZE": "7"}
    read = config(environment=old)
    assert (read.emit_volatile, read.workers, read.outlier_size) == (True, 3, 7)
    newer = old | {"EXECGATE_EMIT_VOLATILE": "false", "EXECGATE_WORKERS": "4", "EXECGATE_OUTLIER_SIZE": "8"}
    read = config(environment=newer)
    assert (read.emit_volatile, read.workers, read.outlier_size) == (False, 4, 8)
    read = config("--workers", "5", "--outlier-size", "9", "--emit-volatile", environment=newer)
    assert (read.emit_volatile, read.workers, read.outlier_size) == (True, 5, 9)


def test_tls_may_listen_off_the_loopback_but_the_supervisors_figures_stay_plain_text() -> None:
    tls = ("--tls-cert", "a.crt", "--tls-key", "a.key")
    assert config("--listen", "0.0.0.0:1", *tls).tls_cert == "a.crt"
    with pytest.raises(
        UsageError, match=r"--stats-listen 10\.0\.0\.1:1: not on the loopback, and always plain text"
    ):
        config("--stats-listen", "10.0.0.1:1", *tls)


def test_what_is_said_on_purpose_is_allowed() -> None:
    assert config("--listen", "0.0.0.0:1", "--insecure-listen").listen == TcpAddress("0.0.0.0", 1)
    assert config("--feed", "tcp://10.0.0.1:1", "--insecure-feed").feed == "tcp://10.0.0.1:1"
    assert config("--feed", "ipc:///tmp/feed").feed == "ipc:///tmp/feed"
    assert config("--allowed-origin", "https://a", "--allowed-origin", "https://b").allowed_origin == (
        "https://a",
        "https://b",
    )
