"""Defects that are planted in the real code, each of which the simulation must find.

A mutation replaces one piece of a function's source. Where that piece has changed, it says so: it has to be
planted anew, or the defect can't be made any more.
"""

import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class Mutation(NamedTuple):
    """What is changed: in the function at `place` (module:qualified name) `old` becomes `new`."""

    name: str
    place: str
    old: str
    new: str


MUTATIONS = (
    Mutation(
        "journal: published before it is kept",
        "publisher.road:Road.publish",
        "self._journal.append(\n",
        "self._send('', rows, None, Entry(updates, size, b'', id))\n    self._journal.append(\n",
    ),
    Mutation(
        "epoch: nothing is reserved before it is used",
        "publisher.journal.ceiling:CeilingFile.reserve",
        "if not self._synced and",
        "if self._synced and",
    ),
    Mutation(
        "epoch: one outlives its lost tail",
        "publisher.core.ceiling:why_not",
        "if last < ceiling.reserved:",
        "if last < 0:",
    ),
    Mutation(
        "tseq: begins anew at a restart",
        "publisher.core.sequencer:Sequencer.__init__",
        "{} if tseqs is None else tseqs",
        "{}",
    ),
    Mutation(
        "replay: what came last is not handed over",
        "gateway.history:HistoryClient._deliver",
        "job.on_items(items)",
        "job.on_items(items[:-1])",
    ),
    Mutation(
        "replay: what came is not granted",
        "gateway.history:HistoryClient._deliver",
        "self._send(self._request_id, Credit(len(items)))",
        "pass",
    ),
    Mutation(
        "heartbeat: ignored, so that a lost tail stays lost",
        "gateway.core.stitcher:Stitcher._hole_before",
        "else message.seq\n",
        "else 0\n",
    ),
    Mutation(
        "seam of a hole: it is full one too early",
        "gateway.core.stitcher:Stitcher.fill",
        "if update.seq == missing.last:",
        "if update.seq >= missing.last - 1:",
    ),
    Mutation(
        "hole: given up when a request times out",
        "gateway.recovery:Recovery._take_end",
        "isinstance(outcome, TimedOut | Failed)",
        "isinstance(outcome, Failed)",
    ),
    Mutation(
        "ring: its floor is off by one",
        "execgate.wire.history:MemoryLog.floor",
        "+ self._start + 1",
        "+ self._start",
    ),
    Mutation(
        "ring: what was before a gap stays",
        "gateway.fanout:Fanout._step",
        "self._tell_gap(observation.gap)",
        "pass",
    ),
    Mutation(
        "seam: live one update too early",
        "gateway.resume:Resumer._advance",
        "follower.seq >= fanout.seq:",
        "follower.seq >= fanout.seq - 1:",
    ),
    Mutation(
        "resume floor: begins one before since",
        "gateway.resume:Resumer._begin_at",
        "follower.seq = since.seq\n",
        "follower.seq = max(since.seq - 1, 0)\n",
    ),
    Mutation(
        "resume floor: a gateway that is behind does not wait",
        "gateway.resume:Resumer._begin_at",
        "< AHEAD_S",
        "< 0",
    ),
    Mutation(
        "epoch: a follower goes on in the next at its old seq",
        "gateway.resume:Resumer._change_epoch",
        "fanout.epoch_number, 0, None",
        "fanout.epoch_number, follower.seq, None",
    ),
    Mutation(
        "archive: a page that goes on leaves one out",
        "gateway.archive:Archive._fetch",
        "first = end + 1",
        "first = end + 2",
    ),
    Mutation(
        "conflation: a newer one keeps the older one's place",
        "gateway.outbound:Outbound.conflate",
        "before = waiting.pop(name, None)",
        "before = waiting.get(name)",
    ),
    Mutation(
        "conflation: what has no key is merged",
        "gateway.outbound:Outbound.conflate",
        "if key else (topic, key, seq)",
        "if True else (topic, key, seq)",
    ),
    Mutation(
        "conflation: merged and not counted",
        "gateway.outbound:Outbound.conflate",
        "self.conflated += 1",
        "pass",
    ),
    Mutation(
        "volatile: the gap that is told has the last drop alone",
        "gateway.outbound:Outbound._widen_gap",
        "(earlier[0], last_seq, earlier[2] + count) if earlier else",
        "(first_seq, last_seq, count) if earlier else",
    ),
    Mutation(
        "heartbeat: a follower's says the gateway's position",
        "gateway.keepalive:Keepalive._heartbeat",
        "outbound.behind or (",
        "(",
    ),
)


@contextmanager
def planted(mutation: Mutation) -> Iterator[None]:
    """Plant a defect, and take it away again."""
    module_name, _, path = mutation.place.partition(":")
    owner = importlib.import_module(module_name)
    *owners, name = path.split(".")
    for each in owners:
        owner = getattr(owner, each)
    before = inspect.getattr_static(owner, name)
    function: Any = before.fget if isinstance(before, property) else before
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(mutation.old) == 1, f"{mutation.place} has {mutation.old!r} no more: plant it anew"
    made: dict[str, object] = {}
    exec(source.replace(mutation.old, mutation.new), function.__globals__, made)
    setattr(owner, name, made[name])
    try:
        yield
    finally:
        setattr(owner, name, before)
