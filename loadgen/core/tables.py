"""PURE: what a run's figures say, as tables; and tables as text, Markdown and HTML. Content is made once, here.

Called at the end of a run and by `report.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from loadgen.core.fairness import who_is_first
from loadgen.core.figures import HOPS, LATENCIES, SAMPLES_NOTE, clock_offset
from loadgen.core.summary import PERCENTILES

_WIDE = 7
"""Columns that fit into half of a page."""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells are text; the first column is left-aligned, the others are numbers unless `texts`.

    What `leads` is the answer to what was asked: a page has it before its charts.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]] = ()
    note: str = ""
    texts: bool = False
    leads: bool = False

    @property
    def is_wide(self) -> bool:
        """Whether a page gives it a row of its own."""
        return len(self.columns) > _WIDE


def tables_of(figures: Mapping[str, Any], verdict: Mapping[str, Any], end: Mapping[str, Any]) -> list[Table]:
    """Return everything that is told of a run, in the order in which it is read.

    Args:
        figures: `Figures.as_dict`.
        verdict: `Verdict.as_dict`.
        end: what `end.json` holds; empty for a run that was killed.
    """
    tables = [
        _verdict(verdict),
        _latencies(figures),
        _stages(figures),
        _groups(figures),
        _fairness(figures, end),
        _hops(figures),
        _rates(figures),
        _counts(figures),
        _health(figures),
    ]
    if end.get("broken_streams"):
        rows = [(name, what) for name, what in end["broken_streams"].items()]
        tables.append(Table("First streams that were not whole", ("client", "what was wrong"), rows, texts=True))
    if end.get("failures"):
        rows = [(why, f"{times:,}") for why, times in end["failures"].items()]
        tables.append(Table("Why clients could not connect", ("reason", "times"), rows))
    return [table for table in tables if table.rows]


def _verdict(verdict: Mapping[str, Any]) -> Table:
    rows = [("verdict", verdict["words"])]
    rows += [(reason["level"], reason["text"]) for reason in verdict["reasons"]]
    rows += [("incomplete", text) for text in verdict["incomplete"]]
    rows += [("not measured", text) for text in verdict["not_measured"]]
    words = {True: "held", False: "BROKEN", None: "not to be told"}
    rows += [
        (words[judged["held"]], f"{judged['requirement']}: {judged['found']}")
        for judged in verdict["requirements"]
    ]
    return Table("May it be believed, and did it hold?", ("", ""), rows, texts=True, leads=True)


def _latencies(figures: Mapping[str, Any]) -> Table:
    names = [name for name in LATENCIES if name not in HOPS]
    return replace(_latency_table("Latencies, in ms", figures, names), leads=True)


def _hops(figures: Mapping[str, Any]) -> Table:
    return _latency_table("Hops of updates that were sampled, in ms", figures, HOPS)


def _latency_table(title: str, figures: Mapping[str, Any], names: Sequence[str]) -> Table:
    rows = []
    short = False
    for name in names:
        latency, what = figures["latencies"][name], LATENCIES[name][1]
        if latency["count"]:
            rows.append((what, f"{latency['count']:,}", *(milliseconds(latency[at]) for at in PERCENTILES)))
            short |= any(latency[at] is None for at in PERCENTILES)
    return Table(title, ("", "samples", *PERCENTILES), rows, note=SAMPLES_NOTE if short else "")


def _stages(figures: Mapping[str, Any]) -> Table:
    rows = []
    for name, stage in figures.get("stages", {}).items():
        delivery, order, connect = (stage["latencies"][which] for which in ("delivery", "order", "connect"))
        memory = (stage.get(which) for which in ("rss_bytes", "server_rss_bytes"))
        rows.append(
            (
                name,
                f"{stage['seconds']:,.1f}",
                f"{stage['connected']:,}",
                f"{stage['delivered'] / stage['seconds']:,.0f}" if stage["seconds"] else "-",
                *(milliseconds(delivery[at]) for at in ("p50", "p99", "max")),
                *(milliseconds(order[at]) for at in ("p99", "max")),
                milliseconds(connect["max"]),
                f"{stage['missing'] + stage['told_missing']:,}",
                f"{stage['disconnects']:,} / {stage['connects']:,}",
                *("-" if ends is None else " - ".join(f"{end / 2**20:,.1f}" for end in ends) for ends in memory),
            )
        )
    columns = (
        *("", "s", "connected at the end", "delivered/s", "p50", "p99", "max"),
        *("order p99", "order max", "connect max", "lost"),
        *("connections ended / made", "client's MiB", "server's MiB"),
    )
    return Table("Stages, latencies in ms", columns, rows, leads=True)


def _groups(figures: Mapping[str, Any]) -> Table:
    rows = [
        (
            name,
            f"{group['connected']:,}",
            f"{group['delivered']:,}",
            *(milliseconds(group["delivery"][at]) for at in ("p50", "p99", "max")),
            f"{group['missing']:,}",
            f"{group['told_missing']:,}",
            f"{group['dropped']:,} / {group['conflated']:,}",
            f"{group['duplicates']:,} / {group['reorders']:,}",
            f"{group['returns']:,}",
            ", ".join(f"{code} {times:,}" for code, times in group["closed"].items()) or "0",
        )
        for name, group in figures.get("groups", {}).items()
    ]
    columns = (
        *("", "connected at the end", "delivered", "p50", "p99", "max", "lost, not told", "lost, told"),
        *("dropped / merged as its mode has it", "duplicates / out of order", "came back", "closed by the server"),
    )
    return Table("Groups of subscribers, latencies in ms", columns, rows, leads=True)


def _fairness(figures: Mapping[str, Any], end: Mapping[str, Any]) -> Table:
    spread, fairness = figures.get("spread"), end.get("fairness")
    rows = []
    if spread is not None:
        words = ", ".join(f"{at} {milliseconds(spread[at])}" for at in PERCENTILES)
        rows.append(("from the first client to the last, of one update", words))
    if fairness is not None:
        if "by_joining" in fairness:  # a run that is kept may be older
            rows.append(("is it always the same clients that have it first?", who_is_first(fairness)))
        rows += [
            (f"behind the first, on average: {name.replace('_', ' ')}", milliseconds(late_us))
            for name, late_us in fairness["late_us"].items()
        ]
    title = "How far the subscribers of a process are apart, in ms"
    return Table(title, ("", ""), rows, texts=True, leads=True)


def _rates(figures: Mapping[str, Any]) -> Table:
    rates = figures["rates"]
    rows = [
        (what, f"{rates[name]:,.1f}")
        for what, name in (
            ("updates delivered", "delivered_per_s"),
            ("bytes of their data", "data_bytes_per_s"),
            ("orders sent", "orders_sent_per_s"),
            ("orders answered", "orders_answered_per_s"),
        )
        if rates[name]
    ]
    return Table(f"Rates a second, over {figures['seconds']:g} s", ("", "a second"), rows)


def _counts(figures: Mapping[str, Any]) -> Table:
    streams, orders, connections = figures["streams"], figures["orders"], figures["connections"]
    rows = []
    if any(streams[name] for name in ("delivered", "lost", "stale")):
        rows.append(("updates delivered", f"{streams['delivered']:,}"))
        if streams["lost"] is None:
            rows.append(("updates lost, twice, out of order", "not checked"))
        else:
            rows += [
                ("updates lost, whether told or not", f"{streams['lost']:,}"),
                ("gaps that were not told / updates in them", f"{streams['gaps']:,} / {streams['missing']:,}"),
                (
                    "gaps that were told / updates in them",
                    f"{streams['told_gaps']:,} / {streams['told_missing']:,}",
                ),
                ("duplicates / out of order", f"{streams['duplicates']:,} / {streams['reorders']:,}"),
                ("new epochs", f"{streams['epoch_changes']:,}"),
            ]
        rows += [
            ("streams that went stale", f"{streams['stale']:,}"),
            ("longest silence of a stream", f"{streams['silence_us'] / 1e6:.2f} s"),
        ]
    if streams["other"]:
        rows.append(("messages that are no update", f"{streams['other']:,}"))
    if orders["sent"] or orders["unsent"]:
        ends = ("answered", "rejected", "timed_out", "disconnected", "outstanding")
        rows.append(("orders sent", f"{orders['sent']:,}"))
        rows += [(f"... of them {end.replace('_', ' ')}", f"{orders[end]:,}") for end in ends]
        rows.append(("orders due but not sent", f"{orders['unsent']:,}"))
        rows.append(("answers too late / to nothing", f"{orders['late']:,} / {orders['unexpected']:,}"))
    rows += [
        ("clients", f"{connections['clients']:,}"),
        ("connections made / ended", f"{connections['connects']:,} / {connections['disconnects']:,}"),
        ("clients that gave up", f"{connections['given_up']:,}"),
    ]
    if connections["connected_low"] is not None:
        rows.append(("fewest connected while it was measured", f"{connections['connected_low']:,}"))
    rows += [(f"error: {kind}", f"{count:,}") for kind, count in sorted(figures["errors"].items())]
    return Table("Counts of the whole run", ("", "count"), rows)


def _health(figures: Mapping[str, Any]) -> Table:
    client, server = figures["client"], figures["server"]
    rows = [
        (
            "load generator: CPU, mean / greatest",
            f"{client['cpu_share']:.0%} / {client['cpu_share_greatest']:.0%}",
        ),
        ("load generator: waited for a CPU, mean", f"{client['cpu_wait_share']:.1%} of the time"),
        ("load generator: memory, greatest", mebibytes(client["rss_bytes"])),
        ("load generator: event loop late, greatest", f"{milliseconds(client['loop_lag_us'])} ms"),
        ("load generator: behind its schedule, greatest", f"{milliseconds(client['behind_us'])} ms"),
        (
            "load generator: read a message after it came, p50 / p99",
            f"{milliseconds(client['unread_us']['p50'])} / {milliseconds(client['unread_us']['p99'])} ms",
        ),
        ("machine: busy / stolen, mean", f"{client['machine_busy_share']:.0%} / {client['steal_share']:.1%}"),
        ("machine: handling packets (softirq), mean", f"{client['softirq_share']:.0%}"),
        ("machine: clock moved in a record, greatest", f"{milliseconds(client['clock_step_us'])} ms"),
    ]
    rows += _clocks(figures)
    if server is not None:
        rows += [
            ("server: CPU, mean (100 % is one core)", f"{server['cpu_share']:.0%}"),
            ("server: CPU of its busiest thread, mean", f"{server['thread_share']:.0%}"),
            ("server: memory, greatest", mebibytes(server["rss_bytes"])),
        ]
    return Table("Who worked", ("", ""), rows)


def _clocks(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is known of the clocks that a delivery's latency spans."""
    gateways, publishers = figures["clocks"]["gateway"], figures["clocks"]["publisher"]
    rows = []
    if gateways:
        rows.append(("gateway: its clock ahead of ours", clock_offset(gateways)))
    if publishers:
        told = clock_offset(publishers)
        if len(publishers) < len(gateways):
            told += f"; not known by {len(gateways) - len(publishers)} of {len(gateways)} gateways"
        rows.append(("publisher: its clock ahead of ours", told))
    elif figures["streams"]["delivered"]:
        rows.append(("publisher: its clock ahead of ours", "not known: the server does not tell"))
    return rows


