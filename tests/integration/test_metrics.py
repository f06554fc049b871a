"""`/metrics` of real processes: the figures are what clients saw, sums never fall, and promtool finds no fault."""

import json
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from execgate.measure.metrics import Metric
from gateway.core import metrics as of_gateway
from publisher.core import metrics as of_publisher
from tests.harness import running, wait_until
from tests.integration.test_gateway_workers import ORDER, clients_of_both
from tests.prometheus import check_text
from tests.rig import get, scripted

FREE = ("--metrics", "127.0.0.1:0")
Samples = dict[tuple[str, str], float]


def scrape(address: str) -> Samples:
    """Return the samples of one scrape by name and label value; histograms by their count."""
    status, text = get(address, "/metrics")
    assert status == 200
    check_text(text)
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


def untold(table: tuple[Metric, ...], samples: Samples) -> set[str]:
    """The names of `table` that were not told."""
    told = {name for name, _ in samples}
    return {row.name for row in table if not {row.name, f"{row.name}_count"} & told}


def test_a_gateways_figures_are_what_its_clients_saw() -> None:
    with scripted(*FREE) as (served, feed), served.client() as client:
        client.subscribe()
        feed.updates(3)
        assert client.seqs(3) == [1, 2, 3]
        assert client.ask("order-request", ORDER)["data"]["status"] == "accepted"
        assert client.ask("order-request", {**ORDER, "rows": 2})["data"]["status"] == "rejected"
        samples = scrape(served.facts["metrics"])
        assert untold(of_gateway.TABLE, samples) == {
            "execgate_gateway_closes_total",  # none has closed
            # It has no channel to ask a publisher over (`--replay none`).
            "execgate_gateway_publisher_clock_offset_seconds",
            "execgate_gateway_publisher_clock_uncertainty_seconds",
        }
        expected = {
            ("ready", ""): 1,
            ("workers", ""): 1,
            ("connections", ""): 1,
            ("subscribers", "all"): 1,
            ("subscribers", "conflate"): 0,
            ("matches_total", ""): 3,
            ("deliveries_total", ""): 3,
            ("drops_total", "slow"): 0,
            ("orders_total", "accepted"): 1,
            ("orders_total", "rejected"): 1,
            ("orders_total", "unknown"): 0,
            ("order_duration_seconds_count", ""): 1,
            ("feed_live", ""): 1,
            ("feed_seq", ""): 3,
            ("feed_updates_total", ""): 3,
            ("feed_lag_updates", ""): 0,
        }
        assert {key: samples[f"execgate_gateway_{key[0]}", key[1]] for key in expected} == expected
        assert 1 <= samples["execgate_gateway_fanout_duration_seconds_count", ""] <= 3
        assert samples["execgate_gateway_sent_bytes_total", ""] > 0
        assert get(served.facts["metrics"], "/readyz") == (200, "ready\n")
        assert served.get("/metrics")[0] == 404, "nothing of it on the public port"
        served.process.send_signal(signal.SIGTERM)
        client.receive_event("drain")
        assert get(served.facts["metrics"], "/readyz") == (503, "feed=live draining=True\n")


def test_the_sum_of_workers_is_right_and_no_counter_falls_when_one_is_killed() -> None:
    with scripted(*FREE, "--workers", "2") as (served, feed), ExitStack() as stack:
        address = served.facts["metrics"]
        clients = clients_of_both(served, stack)
        feed.updates(10)
        for client in clients.values():
            assert client.seqs(10) == list(range(1, 11))
            assert client.ask("order-request", ORDER)["data"]["status"] == "accepted"

        def summed_up() -> bool:
            samples = scrape(address)
            return (
                samples["execgate_gateway_deliveries_total", ""],
                samples["execgate_gateway_orders_total", "accepted"],
                samples["execgate_gateway_workers", ""],
            ) == (20, 2, 2)

        wait_until(summed_up, "the sum of both")
        before = scrape(address)
        victim, survivor = clients
        os.kill(int(victim.rpartition("-")[2]), signal.SIGKILL)
        served.process.wait_for(r"worker died worker=\d status=-9")
        feed.wait_for_gateways()
        feed.updates(5)
        assert clients[survivor].seqs(5) == [11, 12, 13, 14, 15]
        wait_until(lambda: scrape(address)["execgate_gateway_deliveries_total", ""] == 25, "the dead still count")
        after = scrape(address)
        assert after["execgate_gateway_worker_restarts_total", ""] == 1
        counters = {row.name for row in of_gateway.TABLE if row.name.endswith("_total")}
        fallen = {
            key: (before[key], after.get(key, 0))
            for key in before
            if (key[0] in counters or key[0].endswith(("_count", "_sum"))) and after.get(key, 0) < before[key]
        }
        assert fallen == {}
        for client in clients.values():
            client.connection.close_socket()


