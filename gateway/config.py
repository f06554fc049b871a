"""The settings of `execgate gateway`: flags, environment and docs are made from this one class."""

from dataclasses import dataclass

from execgate.service.endpoints import (
    TcpAddress,
    parse_tcp_address,
    parse_zmq_endpoint,
    replay_endpoint,
    require_loopback,
    require_private,
)
from execgate.service.logs import FORMS
from execgate.service.options import LOG_LEVELS, number_from_0, one_of, option, positive_number, whole_number
from execgate.wire.errors import UsageError
from gateway.core.proxies import Network, parse_networks, show_networks

NO_REPLAY = "none"


def parse_replay(text: str) -> str:
    """Check a replay endpoint, or `none`, and return it.

    Raises:
        ValueError: says what was expected.
    """
    return text if text == NO_REPLAY else parse_zmq_endpoint(text)


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Every setting with its default and its unit. `docs/gateway.md` says what happens at each bound."""

    listen: TcpAddress = option(
        TcpAddress("127.0.0.1", 8124),
        "address for WebSockets and HTTP; port 0 picks a free one",
        parse=parse_tcp_address,
        metavar="HOST:PORT",
    )
    feed: str = option(
        "tcp://127.0.0.1:5550",
        "the publisher's ZeroMQ endpoint, tcp:// or ipc://",
        parse=parse_zmq_endpoint,
        metavar="ENDPOINT",
    )
    replay: str | None = option(
        None,
        "the publisher's replay endpoint, for what the feed lost and clients missed; 'none' does without "
        "(default: the port after --feed's, or its path and '.replay')",
        parse=parse_replay,
        metavar="ENDPOINT",
    )
    workers: int = option(
        1,
        "processes that share the port, under a supervisor that restarts them",
        parse=whole_number(1, 256),
        metavar="N",
        aliases=("MAX_THREADS",),
    )
    share_port: bool = option(False, "share the port with other gateways on purpose (SO_REUSEPORT)")
    stats_listen: TcpAddress = option(
        TcpAddress("127.0.0.1", 0),
        "where a supervisor serves the sum of its workers; port 0 picks a free one",
        parse=parse_tcp_address,
        metavar="HOST:PORT",
    )
    metrics: TcpAddress | None = option(
        None,
        "serve /metrics for Prometheus here, the sum of all workers; port 0 picks a free one (default: nowhere)",
        parse=parse_tcp_address,
        metavar="HOST:PORT",
    )
    insecure_metrics: bool = option(False, "allow --metrics off the loopback: it is plain text, for anybody")
    admin: str | None = option(
        None,
        "answer 'execgate admin' at this unix socket, mode 0660; not with --workers (default: nowhere)",
        metavar="PATH",
    )
    curve_key: str | None = option(
        None,
        "speak CURVE with the publisher, with the gateway's secret key in FILE (execgate keygen)",
        metavar="FILE",
    )
    curve_server: str | None = option(None, "the publisher's public key in FILE", metavar="FILE")
    insecure_feed: bool = option(
        False, "allow a ZeroMQ address off the loopback without CURVE, which nothing authenticates then"
    )
    insecure_listen: bool = option(False, "allow plain text to listen off the loopback")
    tls_cert: str | None = option(
        None,
        "serve TLS with the certificate in FILE (PEM, issuers behind it); read again when it changes",
        metavar="FILE",
        reloadable=True,
    )
    tls_key: str | None = option(
        None,
        "the private key of --tls-cert in FILE (PEM, no passphrase)",
        metavar="FILE",
        reloadable=True,
    )
    allowed_origin: tuple[str, ...] = option(
        (),
        "an Origin that may connect besides the same host's, exactly; '*' allows all; repeatable",
        repeatable=True,
        metavar="ORIGIN",
        reloadable=True,
    )
    trusted_proxies: tuple[Network, ...] = option(
        (),
        "proxies whose X-Forwarded-For is believed, and whose clients are limited by that address; addresses or "
        "networks separated by commas",
        parse=parse_networks,
        show=show_networks,
        metavar="NETWORKS",
    )
    proxy_protocol: bool = option(
        False, "a connection from --trusted-proxies begins with a PROXY protocol v2 header, which names the client"
    )
    explicit_subscribe: bool = option(
        False, "send updates only to clients that ask, even without the subprotocol (2012 subscribed at connect)"
    )
    emit_volatile: bool = option(
        False,
        "make 'volatile' the default mode: drop what a client can't take, and tell it",
        aliases=("EMIT_VOLATILE",),
    )
    deflate: bool = option(
        False, "compress updates, once for all clients that offer permessage-deflate, and take compressed messages"
    )
    ledger_file: str | None = option(
        None,
        "append a JSON line to FILE for each session that ends, and one for the process, for 'execgate audit'",
        metavar="FILE",
    )
    max_connections: int = option(
        15_000,
        "WebSocket connections of one process; one more is answered 503",
        parse=whole_number(1),
        metavar="N",
        reloadable=True,
    )
    max_exchanges: int = option(
        1_024,
        "handshakes and HTTP requests under way; more wait in the kernel's backlog",
        parse=whole_number(1),
        metavar="N",
        reloadable=True,
    )
    connections_per_s: float = option(
        8.0,
        "new connections a second from one address, 0 for no limit; the loopback has none",
        parse=whole_number(0),
        metavar="N",
        reloadable=True,
    )
    connection_burst: int = option(
        20,
        "connections an address may make at once before that rate counts",
        parse=whole_number(1),
        metavar="N",
        reloadable=True,
    )
    messages_per_s: float = option(
        100.0,
        "inbound messages a second of one session, 0 for no limit; the loopback has none",
        parse=whole_number(0),
        metavar="N",
        reloadable=True,
    )
    max_message_kib: int = option(
        64,
        "size of an inbound message, KiB",
        parse=whole_number(1, 16_384),
        metavar="KIB",
        reloadable=True,
    )
    max_fragments: int = option(
        64,
        "fragments of an inbound message",
        parse=whole_number(1),
        metavar="N",
        reloadable=True,
    )
    max_depth: int = option(
        16,
        "depth of an inbound message's JSON",
        parse=whole_number(2, 500),
        metavar="N",
        reloadable=True,
    )
    max_topics: int = option(
        1_000,
        "topics of one subscription",
        parse=whole_number(1),
        metavar="N",
        reloadable=True,
    )
    outbound_kib: int = option(
        1_024,
        "what may wait for one session, KiB; over it 'all' is closed with 4108",
        parse=whole_number(1),
        metavar="KIB",
        reloadable=True,
    )
    outbound_total_mib: int = option(
        1_024,
        "what may wait for all sessions, MiB; new ones are refused at 95 %",
        parse=whole_number(1),
        metavar="MIB",
        reloadable=True,
    )
    send_buffer_kib: int = option(
        0,
        "kernel send buffer of a connection, KiB; 0 leaves it to the kernel",
        parse=whole_number(0),
        metavar="KIB",
    )
    header_timeout_s: float = option(5.0, "time for a request's headers, s", parse=positive_number, metavar="S")
    message_timeout_s: float = option(
        10.0, "time for an inbound message to become whole, s", parse=positive_number, metavar="S"
    )
    heartbeat_s: float = option(10.0, "between two heartbeats of a session, s", parse=positive_number, metavar="S")
    ping_s: float = option(20.0, "between two pings of a connection, s", parse=positive_number, metavar="S")
    idle_s: float = option(
        45.0, "silence after which a connection is closed, s", parse=positive_number, metavar="S"
    )
    order_timeout_s: float = option(
        5.0, "an order without an end by then is 'unknown', s", parse=positive_number, metavar="S"
    )
    feed_stale_s: float = option(
        3.0,
        "silence after which the feed is stale, s (a publisher says something at least every second)",
        parse=positive_number,
        metavar="S",
    )
    replay_timeout_s: float = option(
        2.0,
        "silence of the publisher's replay after which a request has failed, s",
        parse=positive_number,
        metavar="S",
    )
    ring_mib: int = option(
        64, "newest updates held for clients that resume, MiB of payload", parse=whole_number(1), metavar="MIB"
    )
    archive_mib: int = option(
        64, "older updates fetched for them and held, MiB of payload", parse=whole_number(1), metavar="MIB"
    )
    snapshot_keys: int = option(
        100_000,
        "topics and keys of which the newest update is held for snapshots; the least recently updated go first",
        parse=whole_number(0),
        metavar="N",
    )
    zmq_hwm: int = option(
        50_000,
        "updates ZeroMQ keeps while the gateway is busy; beyond it they are lost, and told as a gap",
        parse=whole_number(1),
        metavar="N",
    )
    drain_lead_s: float = option(
        0.0,
        "after SIGTERM, time in which /readyz is red and all else as before, for load balancers that ask it, s",
        parse=number_from_0,
        metavar="S",
        reloadable=True,
    )
    drain_s: float = option(
        5.0,
        "then, time over which clients are told to leave, in batches, and closed if they don't, s",
        parse=positive_number,
        metavar="S",
        reloadable=True,
    )
    csv: bool = option(False, "print the 2012 server line to standard output at each interval")
    csv_interval_s: float = option(15.0, "between two CSV lines, s", parse=positive_number, metavar="S")
    outlier_size: int = option(
        2,
        "how many of the highest and lowest response times a CSV line averages",
        parse=whole_number(1, 1_000),
        metavar="N",
        aliases=("OUTLIER_SIZE",),
    )
    log_level: str = option(
        "info",
        "least severe log lines: debug, info, warning or error",
        parse=one_of(*LOG_LEVELS),
        metavar="LEVEL",
        reloadable=True,
    )
    log_format: str = option(
        "text",
        "of log lines: text or json to standard error, or journald with a field for each word",
        parse=one_of(*FORMS),
        metavar="FORM",
    )

    def __post_init__(self) -> None:
        """Check what concerns more than one field."""
        if (self.curve_key is None) != (self.curve_server is None):
            given, missing = ("key", "server") if self.curve_key else ("server", "key")
            raise UsageError(f"--curve-{given} without --curve-{missing}: CURVE takes both, see docs/security.md")
        require_loopback("--feed", self.feed, insecure=self.insecure_feed, has_curve=self.curve_key is not None)
        if self.replay != NO_REPLAY:
            has_curve = self.curve_key is not None
            require_loopback("--replay", self.replay_endpoint, insecure=self.insecure_feed, has_curve=has_curve)
        if (self.tls_cert is None) != (self.tls_key is None):
            given, missing = ("--tls-cert", "--tls-key") if self.tls_cert else ("--tls-key", "--tls-cert")
            raise UsageError(f"{given} without {missing}: TLS takes both, a certificate and its private key")
        if self.admin is not None and self.workers > 1:
            raise UsageError(f"--admin {self.admin} with --workers {self.workers}: a socket is of one process")
        if self.proxy_protocol and not self.trusted_proxies:
            raise UsageError("--proxy-protocol without --trusted-proxies: say whose header is believed")
        if not self.listen.is_loopback and not self.insecure_listen and self.tls_cert is None:
            raise UsageError(
                f"--listen {self.listen}: not on the loopback, and plain text; say --tls-cert and --tls-key, "
                "put a TLS proxy before 127.0.0.1, or say --insecure-listen on a network you trust"
            )
        if not self.stats_listen.is_loopback and not self.insecure_listen:
            raise UsageError(
                f"--stats-listen {self.stats_listen}: not on the loopback, and always plain text; "
                "put a TLS proxy before 127.0.0.1, or say --insecure-listen on a network you trust"
            )
        require_private("--metrics", self.metrics, insecure=self.insecure_metrics)
        if self.ping_s >= self.idle_s:
            raise UsageError(f"--ping-s {self.ping_s:g}: expected less than --idle-s {self.idle_s:g}")

    @property
    def replay_endpoint(self) -> str:
        """Where the publisher's history is asked for."""
        return self.replay or replay_endpoint(self.feed)
