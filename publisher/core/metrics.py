"""What a publisher tells Prometheus: the table of its metrics. docs/metrics.md has a row for each."""

from execgate.measure.metrics import PROCESS, Over, counter, gauge, histogram

ASKED = ("replay", "snapshot")
ENDS = ("end", "gone", "replaced", "forgotten", "lost")

TABLE = (
    gauge("execgate_publisher_ready", "1 while what comes can be kept and published."),
    gauge("execgate_publisher_seq", "The last seq that was published.", Over.LEAST),
    gauge("execgate_publisher_history_first_seq", "The oldest seq that is kept for replay.", Over.LEAST),
    counter("execgate_publisher_updates_total", "Updates that were published.", "source"),
    counter("execgate_publisher_rows_total", "Rows in them.", "source"),
    counter("execgate_publisher_payload_bytes_total", "Bytes of their payloads.", "source"),
    counter("execgate_publisher_refusals_total", "Lines and messages that were not taken.", "source"),
    gauge("execgate_publisher_subscriptions", "Subscriptions to the feed; a gateway has one."),
    gauge("execgate_publisher_journal_waiting_updates", "Updates that are stamped and not kept yet."),
    gauge("execgate_publisher_journal_waiting_bytes", "Bytes of their payloads."),
    histogram("execgate_publisher_journal_commit_duration_seconds", "A commit, without the wait before it."),
    gauge("execgate_publisher_replays_under_way", "Requests for history that are not answered yet."),
    counter("execgate_publisher_replay_requests_total", "Requests for history.", "kind", ASKED),
    counter("execgate_publisher_replay_ends_total", "How those requests ended.", "end", ENDS),
    counter("execgate_publisher_replayed_updates_total", "Updates that were sent to gateways that asked."),
    counter("execgate_publisher_replay_malformed_total", "Messages to the replay socket that were refused."),
    histogram("execgate_publisher_loop_lag_seconds", "How late the event loop was, ten times a second."),
    *PROCESS,
)
