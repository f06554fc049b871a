"""PURE: the sequencer stamps rows: epoch, seq, tseq and time once, and serialises each update once.

The road (`publisher.road`) calls it with a whole batch and the time. An update has one topic, so a mixed batch
becomes consecutive updates, a run of one topic each, in the batch's order.
"""

from collections.abc import Sequence
from itertools import groupby

from execgate.wire.errors import RowError
from execgate.wire.topics import TopicTemplate
from execgate.wire.update import Kind, Update, epoch_text
from publisher.core.rows import Row

MAX_TOPICS = 1_000_000
"""Topics of one epoch, each with its tseq, which can't be forgotten without repeating a number."""
MAX_KEY_BYTES = 255
"""A longer `key` is no conflation key: the update is then never conflated."""


class Sequencer:
    """The numbering of one epoch.

    Args:
        epoch: u64 that names it.
        template: makes the topic of a row.
        max_topics: a batch that would begin one more is refused.
        seq: of the last update that the epoch has already; `tseqs` the last of each topic, which becomes ours.

    Attributes:
        seq: of the last update; `rows` counts those of all updates.
    """

    def __init__(
        self,
        epoch: int,
        template: TopicTemplate,
        max_topics: int = MAX_TOPICS,
        seq: int = 0,
        tseqs: dict[str, int] | None = None,
    ) -> None:
        self.epoch = epoch
        self.seq = seq
        self.rows = 0
        self._epoch_json = epoch_text(epoch).encode()
        self._template = template
        self._max_topics = max_topics
        self._tseqs: dict[str, int] = {} if tseqs is None else tseqs

    def stamp(self, rows: Sequence[Row], ts_us: int, limit: int | None = None) -> list[Update]:
        """Return the updates of a batch that was taken at `ts_us`, at most `limit`, all with that time.

        Raises:
            RowError: a row has no topic, or there are too many topics; then nothing was stamped.
        """
        topic_of = self._template.topic_of
        if len(rows) == 1:
            runs = [(topic_of(rows[0].fields), rows)]
        else:
            pairs = [(topic_of(row.fields), row) for row in rows]
            runs = [(topic, [row for _, row in run]) for topic, run in groupby(pairs, key=lambda pair: pair[0])]
        self._check_room({topic for topic, _ in runs})
        return [self._update(topic, run, ts_us) for topic, run in runs[:limit]]

    def _check_room(self, topics: set[str]) -> None:
        if len(self._tseqs) + len(topics) <= self._max_topics:
            return
        new = sum(topic not in self._tseqs for topic in topics)
        if len(self._tseqs) + new > self._max_topics:
            raise RowError(f"topic is a new one: expected at most {self._max_topics} topics in an epoch")

    def _update(self, topic: str, rows: Sequence[Row], ts_us: int) -> Update:
        self.rows += len(rows)
        self.seq = seq = self.seq + 1
        self._tseqs[topic] = tseq = self._tseqs.get(topic, 0) + 1
        topic_bytes = topic.encode()  # printable ASCII without quotes: TopicTemplate sees to it
        payload = (
            b'{"request":%d,"rows":%d,"timestamp":%d,"ts_us":%d,"topic":"%b","epoch":"%b","seq":%d,"tseq":%d,'
            b'"execs":[%b]}'
            % (
                seq,
                len(rows),
                ts_us // 1000,
                ts_us,
                topic_bytes,
                self._epoch_json,
                seq,
                tseq,
                b",".join([row.raw for row in rows]),
            )
        )
        return Update(Kind.DATA, topic_bytes, self.epoch, seq, tseq, ts_us, common_key(rows), payload)


def common_key(rows: Sequence[Row]) -> bytes:
    """Return the conflation key: the `key` text that all rows share, else empty."""
    key = rows[0].fields.get("key")
    if type(key) is not str:
        return b""
    for row in rows:
        if row.fields.get("key") != key:
            return b""
    encoded = key.encode()
    return encoded if len(encoded) <= MAX_KEY_BYTES else b""