def milliseconds(value_us: float | None) -> str:
    """Return microseconds as milliseconds; "-" for a figure that can't be supported."""
    return "-" if value_us is None else f"{value_us / 1000:,.2f}"


def mebibytes(value: int) -> str:
    """Return bytes in MiB."""
    return f"{value / 2**20:,.0f} MiB"


def as_text(tables: Sequence[Table], width: int | None = None) -> str:
    """Return tables for a terminal; where one is wider than `width`, its columns come in several blocks."""
    return "\n\n".join(_text(part) for table in tables for part in _parts(table, width))


def _parts(table: Table, width: int | None) -> list[Table]:
    """Return a table of numbers as so many as it takes, each with the first column; none has less than two."""
    if width is None or table.texts:
        return [table]
    widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
    blocks: list[list[int]] = []
    used = width + 1
    for number, column in enumerate(widths[1:], 1):
        used += 2 + column
        if used > width:
            blocks.append([0])
            used = 2 + widths[0] + 2 + column
        blocks[-1].append(number)
    return [
        replace(
            table,
            title=table.title if block is blocks[0] else f"{table.title} (more)",
            columns=tuple(table.columns[number] for number in block),
            rows=[tuple(row[number] for number in block) for row in table.rows],
            note=table.note if block is blocks[-1] else "",
        )
        for block in blocks
    ]


