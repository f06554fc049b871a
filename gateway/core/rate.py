"""Token buckets: how often something may happen, with a burst, and what to do beyond it."""

from collections import OrderedDict

_NS = 1_000_000_000


class TokenBucket:
    """`per_s` tokens a second, `burst` at most; starts full. Times are monotonic nanoseconds."""

    __slots__ = ("_burst", "_ns_per_token", "_tokens", "_updated_ns")

    def __init__(self, per_s: float, burst: float, now_ns: int) -> None:
        self._ns_per_token = _NS / per_s
        self._burst = burst
        self._tokens = burst
        self._updated_ns = now_ns

    def take(self, now_ns: int) -> bool:
        """Take one token if there is one."""
        self._tokens = min(self._burst, self._tokens + (now_ns - self._updated_ns) / self._ns_per_token)
        self._updated_ns = now_ns
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class AddressLimiter:
    """New connections an address may make. The table holds `most` addresses; the one longest unseen goes first.

    An address that fell off the table starts with a full burst again: the price of a bound.
    """

    def __init__(self, per_s: float, burst: int, most: int = 65_536) -> None:
        self._per_s = per_s
        self._burst = burst
        self._most = most
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def allows(self, host: str, now_ns: int) -> bool:
        """Count one attempt from `host`; False when it is over its rate."""
        bucket = self._buckets.get(host)
        if bucket is None:
            bucket = self._buckets[host] = TokenBucket(self._per_s, self._burst, now_ns)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(host)
        return bucket.take(now_ns)
