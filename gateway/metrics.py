"""The figures of a gateway's metrics: read from its parts when somebody asks, counted nowhere twice."""

from execgate.measure.metrics import Figures
from execgate.service.metrics import process_figures
from execgate.service.vitals import LoopLag, ProcessVitals
from gateway.connection import Site
from gateway.fanout import FeedState
from gateway.feed import Feed
from gateway.recovery import Recovery


def figures(
    site: Site,
    feed: Feed,
    recovery: Recovery,
    lag: LoopLag,
    vitals: ProcessVitals,
    *,
    gc_pause_s: float,
    ready: bool,
) -> Figures:
    """Return the figures of `gateway.core.metrics.TABLE` for one process."""
    fanout, counters = site.fanout, site.counters
    upstream = counters.upstream
    own: Figures = {
        "ready": int(ready),
        "workers": 1,
        "worker_restarts_total": 0,
        "connections": len(site.keepalive),
        "subscribers": dict(fanout.subscribers),
        "resuming_sessions": len(site.resumer),
        "closes_total": dict(counters.closes),
        "drained_total": counters.drained,
        "refusals_total": dict(counters.refused),
        "matches_total": counters.matched,
        "deliveries_total": counters.delivered,
        "drops_total": {
            "slow": counters.dropped - counters.shed,
            "behind": counters.shed,
            "ended": counters.discarded,
        },
        "conflated_total": counters.conflated,
        "sent_bytes_total": counters.sent_bytes,
        "queue_bytes": site.budget.used,
        "fanout_duration_seconds": counters.flush_s.figures(),
        "delivery_age_seconds": counters.age_s.figures(),
        "orders_total": dict(counters.orders),
        "order_duration_seconds": counters.order_s.figures(),
        "loop_lag_seconds": lag.buckets.figures(),
        "gc_pause_seconds": gc_pause_s,
        "feed_live": int(fanout.state is FeedState.LIVE),
        "feed_lag_updates": recovery.behind,
        "feed_lag_seconds": fanout.lag_us / 1e6,
        "feed_silence_seconds": feed.silence_s,
        "feed_updates_total": upstream["updates"],
        "feed_gaps_total": upstream["gaps"],
        "feed_missing_total": upstream["missing"],
        "feed_duplicates_total": upstream["duplicates"],
        "feed_malformed_total": upstream["malformed"],
        "replays_total": upstream["replays"],
        "replayed_updates_total": upstream["replayed"],
        "history_pages_total": site.resumer.archive.requests,
    }
    if fanout.epoch is not None:  # before, there is no position that could be the least of several
        own["feed_seq"] = fanout.seq
    ahead = site.publisher_clock.reading if site.publisher_clock is not None else None
    if ahead is not None:
        own["publisher_clock_offset_seconds"] = ahead.offset_us / 1e6
        own["publisher_clock_uncertainty_seconds"] = ahead.uncertainty_us / 1e6
    return {f"execgate_gateway_{name}": value for name, value in own.items()} | process_figures(vitals)
