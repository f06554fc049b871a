"""The settings of the classic clients. Each field is a flag, an environment name and a line of docs/loadgen.md."""

from dataclasses import dataclass

from execgate.service.options import one_of, option, positive_number, whole_number
from loadgen.core.target import Target, parse_target

DEFAULT_URL = Target("127.0.0.1", 8124, "/ws")


@dataclass(frozen=True, slots=True)
class ClassicConfig:
    """What both programs of 2012 have: `classic2012 pubsub` takes exactly these."""

    url: tuple[Target, ...] = option(
        (DEFAULT_URL,),
        "WebSocket URL of the server; given several times, clients take turns",
        parse=parse_target,
        metavar="URL",
        repeatable=True,
    )
    insecure_tls: bool = option(False, "with wss://, accept any certificate, a self-signed one for instance")
    step: int = option(
        100, "clients added at the start and after every interval", parse=whole_number(1), metavar="N"
    )
    interval: float = option(
        15.0,
        "seconds between steps, and between CSV lines",
        parse=positive_number,
        metavar="S",
        aliases=("INTERVAL_BETWEEN_NEW_CLIENTS_SECS",),
    )
    max_clients: int | None = option(
        None, "add no more clients than this (default: no end)", parse=whole_number(1), metavar="N"
    )
    for_: float | None = option(
        None, "seconds after which the run ends by itself (default: none)", parse=positive_number, metavar="S"
    )
    outlier_size: int = option(
        10,
        "how many of the highest and lowest response times the outlier averages take",
        parse=whole_number(0),
        metavar="N",
        aliases=("OUTLIER_SIZE",),
    )
    connect_timeout_ms: float = option(
        500.0, "milliseconds for TCP, TLS if any, and the handshake together", parse=positive_number, metavar="MS"
    )
    seed: int | None = option(
        None, "repeat the random choices of the run with this seed", parse=whole_number(0), metavar="N"
    )
    intervals: str | None = option(
        None, "write a raw record a second to FILE, as JSON lines (may be /dev/fd/N)", metavar="FILE"
    )
    json: str | None = option(None, "write the summary to FILE as JSON at the end", metavar="FILE")
    log_level: str = option(
        "warning",
        "debug, info, warning or error",
        parse=one_of("debug", "info", "warning", "error"),
        metavar="LEVEL",
    )


@dataclass(frozen=True, slots=True)
class OrdersConfig(ClassicConfig):
    """What `classic2012 orders` has on top."""

    max_rows: int = option(
        10,
        "an order has 1 to this many rows, at random",
        parse=whole_number(1, 1000),
        metavar="N",
        aliases=("MAX_ROWS",),
    )
    order_timeout_ms: float = option(
        2000.0, "milliseconds after which an unanswered order has timed out", parse=positive_number, metavar="MS"
    )
