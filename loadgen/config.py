"""The settings of the load generator. Each field is a flag, an environment name and a line of docs/loadgen.md."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from execgate.service.options import Parser, Setting, build, gather, one_of, option, positive_number, whole_number
from loadgen.core.adapter import (
    UNITS_US,
    Adapter,
    JsonPath,
    Regex,
    Reply,
    parse_path,
    parse_regex,
    parse_reply,
)
from loadgen.core.local import parse_local, show_local
from loadgen.core.plan import MAX_CLIENTS, Plan, Size, steady_plan
from loadgen.core.recorder import STALE_AFTER_S
from loadgen.core.requirement import Requirement, parse_requirement
from loadgen.core.scenario import Scenario
from loadgen.core.target import Target, parse_target
from loadgen.scenarios import read_preset, read_scenario

DEFAULT_URL = Target("127.0.0.1", 8124, "/ws")
DEFAULT_URLS = (DEFAULT_URL,)
MAX_INTERVALS = 100_000
"""A run's records; with the buckets that a busy interval fills, a few hundred megabytes at the very most."""
MAX_PROCESSES = 256


MAX_ON_OPEN_BYTES = 1024 * 1024
"""Of a message that each client sends."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2


def parse_message(text: str) -> bytes:
    """Read a message, or the file that has it, without the end of its last line.

    Raises:
        ValueError: says what was expected.
    """
    if not text.startswith("@"):
        return text.encode()
    try:
        with Path(text[1:]).open("rb") as file:
            message = file.read(MAX_ON_OPEN_BYTES + 1)
        if len(message) > MAX_ON_OPEN_BYTES:
            raise ValueError(f"expected {MAX_ON_OPEN_BYTES} bytes at most")
        message.decode()
    except OSError as error:
        raise ValueError(f"{error.strerror or error}; expected a message, or @ and a file that has it") from None
    except UnicodeDecodeError:
        raise ValueError("expected a file in UTF-8") from None
    return message.rstrip(b"\r\n")


def parse_token(text: str) -> str:
    """Read a subprotocol's name.

    Raises:
        ValueError: says what was expected.
    """
    if not _TOKEN.fullmatch(text):
        raise ValueError("expected a name without spaces, such as graphql-ws")
    return text


def _max_rows() -> Any:
    return option(
        10,
        "an order has 1 to this many rows, at random",
        parse=whole_number(1, 1000),
        metavar="N",
        aliases=("MAX_ROWS",),
    )


def _order_timeout_ms() -> Any:
    return option(
        2000.0, "milliseconds after which an unanswered order has timed out", parse=positive_number, metavar="MS"
    )


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("expected an IP address, such as 127.0.0.2") from None


def _records() -> Any:
    return option(
        None,
        "write down what each subscriber heard to FILE, as JSON lines, for 'execgate audit'",
        metavar="FILE",
    )


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """What every load has: where to, and how clients connect."""

    url: tuple[Target, ...] = option(
        DEFAULT_URLS,
        "WebSocket URL of the server; given several times, clients take turns",
        parse=parse_target,
        metavar="URL",
        repeatable=True,
    )
    insecure_tls: bool = option(False, "with wss://, accept any certificate, a self-signed one for instance")
    connect_timeout_ms: float = option(
        500.0, "milliseconds for TCP, TLS if any, and the handshake together", parse=positive_number, metavar="MS"
    )
    seed: int | None = option(
        None, "repeat the random choices of the run with this seed", parse=whole_number(0), metavar="N"
    )
    log_level: str = option(
        "warning",
        "debug, info, warning or error",
        parse=one_of("debug", "info", "warning", "error"),
        metavar="LEVEL",
    )


@dataclass(frozen=True, slots=True)
class ClassicConfig(ClientConfig):
    """What both programs of 2012 have: `classic2012 pubsub` takes exactly these."""

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
    intervals: str | None = option(
        None, "write a raw record a second to FILE, as JSON lines (may be /dev/fd/N)", metavar="FILE"
    )
    records: str | None = _records()
    json: str | None = option(None, "write the summary to FILE as JSON at the end", metavar="FILE")


@dataclass(frozen=True, slots=True)
class OrdersConfig(ClassicConfig):
    """What `classic2012 orders` has on top."""

    max_rows: int = _max_rows()
    order_timeout_ms: float = _order_timeout_ms()


@dataclass(frozen=True, slots=True)
class ForeignConfig(ClientConfig):
    """What `run` has for servers that are not ours."""

    seq_path: JsonPath | None = option(
        None,
        "of a server that is not ours: where an update's sequence stands in its JSON",
        parse=parse_path,
        metavar="PATH",
    )
    ts_path: JsonPath | None = option(
        None, "where an update's timestamp stands in its JSON", parse=parse_path, metavar="PATH"
    )
    seq_regex: Regex | None = option(
        None, "what finds an update's sequence, in one group", parse=parse_regex, metavar="REGEX"
    )
    ts_regex: Regex | None = option(
        None, "what finds an update's timestamp, in one group", parse=parse_regex, metavar="REGEX"
    )
    ts_unit: str = option("ms", "of timestamps: s, ms, us or ns", parse=one_of(*UNITS_US), metavar="UNIT")
    on_open: tuple[bytes, ...] = option(
        (),
        "a message to send once a connection is open, or @FILE, which has one; may be given several times",
        parse=parse_message,
        metavar="MESSAGE",
        repeatable=True,
        show=lambda messages: " ".join(message.decode() for message in messages),
    )
    reply: tuple[Reply, ...] = option(
        (),
        "PING=PONG: what to answer to a message that is exactly PING; may be given several times",
        parse=parse_reply,
        metavar="PAIR",
        repeatable=True,
    )
    subprotocol: str | None = option(
        None, "to offer to a server that is not ours", parse=parse_token, metavar="NAME"
    )

    def adapter(self) -> Adapter | None:
        """Return how to talk with the server, None if it is ours.

        Raises:
            ValueError: what was given does not go together.
        """
        if (self.seq_path or self.ts_path) and (self.seq_regex or self.ts_regex):
            raise ValueError("--seq-path and --ts-path, or --seq-regex and --ts-regex: not one of each")
        seq, ts = self.seq_path or self.seq_regex, self.ts_path or self.ts_regex
        if seq is None and ts is None:
            talk = {"--on-open": self.on_open, "--reply": self.reply, "--subprotocol": self.subprotocol}
            if given := [flag for flag, value in talk.items() if value]:
                raise ValueError(
                    f"{given[0]} is for servers that are not ours: say with --seq-path, --ts-path, --seq-regex or "
                    "--ts-regex what an update is"
                )
            return None
        replies = {reply.ping: reply.pong.encode() for reply in self.reply}
        return Adapter(seq, ts, UNITS_US[self.ts_unit], self.on_open, replies, self.subprotocol)


@dataclass(frozen=True, slots=True)
class RunConfig(ForeignConfig):
    """What `run` takes. A scenario stands below environment and flags, see `load_run`."""

    local: int | None = option(
        None,
        "start a publisher and N gateways here for the length of the run, and meet them: publisher+N",
        parse=parse_local,
        show=show_local,
        metavar="SERVERS",
    )
    local_rate: float = option(
        20.0, "updates a second that the local publisher makes", parse=positive_number, metavar="R"
    )
    scenario: Scenario | None = option(
        None, "do what FILE says, in TOML: stages, and groups of subscribers", parse=read_scenario, metavar="FILE"
    )
    preset: Scenario | None = option(
        None,
        "a scenario that comes with the program: capacity, fairness, slow-readers, soak, spike or storm",
        parse=read_preset,
        metavar="NAME",
    )
    subscribers: int = option(
        100, "clients that take every update; 0 for none", parse=whole_number(0, MAX_CLIENTS), metavar="N"
    )
    orders_per_s: float | None = option(
        None,
        "orders a second, evenly spaced over all order clients (default: none)",
        parse=positive_number,
        metavar="R",
    )
    order_clients: int = option(
        10, "clients that take turns at the orders", parse=whole_number(1, MAX_CLIENTS), metavar="N"
    )
    connect_rate: float = option(
        100.0, "connections a second that are begun, until all are", parse=positive_number, metavar="C"
    )
    warm_up: float = option(
        2.0,
        "seconds at full load that are not measured, after the last connection was begun",
        parse=positive_number,
        metavar="S",
    )
    for_: float = option(30.0, "seconds that are measured", parse=positive_number, metavar="S")
    interval: float = option(1.0, "seconds of a record", parse=positive_number, metavar="S")
    stale_after: float = option(
        STALE_AFTER_S,
        "seconds in which a stream that says nothing, not even a heartbeat, has become stale",
        parse=positive_number,
        metavar="S",
    )
    max_rows: int = _max_rows()
    order_timeout_ms: float = _order_timeout_ms()
    run_dir: str = option("runs", "folder in which a folder for this run is made", metavar="DIR")
    name: str | None = option(
        None, "name of the run's folder (default: the time at which it began)", metavar="NAME"
    )
    require: tuple[Requirement, ...] = option(
        (),
        "what must hold, such as 'p99<50ms' or 'lost==0'; may be given several times",
        parse=parse_requirement,
        metavar="CONDITION",
        repeatable=True,
    )
    source: tuple[str, ...] = option(
        (),
        "address of this machine to connect from; given several times, clients take turns",
        parse=_address,
        metavar="IP",
        repeatable=True,
    )
    processes: int | None = option(
        None,
        "processes that share the load (default: by the number of clients, cores and descriptors)",
        parse=whole_number(1, MAX_PROCESSES),
        metavar="N",
    )
    records: str | None = _records()
    json: str | None = option(None, "write figures and verdict to FILE as JSON at the end", metavar="FILE")
    junit: str | None = option(None, "write verdict and requirements to FILE as JUnit XML", metavar="FILE")
    server_pid: tuple[int, ...] = option(
        (),
        "a process of the server on this machine, whose CPU and memory (with its children's) are recorded; "
        "may be given several times",
        parse=whole_number(1),
        metavar="PID",
        repeatable=True,
    )
    quiet: bool = option(False, "show nothing while it runs")

    def __post_init__(self) -> None:
        """Check what no single option can know."""
        if self.scenario is not None and self.preset is not None:
            raise ValueError("--scenario and --preset: expected one of them")
        if not self.subscribers and self.orders_per_s is None:
            raise ValueError("--subscribers 0 without --orders-per-s: nothing to do")
        if self.local is not None and self.url is not DEFAULT_URLS:
            raise ValueError("--local and --url: a run meets the servers that it starts, or those that are there")
        seconds = self.plan().seconds
        if seconds / self.interval > MAX_INTERVALS:
            raise ValueError(
                f"--for {self.for_:g}: {seconds:.0f} s make more than {MAX_INTERVALS} records of "
                f"{self.interval:g} s; say a longer --interval"
            )
        adapter = self.adapter()
        if adapter is not None:
            for flag, value in (("--orders-per-s", self.orders_per_s), ("--records", self.records)):
                if value is not None:
                    raise ValueError(f"{flag} {value}: only our own servers know what that asks for")
            if not self.plan().is_plain:
                raise ValueError(f"scenario {self.plan().name}: its groups ask for what only our own servers know")
        for requirement in self.require:
            if why := requirement.why_senseless(
                subscribers=self.subscribers,
                orders=self.orders_per_s is not None,
                is_ours=adapter is None,
                is_numbered=adapter is None or adapter.seq is not None,
                is_stamped=adapter is None or adapter.ts is not None,
            ):
                raise ValueError(f"--require '{requirement}': {why}")

    def plan(self) -> Plan:
        """Return what is to be done, in all processes together."""
        chosen = self.scenario or self.preset
        size = Size(
            subscribers=self.subscribers,
            order_clients=self.order_clients if self.orders_per_s is not None else 0,
            connect_rate=self.connect_rate,
            warm_up_s=self.warm_up,
            measure_s=self.for_,
            orders_per_s=self.orders_per_s or 0.0,
        )
        return steady_plan(size) if chosen is None else chosen.plan(size)


def load_run(
    program: str, arguments: Sequence[str], environment: Mapping[str, str], *, description: str, examples: str
) -> RunConfig:
    """Return the settings of `run`: defaults < what its scenario says < environment < flags.

    Raises:
        UsageError: a value is not what its field expects, or the scenario is none.
    """
    parser = Parser(RunConfig, program, description=description, examples=examples)
    found = gather(parser.fields, parser.given(arguments), environment)
    below: dict[str, Setting] = {}
    for name in ("scenario", "preset"):
        if name in found:
            below = {field: Setting(value, name) for field, value in found[name].value.settings().items()}
    return build(RunConfig, below | found)
