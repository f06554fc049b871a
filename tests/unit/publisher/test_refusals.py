"""Refusals: all are counted, the first are logged in full, a flood is not."""

import logging

import pytest

from execgate.wire.errors import RowError
from publisher.config import PublisherConfig
from publisher.refusals import LOGGED_IN_FULL, Refusals
from publisher.sources.synthetic import SyntheticSource


def test_the_first_are_logged_and_a_flood_is_held_back(caplog: pytest.LogCaptureFixture) -> None:
    refusals, source = Refusals(), SyntheticSource(PublisherConfig())
    with caplog.at_level(logging.WARNING):
        for number in range(1, 10_001):
            refusals.refuse(source, number, RowError("x" * 1000))
    assert refusals.counts == {"synthetic": 10_000}
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:LOGGED_IN_FULL] == [
        f"refused source=synthetic update={number} reason={'x' * 300}" for number in range(1, LOGGED_IN_FULL + 1)
    ]
    assert LOGGED_IN_FULL < len(lines) < LOGGED_IN_FULL + 10