def _text(table: Table) -> str:
    has_heading = any(table.columns)
    lines = [table.columns, *table.rows] if has_heading else table.rows
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.columns))]
    shown = [f"{table.title}"]
    for line in lines:
        first, *rest = line
        cells = [first.ljust(widths[0])]
        cells += [cell if table.texts else cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        shown.append("  " + "  ".join(cells).rstrip())
    return "\n".join([*shown, *([f"  {table.note}"] if table.note else [])])


def as_markdown(tables: Sequence[Table]) -> str:
    """Return tables for a page of Markdown."""
    return "\n\n".join(_markdown(table) for table in tables) + "\n"


def _markdown(table: Table) -> str:
    rule = ["---", *(["---" if table.texts else "---:"] * (len(table.columns) - 1))]
    lines = [table.columns, tuple(rule), *table.rows]
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([f"## {table.title}", "", *rows, *(["", table.note] if table.note else [])])


def as_html(tables: Sequence[Table]) -> str:
    """Return tables as HTML sections; every cell is escaped."""
    return "\n".join(_html(table) for table in tables)


def _html(table: Table) -> str:
    kind = ' class="texts"' if table.texts else ""
    section = '<section class="wide">' if table.is_wide else "<section>"
    head = ""
    if any(table.columns):
        head = (
            "<thead><tr>"
            + "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
            + "</tr></thead>"
        )
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    return (
        f"{section}<h2>{escape(table.title)}</h2><table{kind}>{head}<tbody>{body}</tbody></table>{note}</section>"
    )
