"""The alert rules, by Prometheus' own unit tests: each fires for what it is about, and is silent without it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.prometheus import RULES, alerts, promtool

pytestmark = pytest.mark.slow

GATEWAY = 'job="execgate", instance="gateway:9124"'
PUBLISHER = 'job="execgate", instance="publisher:9150"'
STEADY = "1+0x40"
"""Promtool's short form: a first value, what is added each minute, how many minutes."""
MINUTES = 30


def lateness(name: str, where: str, *, late: bool) -> dict[str, str]:
    """Return a histogram's series: 100 observations a minute, all under 10 ms or all over 1 s."""
    few = "0+0x40" if late else "0+100x40"
    return {
        f'{name}_bucket{{{where}, le="0.01"}}': few,
        f'{name}_bucket{{{where}, le="1"}}': few,
        f'{name}_bucket{{{where}, le="10"}}': "0+100x40",
        f'{name}_bucket{{{where}, le="+Inf"}}': "0+100x40",
    }


def one(name: str, where: str, calm: str, alarming: str, label: str = "") -> tuple[dict[str, str], dict[str, str]]:
    """Return a series that rests and the same one that alarms."""
    series = f"{name}{{{where}{label}}}"
    return {series: calm}, {series: alarming}


def both(name: str, where: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return a histogram of short durations and one of long ones."""
    return lateness(name, where, late=False), lateness(name, where, late=True)


WORKERS = {f"execgate_gateway_workers{{{GATEWAY}}}": "2+0x40"}
MATCHES = {f"execgate_gateway_matches_total{{{GATEWAY}}}": "0+1000x40"}
FILES = {f"process_max_fds{{{GATEWAY}}}": "1000+0x40"}
CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "ExecgateDown": one("up", GATEWAY, STEADY, "1 0x40"),
    "ExecgateGatewayNotReady": one("execgate_gateway_ready", GATEWAY, "2+0x40", "2 1+0x40"),
    "ExecgateFeedSilent": one("execgate_gateway_feed_silence_seconds", GATEWAY, "0.4+0x40", "0+60x40"),
    "ExecgateGatewayBehind": one("execgate_gateway_feed_lag_updates", GATEWAY, "0+0x40", "7+0x40"),
    "ExecgateUpdatesLost": one("execgate_gateway_feed_missing_total", GATEWAY, "5+0x40", "5+0x28 9+0x10"),
    "ExecgateDeliverySlow": both("execgate_gateway_delivery_age_seconds", GATEWAY),
    "ExecgateLoopLag": both("execgate_publisher_loop_lag_seconds", PUBLISHER),
    "ExecgateSlowSubscribers": one(
        "execgate_gateway_drops_total", GATEWAY, "0+5x40", "0+20x40", ', reason="slow"'
    ),
    "ExecgateGatewayDropsBehind": one(
        "execgate_gateway_drops_total", GATEWAY, "3+0x40", "0+1x40", ', reason="behind"'
    ),
    "ExecgateSlowConsumersClosed": one(
        "execgate_gateway_closes_total", GATEWAY, "0+0.5x40", "0+5x40", ', code="4108"'
    ),
    "ExecgateRefusingConnections": one(
        "execgate_gateway_refusals_total", GATEWAY, "0+1x40", "0+60x40", ', reason="full"'
    ),
    "ExecgateWorkersDie": one("execgate_gateway_worker_restarts_total", GATEWAY, "1+0x40", "0+1x40"),
    "ExecgateDescriptorsShort": one("process_open_fds", GATEWAY, "800+0x40", "900+0x40"),
    "ExecgatePublisherNotReady": one("execgate_publisher_ready", PUBLISHER, STEADY, "0+0x40"),
    "ExecgateJournalSlow": both("execgate_publisher_journal_commit_duration_seconds", PUBLISHER),
    "ExecgateJournalBacklog": one(
        "execgate_publisher_journal_waiting_updates", PUBLISHER, "100+0x40", "9000+0x40"
    ),
    "ExecgatePublisherRefusing": one(
        "execgate_publisher_refusals_total", PUBLISHER, "4+0x40", "0+1x40", ', source="ingest"'
    ),
    "ExecgateEpochChanged": one("execgate_publisher_seq", PUBLISHER, "0+900x40", "0+900x26 0+900x12"),
    "ExecgateNobodyListens": one("execgate_publisher_subscriptions", PUBLISHER, "2+0x40", "0+0x40"),
}
BESIDE = {
    "ExecgateGatewayNotReady": WORKERS,
    "ExecgateSlowSubscribers": MATCHES,
    "ExecgateDescriptorsShort": FILES,
}


def group(alert: str, series: dict[str, str], fires: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one of promtool's tests: what `alert` does after half an hour of `series`."""
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": f"{MINUTES}m", "alertname": alert, "exp_alerts": fires}],
    }


def test_each_alert_has_a_case() -> None:
    assert set(CASES) == set(alerts())


def test_promtool_finds_no_fault() -> None:
    assert "FAILED" not in promtool("check", "rules", "--lint-fatal", RULES)


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_for_what_it_is_about_alone(alert: str, tmp_path: Path) -> None:
    calm, alarming = (BESIDE.get(alert, {}) | series for series in CASES[alert])
    promtool("test", "rules", write(tmp_path, "calm", [group(alert, calm, [])]))
    with pytest.raises(AssertionError, match=f"alertname: {alert}") as silent:
        promtool("test", "rules", write(tmp_path, "alarming", [group(alert, alarming, [])]))
    got = str(silent.value).partition("got:")[2]
    assert f'alertname="{alert}"' in got, "it fired, where silence was expected"
    assert 'instance="' in got, "it says where"
    assert "%!" not in got, "its sentence is whole"


def write(folder: Path, name: str, tests: list[dict[str, Any]]) -> Path:
    """Write promtool's file (JSON is YAML)."""
    file = folder / f"{name}.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    return file
