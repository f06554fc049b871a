"""Settings of `execgate publisher`, spelled once: flags, environment names and `docs/publisher.md` follow them.

`app` loads it; everything else is handed the values it needs and never reads a flag or the environment.
"""

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
from execgate.service.options import LOG_LEVELS, number_range, one_of, option, positive_number, whole_number
from execgate.wire.topics import TopicTemplate
from publisher.log import Retention

DESCRIPTION = (
    "Stamp trade executions with a sequence number and a time, and push them over ZeroMQ "
    "to any number of gateways."
)
EXAMPLES = """\
  execgate publisher                                        the 2012 feed: 2 rows of QQQ every 10 to 110 ms
  execgate publisher --rate 20 --symbols 5 --seed 1         20 updates a second, the same rows every time
  execgate publisher --source file:etc/samples/execs.jsonl --pace recorded
  tail -F execs.jsonl | execgate publisher --source -
  execgate publisher --source ingest --source synthetic     real executions next to made ones
  execgate publisher --source ingest --data-dir /var/lib/execgate --durability power
  execgate publisher inspect /var/lib/execgate              a journal: what it holds; also verify, export
  execgate publisher --pub ipc:///run/execgate/feed --source ingest --ingest ipc:///run/execgate/ingest"""

_MIB = 1024 * 1024
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
DEFAULT_INTERVAL_MS = (10.0, 110.0)
"""Between two updates in 2012 (docs/adr/0001-the-2012-system.md)."""


def parse_source(text: str) -> str:
    """Check the name of a source and return it.

    Raises:
        ValueError: says what was expected.
    """
    if text in ("synthetic", "-", "ingest", "ingest-ack") or (text.startswith("file:") and text != "file:"):
        return text
    raise ValueError("expected synthetic, file:PATH, - (standard input), ingest or ingest-ack")


def duration(text: str) -> float:
    """Read a time such as `90s`, `15m`, `36h` or `7d`; return seconds.

    Raises:
        ValueError: says what was expected.
    """
    unit_s = _UNITS_S.get(text[-1:])
    if unit_s is None:
        raise ValueError("expected a number over 0 and its unit, such as 90s, 15m, 36h or 7d")
    return positive_number(text[:-1]) * unit_s


def show_duration(seconds: float) -> str:
    """Return seconds as `duration` reads them."""
    return f"{seconds:.15g}s"


def show_range(values: tuple[float, float]) -> str:
    """Return a range as `number_range` reads it."""
    return ":".join(f"{value:.15g}" for value in values)


def not_empty(text: str) -> str:
    """Return a path that is not empty.

    Raises:
        ValueError: it is.
    """
    if not text:
        raise ValueError("expected a path")
    return text


def parse_topic(text: str) -> str:
    """Check a topic template and return it.

    Raises:
        ValueError: says what was expected.
    """
    TopicTemplate(text)
    return text


