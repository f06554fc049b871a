"""The road: kept before sent, exact at the limit, refused whole or not at all."""

import json

from execgate.wire.history import MemoryLog
from execgate.wire.topics import TopicTemplate
from execgate.wire.update import Kind, Update
from publisher.config import PublisherConfig
from publisher.core.rows import check
from publisher.core.sequencer import Sequencer
from publisher.refusals import Refusals
from publisher.road import Road
from publisher.sources.base import Batch
from publisher.sources.synthetic import SyntheticSource

SOURCE = SyntheticSource(PublisherConfig())


class FakeFeed:
    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self.sent: list[Update] = []

    def send(self, update: Update) -> None:
        assert self.log.ceiling >= update.seq, "sent before it was kept"
        self.sent.append(update)

    def take_subscriptions(self) -> None:
        """Nobody comes."""


def road(max_updates: int | None = None, template: str = "ex.{symbol}.") -> tuple[Road, FakeFeed, Refusals]:
    log, refusals = MemoryLog(1000, 1_000_000), Refusals()
    feed = FakeFeed(log)
    return Road(Sequencer(7, TopicTemplate(template)), log, feed, refusals, max_updates), feed, refusals


def batch(*symbols: str) -> Batch:
    return Batch(check(json.dumps([{"symbol": symbol} for symbol in symbols]).encode()), 1)


def test_what_is_sent_is_what_is_kept() -> None:
    on, feed, _ = road()
    on.publish(SOURCE, batch("A", "B", "B"))
    on.publish(SOURCE, batch("A"))
    assert feed.sent == feed.log.read(1, 3)
    assert (on.updates["synthetic"], on.rows["synthetic"]) == (3, 4)


def test_the_limit_is_exact_even_inside_a_batch() -> None:
    on, feed, _ = road(max_updates=2)
    on.publish(SOURCE, batch("A", "A", "B", "C"))
    on.publish(SOURCE, batch("A"))
    assert [update.seq for update in feed.sent] == [1, 2]
    assert on.finished
    assert on.rows["synthetic"] == 3


def test_a_batch_that_has_no_topic_is_refused_and_the_next_goes_on() -> None:
    on, feed, refusals = road(template="ex.{desk}.")
    on.publish(SOURCE, batch("A"))
    on.publish(SOURCE, Batch(check(b'{"symbol":"A","desk":1}'), 2))
    assert refusals.counts["synthetic"] == 1
    assert [(update.seq, update.topic) for update in feed.sent] == [(1, b"ex.1.")]


def test_heartbeat_and_bye_carry_the_last_seq() -> None:
    on, feed, _ = road()
    on.beat()
    on.publish(SOURCE, batch("A", "B"))
    on.beat()
    on.beat(Kind.BYE)
    beats = [update for update in feed.sent if update.kind != Kind.DATA]
    assert [(beat.kind, beat.epoch, beat.seq) for beat in beats] == [
        (Kind.HEARTBEAT, 7, 0),
        (Kind.HEARTBEAT, 7, 2),
        (Kind.BYE, 7, 2),
    ]
