"""The figures of a publisher's metrics: read from its parts when somebody asks, counted nowhere twice."""

from collections.abc import Iterable

from execgate.measure.metrics import Figures
from execgate.service.metrics import process_figures
from execgate.service.vitals import LoopLag, ProcessVitals
from publisher.core.metrics import ASKED, ENDS
from publisher.feed import Feed
from publisher.journal.disk import DiskJournal
from publisher.journal.memory import MemoryJournal
from publisher.refusals import Refusals
from publisher.replay import ReplayServer
from publisher.road import Road


def figures(
    sources: Iterable[str],
    road: Road,
    refusals: Refusals,
    journal: DiskJournal | MemoryJournal,
    feed: Feed,
    replay: ReplayServer,
    lag: LoopLag,
    vitals: ProcessVitals,
) -> Figures:
    """Return the figures of `publisher.core.metrics.TABLE`; those of a journal only where there is one."""
    names = list(sources)
    asked = replay.counts
    own: Figures = {
        "ready": int(journal.trouble is None),
        "seq": journal.ceiling,
        "history_first_seq": journal.floor,
        "updates_total": {name: road.updates[name] for name in names},
        "rows_total": {name: road.rows[name] for name in names},
        "payload_bytes_total": {name: road.sizes[name] for name in names},
        "refusals_total": {name: refusals.counts[name] for name in names},
        "subscriptions": feed.subscriptions,
        "replays_under_way": replay.unanswered,
        "replay_requests_total": {kind: asked[kind] for kind in ASKED},
        "replay_ends_total": {end: asked[end] for end in ENDS},
        "replayed_updates_total": asked["items"],
        "replay_malformed_total": asked["malformed"],
        "loop_lag_seconds": lag.buckets.figures(),
    }
    if isinstance(journal, DiskJournal):
        own |= {
            "journal_waiting_updates": journal.waiting_updates,
            "journal_waiting_bytes": journal.waiting_bytes,
            "journal_commit_duration_seconds": journal.commit_s.figures(),
        }
    return {f"execgate_publisher_{name}": value for name, value in own.items()} | process_figures(vitals)
