"""The second judge: what a client writes down of its stream, held by `execgate audit` against what was published.

The oracle judges each event by the protocol, in code that nothing else uses. The books are what a chaos run and an
operator rely on: here they see thousands of histories, and a planted defect has to get past both. They know no
snapshot, no change of topics and no second `subscribe-execs` in a session: who does one of these keeps none. An
epoch that ends, told by `feed` alone, is a loss for them: of histories with more than one they judge none.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from execgate.audit import chain, records
from execgate.audit.books import Books, Flaw
from execgate.audit.recording import Digests, Fields, Recording
from execgate.audit.records import Described
from execgate.audit.truth import Entry
from execgate.audit.truth import Truth as Journal
from execgate.wire.events import PLAIN
from tests.simulation.oracle import Truth
from tests.simulation.plan import ClientPlan, Plan

if TYPE_CHECKING:
    from tests.simulation.client import Client

_PREFIX = len(PLAIN.prefix)
_UNKNOWN_STEPS = ("ask-again", "other-topics", "leave")


class Notebook:
    """What one client wrote down."""

    def __init__(self, name: str, plan: ClientPlan) -> None:
        self.lines: list[Fields] = []
        self.recording = Recording(name, Digests(), self.lines.append)
        self.recording.describe(plan.mode, plan.topics)

    def take(self, text: str, message: dict[str, Any]) -> None:
        """An event came."""
        event, data, recording = message["event"], message["data"], self.recording
        if event == "receive-execs":
            recording.update(data["epoch"], data["seq"], text[_PREFIX:-1])
        elif event == "subscribed":
            recording.subscribed(data)
        elif event == "heartbeat":
            recording.heartbeat(data)
        elif event == "gap":
            recording.gap(data)
        elif event == "feed":
            recording.feed(data)

    @property
    def position(self) -> tuple[str, int] | None:
        """Where it would resume, as the load generator and the crowd of a chaos run do: a `gap` has passed."""
        return None if self.recording.position is None else (self.recording.epoch, self.recording.position)

    def flaws(self, journal: Journal) -> list[Flaw]:
        """Close the books and return what is wrong."""
        self.recording.flush()
        books: Books | None = None
        for record in records.read(map(json.dumps, self.lines)):
            if isinstance(record, Described):
                books = Books(journal, record)
            elif books is not None and not isinstance(record, dict):
                books.take(record)
        assert books is not None
        books.close()
        return books.flaws


def notebook(plan: Plan, number: int, name: str) -> Notebook | None:
    """Return what client `number` writes into; None where the books can't judge what it does."""
    client = plan.clients[number]
    does = {step.kind for step in plan.steps if step.who == number}
    if client.snapshot or client.max_messages is not None or does.intersection(_UNKNOWN_STEPS):
        return None
    return Notebook(name, client)


def audit(truth: Truth, clients: "Sequence[Client]") -> list[Flaw]:
    """Return what is wrong in the books of all who keep some."""
    kept = [client.notebook for client in clients if client.notebook is not None]
    if not kept or len(truth.epochs) > 1:
        return []
    entries = (
        Entry(epoch, update.seq, update.topic.decode(), update.key.decode(), chain.digest(update.payload))
        for epoch in truth.epochs
        for update in truth.updates[epoch]
    )
    journal = Journal(entries, truth.epochs)
    return [flaw for book in kept for flaw in book.flaws(journal)]
