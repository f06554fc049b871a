"""What a case is: a question, the work that answers it, and the columns of its table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.running import Figures, Work, run
from benchmarks.servers import OURS, SERVERS, Server


@dataclass(frozen=True)
class Column:
    """A figure of a table: its key in the figures, its heading, its format, and what the figure is divided by."""

    key: str
    heading: str
    form: str = "{:.2f}"
    unit: float = 1

    def show(self, value: float | None) -> str:
        """Return the cell."""
        return "-" if value is None else self.form.format(value / self.unit)


@dataclass(frozen=True)
class Case:
    """One question. Its rows are servers that do the same work, or variants of the work, done by our gateway.

    Attributes:
        name, question: as the list shows them.
        columns: of its table; the first is what ratios are taken of (less is better unless `more_is_better`).
        work: what a server is put through; a profile runs it too, so it is None where it can't.
        variants: by the name of their row; with them, `work` is only for the profile.
        beside: a server that does each variant too, whatever `--against` says, and is its reference; "" for none.
        note: what must be known to read the table.
        reference: the row that ratios refer to; "" for no ratios.
        needs_orders: whether a server must take our orders.
        only_ours: whether it makes sense for our gateway alone.
        measure: finds the figures of a row, by several runs where one does not answer the question.
    """

    name: str
    question: str
    columns: tuple[Column, ...]
    work: Work | None
    variants: Mapping[str, Work] = field(default_factory=dict)
    beside: str = ""
    note: str = ""
    reference: str = "limit"
    needs_orders: bool = False
    only_ours: bool = False
    more_is_better: bool = False
    measure: Callable[[Server, Work], Figures] = run

    def rows(self, servers: Sequence[Server]) -> dict[str, tuple[Server, Work]]:
        """Return what is measured for each row, if `servers` are asked for."""
        if self.variants:
            chosen = [SERVERS[name] for name in (OURS, self.beside) if name]
            return {
                name if server.name == OURS else self.reference_of(name): (server, work)
                for name, work in self.variants.items()
                for server in chosen
            }
        assert self.work is not None, f"{self.name} has neither work nor variants"
        fit = [server for server in servers if server.name == OURS or self._takes(server)]
        return {server.name: (server, self.work) for server in fit}

    def reference_of(self, row: str) -> str:
        """Return the row that the ratio of `row` refers to."""
        if not self.beside:
            return self.reference
        ending = f": {self.beside}"
        return row if row.endswith(ending) else row + ending

    def _takes(self, server: Server) -> bool:
        return not self.only_ours and (server.takes_orders or not self.needs_orders)
