"""A config file and SIGHUP, on real daemons: what takes effect at once, what does not, and a broken file."""

import os
import shutil
import signal
import ssl
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from execgate.wire.errors import UsageError
from execgate.wire.update import Kind
from gateway import app as gateway_app
from publisher import app as publisher_app
from tests.certificates import make_pair
from tests.clients import exchange, handshake_request, open_tcp
from tests.harness import Process, running, wait_until
from tests.rig import Gateway, get, scripted

RELOADED = "settings reloaded changed="
NOT_RELOADED = "settings not reloaded, the old ones stay reason="


def reload(process: Process, path: Path, text: str, told: str, times: int = 1) -> None:
    """Have the daemon read `text`; wait until it, or it and its workers, have said `told` so many times more."""

    def count() -> int:
        return sum(told in line for line in process.stderr)

    before = count()
    path.write_text(text)
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: count() >= before + times, f"{told}: {process.words()}")


def topics_of(served: Gateway) -> tuple[str, int]:
    """Which process serves a new session, and how many topics it may name."""
    with served.client() as client:
        hello = client.receive_event("hello")["data"]
        return hello["gateway"], hello["limits"]["topics"]


def handshake(served: Gateway, origin: str) -> int:
    return exchange(served.address, handshake_request(served.address, Origin=origin))[0]


def test_a_reload_is_in_force_for_new_sessions_and_disturbs_no_old_one(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("max_connections = 1\nmax_topics = 5")
    with scripted("--config", str(path)) as (served, feed), served.client() as first:
        assert first.receive_event("hello")["data"]["limits"]["topics"] == 5
        first.subscribe()
        assert handshake(served, "http://friend") == 403
        assert exchange(served.address, handshake_request(served.address))[0] == 503
        better = 'max_connections = 9\nmax_topics = 6\nallowed_origin = ["http://friend"]\nring_mib = 3'
        reload(
            served.process, path, f'{better}\nlog_level = "warning"', "only by a restart: --ring-mib '64' -> '3'"
        )
        wait_until(lambda: topics_of(served)[1] == 6, "new limits")
        assert handshake(served, "http://friend") == 101
        for broken in ("max_topics = 0", "max_topic = 7", "max_topics = ", 'max_topics = 7\ntls_cert = "x"'):
            reload(served.process, path, broken, NOT_RELOADED)
        assert topics_of(served)[1] == 6
        feed.updates(3)
        assert first.seqs(3) == [1, 2, 3]
        assert RELOADED not in served.process.words()  # the log's level was one of the changes
        assert served.process.stop() == 0


def test_a_supervisor_reloads_its_workers_and_a_later_one_is_like_them_whatever_the_file_says(
    tmp_path: Path,
) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("max_topics = 5\nworkers = 2")
    with scripted("--config", str(path), "--workers", "2") as (served, feed):
        reload(served.process, path, "max_topics = 6\nworkers = 2", RELOADED, times=3)
        reload(served.process, path, "max_topics = 0", NOT_RELOADED)
        victim = psutil.Process(served.process.pid).children()[0].pid
        os.kill(victim, signal.SIGKILL)
        feed.wait_for_gateways()
        feed.say(Kind.HEARTBEAT)
        stats = served.facts["stats"]
        wait_until(lambda: get(stats, "/readyz")[1].count('"ready": true') == 3, "all are ready")
        found: dict[str, int] = {}
        wait_until(lambda: found.update([topics_of(served)]) or len(found) == 2, "a session of each")
        assert set(found.values()) == {6}
        assert f"gateway-{victim}" not in found
        assert served.process.stop() == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make certificates")
def test_a_reload_brings_another_certificate_at_once_and_a_broken_one_does_not(tmp_path: Path) -> None:
    first, second = make_pair(tmp_path, "first"), make_pair(tmp_path, "second")
    path = tmp_path / "gateway.toml"
    texts = [f'tls_cert = "{pair.certificate}"\ntls_key = "{pair.key}"' for pair in (first, second)]
    path.write_text(texts[0])

    def served_certificate(address: str) -> bytes | None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with open_tcp(address) as sock, context.wrap_socket(sock) as tls:
            return tls.getpeercert(binary_form=True)

    with running("gateway", "--listen", "127.0.0.1:0", "--config", str(path)) as process:
        address = process.wait_for(r"listening address=(\S+)").group(1)
        before = served_certificate(address)
        reload(process, path, texts[1], RELOADED)
        assert before != served_certificate(address) == ssl.PEM_cert_to_DER_cert(second.certificate.read_text())
        for broken in (texts[0].replace("first.key", "second.key"), texts[0].replace("first.crt", "no"), ""):
            reload(process, path, broken, NOT_RELOADED)
        assert served_certificate(address) == ssl.PEM_cert_to_DER_cert(second.certificate.read_text())


def test_a_publisher_reloads_its_log_level(tmp_path: Path) -> None:
    path = tmp_path / "publisher.toml"
    path.write_text('source = ["ingest"]\ningest = "tcp://127.0.0.1:0"\npub = "tcp://127.0.0.1:0"')
    with running("publisher", "--config", str(path)) as publisher:
        assert "ingest" in publisher.ready()
        reload(publisher, path, f'{path.read_text()}\nlog_level = "debug"', RELOADED)
        reload(publisher, path, "log_leve = 3", "log_leve: no such setting; did you mean log_level?")
        assert publisher.stop() == 0


def test_check_and_show_config_print_and_start_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("max_topics = 5")
    assert gateway_app.main(["--check", "--config", str(path)]) == 0
    assert capsys.readouterr().out.startswith("execgate gateway: the settings are good, 1 of ")
    assert gateway_app.main(["--show-config", "--config", str(path)]) == 0
    assert f"max_topics = 5                                # {path}\n" in capsys.readouterr().out
    assert publisher_app.main(["--check", "--rate", "5"]) == 0
    assert capsys.readouterr().out.startswith("execgate publisher: the settings are good, 1 of ")


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (gateway_app.main, ["--tls-cert", "/no/such", "--tls-key", "/no/such"]),
        (gateway_app.main, ["--curve-key", "/no/such", "--curve-server", "/no/such"]),
        (publisher_app.main, ["--curve-key", "/no/such", "--curve-clients", "/no/such"]),
    ],
)
def test_check_looks_at_files_that_are_named(main: object, arguments: Sequence[str]) -> None:
    with pytest.raises(UsageError, match="/no/such: No such file"):
        main(["--check", *arguments])  # type: ignore[operator]
