"""The demo's verdict and its table: pure functions of what was measured."""

from dataclasses import replace
from typing import Any

import pytest

from execgate.demo import table
from execgate.demo.table import Load
from execgate.demo.verdict import Outcome, judge

GOOD = Outcome(
    asked_s=20,
    steady_s=20.0,
    rate=20,
    subscribers=300,
    delivered=120_000,
    gaps=0,
    missing=0,
    duplicates=0,
    reorders=0,
    orders_sent=2000,
    orders_answered=2000,
)


@pytest.mark.parametrize(
    ("changed", "failed"),
    [
        ({}, []),
        ({"delivered": 114_000}, []),
        ({"delivered": 113_999}, ["delivered"]),
        ({"delivered": 120_100}, []),
        ({"steady_s": 19.6}, []),
        ({"steady_s": 19.4, "delivered": 116_400}, ["time"]),
        ({"steady_s": 0.0, "delivered": 0}, ["time", "delivered"]),
        ({"asked_s": None, "steady_s": 3.0, "delivered": 18_000}, []),
        ({"gaps": 1, "missing": 2}, ["gaps"]),
        ({"duplicates": 1}, ["duplicates"]),
        ({"reorders": 1}, ["order"]),
        ({"orders_sent": 0, "orders_answered": 0}, ["orders"]),
        ({"orders_answered": 1999}, ["orders"]),
        ({"gaps": 1, "duplicates": 1, "orders_answered": 0}, ["gaps", "duplicates", "orders"]),
    ],
)
def test_the_verdict_names_each_condition_that_was_broken(changed: dict[str, Any], failed: list[str]) -> None:
    assert [check.name for check in judge(replace(GOOD, **changed)) if not check.passed] == failed


def test_the_yardstick_is_the_schedule() -> None:
    """A publisher that sent half of what was due must not pass, though all that it sent arrived."""
    found = {check.name: check for check in judge(replace(GOOD, delivered=60_000))}
    assert not found["delivered"].passed
    assert "60,000 of 120,000 scheduled updates x subscribers, 50.0%" in found["delivered"].found


def pubsub(**changed: Any) -> dict[str, Any]:
    return {"connected": 300, "delivered": 9000, "seconds": 1.5, "delivery_us": {"700": 99, "2500": 1}} | changed


def test_a_row_is_made_of_the_records_of_its_second() -> None:
    orders = [{"seconds": 1.0, "orders_answered": 90}, {"seconds": 1.0, "orders_answered": 110}]
    row = table.row(pubsub(), orders, 20, 3, Load(cpu_percent=12.4, memory_mib=140.6))
    assert row.split() == ["320", "6000", "100", "0.70", "0.70", "3", "12", "141"]


def test_a_row_without_orders_or_updates_shows_no_false_zero() -> None:
    row = table.row(pubsub(delivery_us={}, delivered=0), [], 0, 0, Load(0.0, 0.0))
    assert row.split() == ["300", "0", "-", "-", "-", "0", "0", "0"]


def test_the_heading_stands_over_its_columns() -> None:
    heading = table.heading()
    row = table.row(pubsub(), [], 0, 0, Load(100, 1000))
    assert len(heading) == len(row)
    assert heading.split()[:3] == ["clients", "delivered/s", "orders/s"]
