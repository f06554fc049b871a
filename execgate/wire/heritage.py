"""The row of 2012, random as it was then: the synthetic source and the classic order clients make them.

Fields and ranges are facts of the 2012 system (docs/adr/0001-the-2012-system.md). Random state is the
caller's, so that a seed repeats a run.
"""

from random import Random
from typing import Any

SYMBOL = "QQQ"


def random_row(sequence: int, activity_date: str, random: Random, symbol: str = SYMBOL) -> dict[str, Any]:
    """Return one exec as the 2012 system made it.

    Args:
        sequence: 0 to rows - 1 within its batch.
        activity_date: date text for `activityDateStr`.
        random: source of `com` (< 5), `price` (< 100), `qty` (< 200) and `netAmount` (< 1000).
        symbol: 2012 knew "QQQ" alone.
    """
    return {
        "sequence": sequence,
        "activityDateStr": activity_date,
        "com": random.randrange(5),
        "price": random.randrange(100),
        "accountId": 1772139,
        "symbol": symbol,
        "transaction": "STO",
        "description": f"{symbol} Stock",
        "qty": random.randrange(200),
        "key": f"{symbol}:::S",
        "netAmount": random.randrange(1000),
    }