def test_a_publishers_figures(tmp_path: Path) -> None:
    lines = tmp_path / "execs.jsonl"
    lines.write_text('{"symbol":"QQQ"}\n{"symbol":"QQQ"}\n{"no":"symbol"}\n[{"symbol":"A"},{"symbol":"B"}]\n')
    flags = ("--source", f"file:{lines}", "--source", "ingest", "--ingest", "tcp://127.0.0.1:0")
    with running(
        "publisher", *flags, "--pub", "tcp://127.0.0.1:0", "--data-dir", str(tmp_path / "journal"), *FREE
    ) as publisher:
        address = publisher.ready()["metrics"]
        published = ("execgate_publisher_updates_total", f"file:{lines}")
        wait_until(lambda: scrape(address)[published] == 4, "all is published")
        samples = scrape(address)
        assert untold(of_publisher.TABLE, samples) == set()
        expected = {
            ("ready", ""): 1,
            ("seq", ""): 4,
            ("history_first_seq", ""): 1,
            ("rows_total", f"file:{lines}"): 4,
            ("refusals_total", f"file:{lines}"): 1,
            ("updates_total", "ingest"): 0,
            ("journal_waiting_updates", ""): 0,
            ("replay_requests_total", "snapshot"): 0,
        }
        assert {key: samples[f"execgate_publisher_{key[0]}", key[1]] for key in expected} == expected
        assert 1 <= samples["execgate_publisher_journal_commit_duration_seconds_count", ""] <= 4
        assert get(address, "/readyz") == (200, "ready\n")


def test_top_shows_a_gateway_its_rates_and_what_does_not_answer() -> None:
    with scripted(*FREE) as (served, feed), served.client() as client:
        client.subscribe()
        address = served.facts["metrics"]
        with running("top", "--url", address, "--once", "--json", "--interval", "1") as top:
            for _ in range(40):  # some of them between its two looks
                feed.updates(1)
                client.seqs(1)
                if top.popen.poll() is not None:
                    break
                time.sleep(0.05)
            assert top.wait() == 0
        (row,) = json.loads(top.stdout[-1])["gateways"]
        assert (row["name"], row["ready"], row["subscribers"]) == (address, 1, 1)
        assert row["deliveries_per_s"] > 0
        assert row["age_p99_s"] > 0
        with running("top", "--url", address, "--url", "127.0.0.1:1", "--once", "--interval", "0.1") as top:
            assert top.wait() == 1
        assert top.stdout[-1] == "127.0.0.1:1: Connection refused"


@pytest.mark.parametrize("program", ["gateway", "publisher"])
def test_metrics_off_the_loopback_need_a_word(program: str) -> None:
    with running(program, "--metrics", "192.0.2.1:9124") as refused:
        assert refused.wait() == 2
        assert "--metrics 192.0.2.1:9124: not on the loopback" in refused.words()


def test_a_taken_port_of_metrics_ends_a_gateway_with_one_line() -> None:
    with scripted(*FREE) as (served, _):
        taken = served.facts["metrics"]
        with running("gateway", "--listen", "127.0.0.1:0", "--metrics", taken) as refused:
            assert refused.wait() == 2
            assert (
                refused.words()
                .strip()
                .endswith(f"--metrics {taken}: already in use; stop what listens there or choose another port")
            )
