"""The back-off doubles, is spread by jitter, and ends."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from loadgen.core.backoff import FIRST_DELAY_S, JITTER, MAX_ATTEMPTS, Backoff


@given(seed=st.integers(0, 10_000))
def test_delays_double_within_their_jitter_and_end_after_five(seed: int) -> None:
    random, backoff = Random(seed), Backoff()
    delays = [backoff.next_delay_s(random) for _ in range(MAX_ATTEMPTS)]
    for attempt, delay in enumerate(delays):
        nominal = FIRST_DELAY_S * 2**attempt
        assert delay is not None
        assert nominal * (1 - JITTER) <= delay <= nominal * (1 + JITTER)
    assert backoff.next_delay_s(random) is None
    assert backoff.next_delay_s(random) is None


def test_two_clients_do_not_come_back_together() -> None:
    random = Random(1)
    assert len({Backoff().next_delay_s(random) for _ in range(100)}) == 100


def test_a_connection_gives_all_attempts_back() -> None:
    random, backoff = Random(1), Backoff()
    for _ in range(MAX_ATTEMPTS):
        backoff.next_delay_s(random)
    backoff.reset()
    delay = backoff.next_delay_s(random)
    assert delay is not None
    assert delay <= FIRST_DELAY_S * (1 + JITTER)