@dataclass(frozen=True, slots=True)
class PublisherConfig:
    """What one publisher does; each field says its unit."""

    source: tuple[str, ...] = option(
        ("synthetic",),
        "where execs come from: synthetic, file:PATH, - (standard input), ingest or ingest-ack; may be given "
        "several times",
        parse=parse_source,
        metavar="SOURCE",
        repeatable=True,
    )
    rate: float | None = option(
        None, "updates a second of each paced source, evenly spaced", parse=positive_number, metavar="N"
    )
    interval_ms: tuple[float, float] | None = option(
        None,
        "synthetic: milliseconds between updates, drawn at random anew each time (default 10:110)",
        parse=number_range,
        show=show_range,
        metavar="LO:HI",
    )
    interval_once: bool = option(False, "synthetic: draw the interval once, at the start, as in 2012")
    rows: int = option(
        2, "synthetic: rows in an update", parse=whole_number(1, 1000), metavar="N", aliases=("MAX_ROWS",)
    )
    symbols: int = option(
        1,
        "synthetic: how many symbols; each update is of one, drawn at random",
        parse=whole_number(1, 100_000),
        metavar="N",
    )
    seed: int | None = option(
        None, "synthetic: makes the same rows every time", parse=whole_number(0), metavar="N"
    )
    pace: str | None = option(
        None,
        "file and standard input: asap, rate (--rate lines a second) or recorded (by the rows' own timestamp) "
        "(default rate with --rate, else asap)",
        parse=one_of("asap", "rate", "recorded"),
        metavar="PACE",
    )
    pub: str = option(
        "tcp://127.0.0.1:5550",
        "endpoint for gateways: tcp://HOST:PORT (port 0 picks a free one) or ipc://PATH",
        parse=parse_zmq_endpoint,
        metavar="ENDPOINT",
    )
    replay: str | None = option(
        None,
        "endpoint where gateways ask for history (default: the port after --pub's, or its path and '.replay')",
        parse=parse_zmq_endpoint,
        metavar="ENDPOINT",
    )
    ingest: str = option(
        "tcp://127.0.0.1:5553",
        "endpoint for programs that push execs, with --source ingest",
        parse=parse_zmq_endpoint,
        metavar="ENDPOINT",
    )
    ingest_ack: str = option(
        "tcp://127.0.0.1:5554",
        "endpoint for programs that push execs and are told what became of them, with --source ingest-ack",
        parse=parse_zmq_endpoint,
        metavar="ENDPOINT",
    )
    topic: str = option(
        "ex.{symbol}.",
        "topic of an exec; any of its fields may stand in it",
        parse=parse_topic,
        metavar="TEMPLATE",
    )
    max_updates: int | None = option(
        None, "end after exactly this many updates", parse=whole_number(1), metavar="N"
    )
    ledger_file: str | None = option(
        None,
        "append a JSON line to FILE at the end: what was accepted, journaled and published, for 'execgate audit'",
        metavar="FILE",
    )
    heartbeat_ms: int = option(
        500,
        "milliseconds between heartbeats, each with the last sequence number",
        parse=whole_number(10, 1000),
        metavar="MS",
    )
    await_gateways: int = option(
        0, "publish nothing before this many subscriptions have come", parse=whole_number(0), metavar="N"
    )
    zmq_hwm: int = option(
        100_000,
        "updates queued for one gateway; beyond it ZeroMQ drops them for that gateway, which sees the gap",
        parse=whole_number(1, 10_000_000),
        metavar="N",
    )
    data_dir: str | None = option(
        None,
        "directory of the journal, so that a restart goes on where the last one ended; without it history is kept "
        "in memory, and each start begins a new epoch",
        parse=not_empty,
        metavar="DIR",
    )
    durability: str = option(
        "process",
        "what a published update survives, with --data-dir: process (the end of this program, also kill -9) or "
        "power (the machine's: fsync before it is published)",
        parse=one_of("process", "power"),
        metavar="WHAT",
    )
    retain_updates: int | None = option(
        None,
        "updates kept for replay (default 100000 in memory, 10000000 in a journal)",
        parse=whole_number(1, 10_000_000_000),
        metavar="N",
    )
    retain_bytes: int | None = option(
        None,
        "bytes kept for replay: of payload in memory, of the file in use in a journal (default 64 MiB, and 4 GiB)",
        parse=whole_number(1),
        metavar="BYTES",
    )
    retain_age: float | None = option(
        None,
        "how long updates are kept for replay, such as 90s, 15m, 36h or 7d (default: no bound)",
        parse=duration,
        show=show_duration,
        metavar="TIME",
    )
    snapshot_keys: int = option(
        100_000,
        "topics and keys of which the newest update is kept whatever its age",
        parse=whole_number(0, 10_000_000),
        metavar="N",
    )
    curve_key: str | None = option(
        None,
        "speak CURVE on every ZeroMQ endpoint, with the secret key in FILE (execgate keygen)",
        metavar="FILE",
    )
    curve_clients: str | None = option(
        None, "directory with the public keys of the gateways, which may have the feed and replay", metavar="DIR"
    )
    curve_producers: str | None = option(
        None, "directory with the public keys of the programs that may push execs", metavar="DIR"
    )
    insecure_feed: bool = option(
        False, "allow ZeroMQ endpoints off the loopback without CURVE, which anybody can then reach"
    )
    metrics: TcpAddress | None = option(
        None,
        "serve /metrics for Prometheus here; port 0 picks a free one (default: nowhere)",
        parse=parse_tcp_address,
        metavar="HOST:PORT",
    )
    admin: str | None = option(
        None,
        "answer 'execgate admin' at this unix socket, mode 0660 (default: nowhere)",
        metavar="PATH",
    )
    insecure_metrics: bool = option(False, "allow --metrics off the loopback: it is plain text, for anybody")
    log_level: str = option(
        "info",
        "debug, info, warning or error",
        parse=one_of(*LOG_LEVELS),
        reloadable=True,
        metavar="LEVEL",
    )
    log_format: str = option(
        "text",
        "of log lines: text or json to standard error, or journald with a field for each word",
        parse=one_of(*FORMS),
        metavar="FORM",
    )

    def __post_init__(self) -> None:
        """Check what one field can't know of another.

        Raises:
            ValueError: two fields contradict each other.
            UsageError: an endpoint is off the loopback.
        """
        if self.rate is not None and self.interval_ms is not None:
            raise ValueError("--rate and --interval-ms: expected one of them")
        if self.pace == "rate" and self.rate is None:
            raise ValueError("--pace rate: expected --rate N next to it")
        for source in self.source:
            if self.source.count(source) > 1:
                raise ValueError(f"--source {source}: expected once")
        require_private("--metrics", self.metrics, insecure=self.insecure_metrics)
        self._check_curve()
        endpoints = {"--pub": self.pub, "--replay": self.replay_endpoint}
        for source in self.ingests:
            endpoints[f"--{source}"] = self.ingest if source == "ingest" else self.ingest_ack
        for flag, endpoint in endpoints.items():
            require_loopback(flag, endpoint, insecure=self.insecure_feed, has_curve=self.curve_key is not None)

    def _check_curve(self) -> None:
        if self.curve_key is None:
            for flag, value in (
                ("--curve-clients", self.curve_clients),
                ("--curve-producers", self.curve_producers),
            ):
                if value is not None:
                    raise ValueError(f"{flag}: expected --curve-key FILE next to it")
            return
        if self.curve_clients is None:
            raise ValueError("--curve-key: expected --curve-clients DIR next to it, with the keys of the gateways")
        if self.ingests and self.curve_producers is None:
            raise ValueError(
                f"--curve-key and --source {self.ingests[0]}: expected --curve-producers DIR next to them, with "
                "the keys of who may push execs"
            )

    @property
    def ingests(self) -> list[str]:
        """The sources that other programs connect to."""
        return [source for source in self.source if source in ("ingest", "ingest-ack")]

    @property
    def replay_endpoint(self) -> str:
        """Where gateways ask for what they missed."""
        return self.replay or replay_endpoint(self.pub)

    @property
    def retention(self) -> Retention:
        """What is kept, in memory or in the journal."""
        in_memory = self.data_dir is None
        return Retention(
            max_updates=self.retain_updates or (100_000 if in_memory else 10_000_000),
            max_bytes=self.retain_bytes or (64 * _MIB if in_memory else 4096 * _MIB),
            max_age_s=self.retain_age,
            max_keys=self.snapshot_keys,
        )

    @property
    def line_pace(self) -> str:
        """The pace of files and standard input."""
        return self.pace or ("asap" if self.rate is None else "rate")
