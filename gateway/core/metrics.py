"""What a gateway tells Prometheus: the table of its metrics. docs/metrics.md has a row for each."""

from execgate.measure.metrics import PROCESS, Over, counter, gauge, histogram
from gateway.core.orders import OrderStatus
from gateway.core.session import Mode

DROPS = ("slow", "behind", "ended")
"""A volatile subscriber could not take it; this process is behind its feed; its session ended with it queued."""

REFUSALS = (
    *("handshake", "origin", "full", "draining", "feed-not-joined"),
    *("outbound-memory", "rate", "descriptors", "tls", "gone", "unaccepted"),
)

ORDER_ENDS = (*OrderStatus, "disconnected", "late")

TABLE = (
    gauge("execgate_gateway_ready", "1 while the feed is live and nothing drains; of workers their number."),
    gauge("execgate_gateway_workers", "Processes that serve."),
    counter("execgate_gateway_worker_restarts_total", "Workers that died and were replaced."),
    gauge("execgate_gateway_connections", "Open WebSockets."),
    gauge("execgate_gateway_subscribers", "Sessions that get updates.", label="mode", values=[*Mode]),
    gauge("execgate_gateway_resuming_sessions", "Sessions on their way from their `since` to live."),
    counter("execgate_gateway_closes_total", "Sessions that ended, by close code, `peer` or `lost`.", "code"),
    counter("execgate_gateway_drained_total", "Sessions that were told to leave: the gateway ends."),
    counter("execgate_gateway_refusals_total", "Connections that got no session.", "reason", REFUSALS),
    counter("execgate_gateway_matches_total", "Updates that concerned a subscriber, one for each."),
    counter("execgate_gateway_deliveries_total", "Updates written to sockets, one for each subscriber."),
    counter("execgate_gateway_drops_total", "Updates that a subscriber did not get.", "reason", DROPS),
    counter("execgate_gateway_conflated_total", "Updates that a newer one of their key stood for."),
    counter("execgate_gateway_sent_bytes_total", "Bytes of all frames written to sockets."),
    gauge("execgate_gateway_queue_bytes", "Bytes that wait for all sessions."),
    histogram("execgate_gateway_fanout_duration_seconds", "One flush: updates to all whom they concern."),
    histogram("execgate_gateway_delivery_age_seconds", "Oldest update of a flush, from its stamp to written."),
    counter("execgate_gateway_orders_total", "Orders by their end.", "status", ORDER_ENDS),
    histogram("execgate_gateway_order_duration_seconds", "An order, from its arrival to its end."),
    histogram("execgate_gateway_loop_lag_seconds", "How late the event loop was, ten times a second."),
    gauge("execgate_gateway_gc_pause_seconds", "Longest pause of the garbage collector so far.", Over.MOST),
    gauge("execgate_gateway_feed_live", "1 while the feed is live; of workers their number."),
    gauge("execgate_gateway_feed_seq", "Position in the feed; of workers the least.", Over.LEAST),
    gauge("execgate_gateway_feed_lag_updates", "Updates known to be published, not passed on yet.", Over.MOST),
    gauge("execgate_gateway_feed_lag_seconds", "The newest update, from its stamp to its arrival.", Over.MOST),
    gauge("execgate_gateway_feed_silence_seconds", "Since the publisher last said anything.", Over.MOST),
    gauge("execgate_gateway_publisher_clock_offset_seconds", "Its clock ahead of ours, if known.", Over.MOST),
    gauge("execgate_gateway_publisher_clock_uncertainty_seconds", "How far off that can be.", Over.MOST),
    counter("execgate_gateway_feed_updates_total", "Updates that the feed brought."),
    counter("execgate_gateway_feed_gaps_total", "Holes in the feed that stayed."),
    counter("execgate_gateway_feed_missing_total", "Updates in those holes."),
    counter("execgate_gateway_feed_duplicates_total", "Messages that came again."),
    counter("execgate_gateway_feed_malformed_total", "Messages that are none of a publisher."),
    counter("execgate_gateway_replays_total", "Holes that the publisher was asked for."),
    counter("execgate_gateway_replayed_updates_total", "Updates that came so."),
    counter("execgate_gateway_history_pages_total", "Pages of history fetched for sessions that resume."),
    *PROCESS,
)
