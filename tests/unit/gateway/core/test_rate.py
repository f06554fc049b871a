"""Token buckets: no more than the rate and a burst, and no less; a table of addresses that stays bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.rate import AddressLimiter, TokenBucket

S = 1_000_000_000


def test_a_burst_passes_then_the_rate() -> None:
    bucket = TokenBucket(10, 3, 0)
    assert [bucket.take(0) for _ in range(5)] == [True, True, True, False, False]
    assert not bucket.take(S // 10 - 1000)
    assert bucket.take(S // 10 + 1000)
    assert not bucket.take(S // 10 + 2000)


def test_an_idle_bucket_holds_no_more_than_its_burst() -> None:
    bucket = TokenBucket(10, 3, 0)
    assert sum(bucket.take(3600 * S) for _ in range(10)) == 3


@given(
    st.floats(0.1, 1000),
    st.integers(1, 50),
    st.lists(st.integers(0, S), min_size=1, max_size=100),
)
def test_what_passes_in_any_time_is_at_most_the_burst_and_the_rate(
    per_s: float, burst: int, waits: list[int]
) -> None:
    bucket, now, passed = TokenBucket(per_s, burst, 0), 0, 0
    for wait in waits:
        now += wait
        passed += bucket.take(now)
        assert passed <= burst + now / S * per_s + 1e-6


def test_each_address_has_its_own_rate() -> None:
    limiter = AddressLimiter(1, 2)
    assert [limiter.allows("a", 0) for _ in range(3)] == [True, True, False]
    assert limiter.allows("b", 0)
    assert limiter.allows("a", S + 1000)


@pytest.mark.parametrize("most", [1, 3])
def test_the_table_is_bounded_and_the_address_longest_unseen_goes_first(most: int) -> None:
    limiter = AddressLimiter(1, 1, most=most)
    for number in range(most):
        assert limiter.allows(f"a{number}", 0)
    assert not limiter.allows("a0", 0)  # seen: now the youngest
    assert limiter.allows("new", 0)
    assert limiter.allows("a0", 0) == (most == 1), "only an address that fell off starts anew"
    for number in range(1000):
        limiter.allows(f"b{number}", 0)
    assert len(limiter._buckets) == most
