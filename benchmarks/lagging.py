"""Subscribers that never read, or slowly: whether the others, who alone are measured, get their updates later."""

from benchmarks.case import Case, Column
from benchmarks.columns import CORE, COST, P50, P99, SHARE
from benchmarks.running import Work, take_only

_RATE, _SECONDS = 100, 10
# On the loopback the kernel would keep megabytes for who lags: they are to fill their buffers within seconds.
_SMALL_BUFFERS = ("--send-buffer-kib", "64")
_COLUMNS = (
    P99,
    P50,
    SHARE,
    COST,
    CORE,
    Column("closed_slow", "closed 4108", "{:.0f}"),
    Column("dropped", "dropped", "{:,.0f}"),
    Column("queued_bytes", "queued KiB", "{:,.0f}", 1024),
)


def _stuck(count: int, mode: str = "all") -> Work:
    flags = (*_SMALL_BUFFERS, "--outbound-kib", "256")
    return Work(
        1_000 + count, _RATE, _SECONDS, stuck=count, say=lambda index: _say(index, count, mode), flags=flags
    )


def _slow(count: int, mode: str = "all") -> Work:
    return Work(
        900 + count, _RATE, _SECONDS, slow=count, say=lambda index: _say(index, count, mode), flags=_SMALL_BUFFERS
    )


def _say(index: int, lagging: int, mode: str) -> tuple[str, ...]:
    """Who lags asks for its mode; the others have been subscribed at connect, in mode all."""
    return take_only(["*"], mode) if index < lagging else ()


STUCK = Case(
    "stuck",
    "1,000 x 100/s while some more never read: are the others late?",
    _COLUMNS,
    _stuck(100),
    variants={
        "none": _stuck(0),
        "1 stuck": _stuck(1),
        "100 stuck": _stuck(100),
        "1 stuck, volatile": _stuck(1, "volatile"),
        "100 stuck, volatile": _stuck(100, "volatile"),
    },
    note="""\
Latencies and shares are those of the 1,000 others, whose mode is `all` in every row. Who is stuck never reads and
has a receive buffer of 16 KiB; in every row the gateway runs with `--send-buffer-kib 64 --outbound-kib 256`. So
within the run a stuck one of mode `all` is closed (4108), while one of mode `volatile` stays, and what it can't
take is dropped.""",
    reference="none",
)

SLOW = Case(
    "slow",
    "900 x 100/s while some more read only 20 KB/s: are the others late?",
    _COLUMNS,
    _slow(100),
    variants={
        "none": _slow(0),
        "1 slow": _slow(1),
        "10 % slow": _slow(100),
        "1 slow, volatile": _slow(1, "volatile"),
        "10 % slow, volatile": _slow(100, "volatile"),
    },
    note="""\
Latencies and shares are those of the 900 others, whose mode is `all` in every row. Updates are 53 KB/s; who is
slow reads 2,000 bytes ten times a second and has a receive buffer of 16 KiB; in every row the gateway runs with
`--send-buffer-kib 64`. So within seconds the slow ones lag: those of mode `all` with a backlog that grows through
the run, below the gateway's own bound of 1 MiB, those of mode `volatile` by what is dropped.""",
    reference="none",
)
