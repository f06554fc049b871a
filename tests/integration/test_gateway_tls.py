"""TLS on the gateway's port: what holds on a plain connection holds here, and what TLS itself has to keep.

The rig and the clients speak TLS where the environment has a gateway serve it, so that tests of plain connections
run here again as they are.
"""

import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from execgate.service.exits import EXIT_USAGE
from tests.certificates import Pair, make_pair
from tests.clients import Client, handshake_request, open_socket, open_tcp
from tests.harness import Process, running, wait_until
from tests.integration import test_gateway_bounds as bounds
from tests.integration import test_gateway_drain as drain
from tests.integration import test_gateway_handshake as handshake
from tests.integration import test_gateway_keepalive as keepalive
from tests.integration import test_gateway_orders as orders
from tests.integration import test_gateway_slow as slow
from tests.rig import Gateway, get, scripted

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make certificates")

SAME = [
    slow.test_a_slow_all_client_is_closed_with_4108_after_a_contiguous_prefix_and_others_miss_nothing,
    slow.test_the_end_of_one_slow_client_costs_none_of_many_others_an_update,
    slow.test_a_slow_volatile_client_is_told_exactly_what_it_missed_and_goes_on_live,
    slow.test_answers_to_a_slow_volatile_client_are_never_dropped,
    slow.test_a_client_that_never_reads_its_answers_is_closed_with_4108,
    slow.test_a_slow_client_that_closes_gets_its_close_answered_after_it_has_read,
    drain.test_it_ends_in_time_with_clients_that_never_answer_and_never_read,
    drain.test_it_ends_early_when_all_clients_have_left_and_meanwhile_takes_no_new_ones,
    drain.test_orders_are_still_answered_while_it_drains,
    drain.test_a_connection_that_is_kept_alive_hears_that_it_is_not_ready_any_more,
    handshake.test_one_more_than_max_connections_is_told_503_until_one_leaves,
]
SAME_WHERE_BOUNDS_ARE_TIGHT: list[Callable[[Gateway], None]] = [
    orders.test_a_good_order_is_accepted_with_its_own_values_before_any_subscription,
    orders.test_1000_orders_in_one_burst_are_all_answered_in_order,
    handshake.test_a_method_other_than_get_or_head_is_refused,
    handshake.test_headers_over_8_kib_are_refused,
    handshake.test_stats_are_json_and_name_their_process,
    handshake.test_the_pages_are_served_with_headers_that_keep_them_from_harm,
    handshake.test_frames_sent_together_with_the_handshake_are_not_lost,
    handshake.test_clients_that_reset_in_the_middle_of_the_handshake_leave_nothing_behind,
    bounds.test_a_closing_client_gets_its_code_back,
    bounds.test_nothing_is_answered_behind_a_close,
    bounds.test_a_ping_is_answered_with_its_payload_within_a_fragmented_message_too,
    bounds.test_a_trickled_message_is_closed_with_1008_in_time_whatever_still_comes,
]
LOOK_S = 2.0  # between two looks at the files; a change has to be seen by two


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(autouse=True)
def tls(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every gateway that a test starts serves TLS, and its clients trust the certificate."""
    _say(monkeypatch, pair)


def _say(monkeypatch: pytest.MonkeyPatch, pair: Pair) -> None:
    for name, value in pair.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def served(pair: Pair) -> Iterator[Gateway]:
    with pytest.MonkeyPatch.context() as patch:
        _say(patch, pair)
        with scripted("--header-timeout-s", "0.6", "--message-timeout-s", "0.5") as (gateway, _):
            yield gateway


@contextmanager
def own_pair(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gateway, Pair]]:
    """Run a gateway with a certificate that a test may replace; clients trust it and its successors."""
    mine = make_pair(folder, "first")
    with scripted(*mine.flags) as (gateway, _):
        trusted = folder / "trusted"
        shutil.copy(mine.certificate, trusted)
        monkeypatch.setenv("EXECGATE_TLS_CERT", str(trusted))
        yield gateway, mine


def trust(folder: Path, *pairs: Pair) -> None:
    with (folder / "trusted").open("a") as file:
        file.writelines(pair.certificate.read_text() for pair in pairs)


def common_name(address: str) -> str:
    """The name in the certificate that a new connection is shown."""
    with open_socket(address) as sock:
        assert isinstance(sock, ssl.SSLSocket)
        shown: Any = sock.getpeercert()
    return str(dict(field[0] for field in shown["subject"])["commonName"])


@pytest.mark.parametrize("test", SAME, ids=lambda test: test.__name__)
def test_what_holds_for_plain_connections_holds_here(test: Callable[[], None]) -> None:
    test()


@pytest.mark.parametrize("test", SAME_WHERE_BOUNDS_ARE_TIGHT, ids=lambda test: test.__name__)
def test_what_holds_where_bounds_are_tight_holds_here(test: Callable[[Gateway], None], served: Gateway) -> None:
    test(served)


def test_clients_are_told_then_closed_with_1012_at_the_deadline() -> None:
    drain.test_clients_are_told_then_closed_with_1012_at_the_deadline_and_the_exit_is_0(15)


def test_a_peer_that_answers_no_ping_is_closed_with_1001() -> None:
    with scripted("--heartbeat-s", "0.2", "--ping-s", "0.3", "--idle-s", "1") as rig:
        keepalive.test_a_peer_that_answers_no_ping_is_closed_with_1001(rig)


def test_a_client_of_2012_gets_every_update_whatever_its_size() -> None:
    """A record holds 16 KiB: an update of one byte more, and of much more, comes whole and in order."""
    with scripted() as (gateway, feed), gateway.client(subscribe_at_connect=True) as client:
        assert client.receive()["event"] == "hello"
        assert client.receive()["event"] == "subscribed"
        for padding in (0, 16_000, 16_384, 16_385, 100_000, 1_000_000):
            feed.updates(3, padding=padding)
        assert client.seqs(18) == list(range(1, 19))


def test_a_page_is_served_over_https_and_http1_is_agreed_on(served: Gateway) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with context.wrap_socket(open_tcp(served.address)) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"
        assert sock.version() == "TLSv1.3"
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert served.get("/healthz") == (200, "ok\n")


def test_a_page_of_the_same_host_may_connect(served: Gateway) -> None:
    with served.raw(headers={"Origin": f"https://{served.address}"}) as client:
        assert client.receive()["event"] == "hello"


@pytest.mark.parametrize("half", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
def test_half_a_tls_handshake_is_closed_in_time(served: Gateway, half: bytes) -> None:
    before = served.stats()["refused"].get("tls", 0)
    with open_tcp(served.address) as sock:
        sock.sendall(half)
        started = time.monotonic()
        assert sock.recv(1024) == b""
        assert time.monotonic() - started < 3.0
    served.wait_for_stats("it is counted", refused__tls=before + 1)


@pytest.mark.parametrize("half", [b"", b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgr"])
def test_half_a_request_is_closed_in_time(served: Gateway, half: bytes) -> None:
    handshake.test_a_connection_whose_headers_do_not_come_is_closed_in_time(served, half)


def test_half_handshakes_are_bounded_and_an_established_connection_is_none() -> None:
    with scripted("--max-exchanges", "3", "--header-timeout-s", "1") as (gateway, _), gateway.raw() as client:
        halves = [open_tcp(gateway.address) for _ in range(8)]
        assert client.receive()["event"] == "hello"
        # Three at a time for a second each: who comes behind them is served in the end.
        assert get(gateway.address, "/healthz", timeout_s=15.0)[0] == 200
        for half in halves:
            half.close()


def test_plain_http_is_refused_without_a_word_in_the_log(served: Gateway) -> None:
    before, said = served.stats()["refused"].get("tls", 0), len(served.process.stderr)
    with open_tcp(served.address) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while piece := _received(sock):
            answer += piece
    assert not answer.startswith(b"HTTP")
    served.wait_for_stats("it is counted", refused__tls=before + 1)
    assert len(served.process.stderr) == said


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1024)
    except ConnectionResetError:
        return b""


def test_a_forged_record_right_behind_a_request_harms_nobody() -> None:
    """It is found while the socket is on its way from Tornado to us; a traceback would fail the rig."""
    forged = b"\x17\x03\x03\x00\x20" + b"forged" * 6
    with scripted() as (gateway, _):
        for _ in range(20):
            context = only(ssl.TLSVersion.TLSv1_3)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            session = context.wrap_bio(incoming, outgoing)
            with open_tcp(gateway.address) as tcp:
                while True:
                    try:
                        session.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        tcp.sendall(outgoing.read())
                        incoming.write(tcp.recv(65536))
                session.write(handshake_request(gateway.address))
                tcp.sendall(outgoing.read() + forged)
                while _received(tcp):
                    pass
        gateway.wait_for_stats("they have ended", connections=0, refused__gone=20)


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated")
def test_tls_1_1_is_refused_and_1_2_is_not(served: Gateway) -> None:
    with open_tcp(served.address) as tcp, pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        only(ssl.TLSVersion.TLSv1_1).wrap_socket(tcp)
    with open_tcp(served.address) as tcp, only(ssl.TLSVersion.TLSv1_2).wrap_socket(tcp) as sock:
        assert sock.version() == "TLSv1.2"


def only(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that would take anything, of one version."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")  # so that it is not this side that refuses
    context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.slow
def test_a_replaced_certificate_is_shown_to_new_connections_while_old_ones_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_pair(tmp_path, monkeypatch) as (gateway, mine), gateway.client() as old:
        assert common_name(gateway.address) == "first"
        second = make_pair(tmp_path, "second")
        trust(tmp_path, second)
        mine.replace_by(second)
        wait_until(lambda: common_name(gateway.address) == "second", "the new one is shown")
        assert old.subscribe()["mode"] == "all"
        gateway.process.wait_for("certificate replaced")


@pytest.mark.slow
def test_a_broken_replacement_keeps_the_old_certificate_and_says_why_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_pair(tmp_path, monkeypatch) as (gateway, mine):
        second, third = make_pair(tmp_path, "second"), make_pair(tmp_path, "third")
        trust(tmp_path, third)
        shutil.move(second.key, mine.key)
        line = gateway.process.wait_for("certificate not replaced").group(0)
        time.sleep(2.5 * LOOK_S)  # for what must not happen there is nothing to wait for
        said = [text for text in gateway.process.stderr if line in text]
        assert len(said) == 1
        assert f"--tls-key {mine.key}: expected the private key of {mine.certificate}" in said[0]
        assert common_name(gateway.address) == "first"
        mine.replace_by(third)
        wait_until(lambda: common_name(gateway.address) == "third", "a good one is taken again")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_bad_file_at_the_start_is_one_line_and_exit_2(tmp_path: Path, pair: Pair, workers: str) -> None:
    junk = tmp_path / "junk"
    junk.write_text("no certificate\n")
    flags = ("--listen", "127.0.0.1:0", "--workers", workers, "--tls-cert", str(junk), "--tls-key", str(pair.key))
    process = Process("gateway", *flags)
    try:
        assert process.wait() == EXIT_USAGE
        (line,) = process.stderr  # no worker was even started
        assert line.startswith(f"execgate gateway: --tls-cert {junk}: expected a file with a PEM certificate")
    finally:
        process.close()


def test_workers_share_a_port_and_their_supervisor_tells_its_figures_in_plain_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with scripted("--workers", "2") as (gateway, feed):
        with gateway.client(subscribe_at_connect=True) as client:
            feed.updates(3)
            assert client.seqs(3) == [1, 2, 3]
        monkeypatch.delenv("EXECGATE_TLS_CERT")
        assert gateway.stats(gateway.facts["stats"])["process"].startswith("supervisor-")


@pytest.mark.parametrize("insecure", [True, False])
def test_the_load_generator_takes_a_self_signed_certificate_only_where_it_is_told_to(insecure: bool) -> None:
    with scripted() as (gateway, feed):
        url = ("--url", f"wss://{gateway.address}/ws", "--max-clients", "3", "--for", "2")
        with running("loadgen", "classic2012", "pubsub", *url, *(("--insecure-tls",) if insecure else ())) as load:
            if insecure:
                gateway.wait_for_stats("they have connected", connections=3)
                feed.updates(10)
                assert load.wait() == 0
                assert "30" in load.words()
            else:
                assert load.wait() == 1
                assert "CERTIFICATE_VERIFY_FAILED" in load.words()


def test_off_the_loopback_nothing_insecure_has_to_be_said(pair: Pair) -> None:
    with scripted(listen="0.0.0.0:0") as (gateway, _):
        address = f"127.0.0.1:{gateway.address.rpartition(':')[2]}"
        with Client(address) as client:
            assert client.receive()["event"] == "hello"
