"""The road: kept before sent, exact at the limit, refused whole or not at all, a batch with an id taken once."""

import asyncio
import json
from collections.abc import Callable

from execgate.wire.errors import RowError
from execgate.wire.topics import TopicTemplate
from execgate.wire.update import Kind, Update
from publisher.config import PublisherConfig
from publisher.core.rows import check
from publisher.core.sequencer import Sequencer
from publisher.journal.memory import MemoryJournal
from publisher.log import Entry, Range, Retention
from publisher.refusals import Refusals
from publisher.road import Road
from publisher.sources.base import Batch
from publisher.sources.synthetic import SyntheticSource

SOURCE = SyntheticSource(PublisherConfig())
RETENTION = Retention(max_updates=1000, max_bytes=1_000_000, max_age_s=None, max_keys=100)


class FakeFeed:
    def __init__(self, journal: MemoryJournal) -> None:
        self.journal = journal
        self.sent: list[Update] = []

    def send(self, update: Update) -> None:
        assert self.journal.ceiling >= update.seq, "sent before it was kept"
        self.sent.append(update)

    def take_subscriptions(self) -> None:
        """Nobody comes."""


class SlowJournal(MemoryJournal):
    """Keeps nothing before it is told to."""

    def __init__(self) -> None:
        super().__init__(7, RETENTION)
        self.entries: list[Entry] = []

    def append(self, entry: Entry) -> None:
        self.entries.append(entry)

    def keep_all(self) -> None:
        for entry in self.entries:
            super().append(entry)


def road(
    max_updates: int | None = None, template: str = "ex.{symbol}.", journal: MemoryJournal | None = None
) -> tuple[Road, FakeFeed, Refusals]:
    journal = journal or MemoryJournal(7, RETENTION)
    feed, refusals = FakeFeed(journal), Refusals()
    return Road(Sequencer(7, TopicTemplate(template)), journal, feed, refusals, max_updates), feed, refusals


def batch(*symbols: str, batch_id: bytes = b"", settle: Callable[[Range | RowError], None] | None = None) -> Batch:
    rows = check(json.dumps([{"symbol": symbol} for symbol in symbols]).encode())
    return Batch(rows, 1, batch_id, settle)


def publish(on: Road, *batches: Batch) -> None:
    async def all_of_them() -> None:
        for one in batches:
            await on.publish(SOURCE, one)

    asyncio.run(all_of_them())


def test_what_is_sent_is_what_is_kept() -> None:
    on, feed, _ = road()
    publish(on, batch("A", "B", "B"), batch("A"))
    assert feed.sent == feed.journal.read(1, 3, 1_000_000)
    assert (on.updates["synthetic"], on.rows["synthetic"]) == (3, 4)


def test_nothing_is_sent_or_settled_before_it_is_kept() -> None:
    journal = SlowJournal()
    on, feed, _ = road(journal=journal)
    settled: list[Range | RowError] = []
    publish(on, batch("A", "B"), batch("C", settle=settled.append))
    on.beat()
    assert [update.seq for update in feed.sent] == [0]  # the heartbeat: nothing is published yet
    assert (settled, on.updates["synthetic"]) == ([], 0)
    journal.keep_all()
    assert [update.seq for update in feed.sent] == [0, 1, 2, 3]
    assert (settled, on.updates["synthetic"]) == ([Range(7, 3, 3)], 3)


def test_the_limit_is_exact_even_inside_a_batch() -> None:
    on, feed, refusals = road(max_updates=2)
    publish(on, batch("A", "A", "B", "C"), batch("A"))
    assert [update.seq for update in feed.sent] == [1, 2]
    assert on.finished
    assert on.rows["synthetic"] == 3
    assert refusals.counts.total() == 0


def test_a_batch_that_has_no_topic_is_refused_and_the_next_goes_on() -> None:
    on, feed, refusals = road(template="ex.{desk}.")
    settled: list[Range | RowError] = []
    publish(on, batch("A", settle=settled.append), Batch(check(b'{"symbol":"A","desk":1}'), 2))
    assert refusals.counts["synthetic"] == 1
    assert [(update.seq, update.topic) for update in feed.sent] == [(1, b"ex.1.")]
    assert [type(outcome) for outcome in settled] == [RowError]


def test_a_batch_with_an_id_is_taken_once_and_each_resend_settled_with_its_range() -> None:
    journal = SlowJournal()
    on, feed, _ = road(journal=journal)
    settled: list[Range | RowError] = []
    one = batch("A", "B", batch_id=b"x", settle=settled.append)
    publish(on, one, batch("C"), one, batch("A", "B", batch_id=b"x"))  # resent before the first is kept
    assert len(journal.entries) == 2
    journal.keep_all()
    assert settled == [Range(7, 1, 2)] * 2
    publish(on, one)  # and after it
    assert settled == [Range(7, 1, 2)] * 3
    assert [update.seq for update in feed.sent] == [1, 2, 3]


def test_heartbeat_and_bye_carry_the_last_seq() -> None:
    on, feed, _ = road()
    on.beat()
    publish(on, batch("A", "B"))
    on.beat()
    on.beat(Kind.BYE)
    beats = [update for update in feed.sent if update.kind != Kind.DATA]
    assert [(beat.kind, beat.epoch, beat.seq) for beat in beats] == [
        (Kind.HEARTBEAT, 7, 0),
        (Kind.HEARTBEAT, 7, 2),
        (Kind.BYE, 7, 2),
    ]
