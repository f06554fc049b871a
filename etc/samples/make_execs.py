"""Writes `execs.jsonl` and `execs.csv` next to it: made-up executions of several symbols over ten minutes.

    python etc/samples/make_execs.py

The same files every time. Prices walk at random and keep their two decimals (`100.10` stays `100.10`), each row
has the `timestamp` (ms since 1970) that `--pace recorded` goes by, and some lines hold several rows, of one
symbol or of two, since an exec message may be a list.
"""

import json
from pathlib import Path
from random import Random

ROWS = 3000
CSV_ROWS = 200
START_MS = 1_767_623_400_000  # 2026-01-05T14:30:00Z
SYMBOLS = {"QQQ": 61000, "SPY": 68000, "AAPL": 27000, "MSFT": 48000, "BRK.B": 49000, "NVDA": 18000}  # cents
COLUMNS = ("timestamp", "symbol", "price", "qty", "netAmount", "transaction", "accountId", "key", "description")


def make_row(
    random: Random, prices: dict[str, int], symbol: str, number: int, timestamp_ms: int
) -> dict[str, str]:
    """Return one exec, each value as JSON text. Moves the symbol's price."""
    prices[symbol] += random.randint(-15, 15)
    qty = random.randrange(1, 200)
    cents = prices[symbol] * qty
    return {
        "sequence": str(number),
        "timestamp": str(timestamp_ms),
        "symbol": json.dumps(symbol),
        "price": f"{prices[symbol] // 100}.{prices[symbol] % 100:02d}",
        "qty": str(qty),
        "netAmount": f"{cents // 100}.{cents % 100:02d}",
        "com": str(random.randrange(5)),
        "transaction": json.dumps(random.choice(["BTO", "STO", "BTC", "STC"])),
        "accountId": str(1772139 + random.randrange(3)),
        "key": json.dumps(f"{symbol}:::S"),
        "description": json.dumps(f"{symbol} Stock"),
    }


def to_json(row: dict[str, str]) -> str:
    """Return a row as a JSON object."""
    return "{" + ",".join(f'"{name}":{value}' for name, value in row.items()) + "}"


def main() -> None:
    """Write both files."""
    random = Random(2012)
    prices = dict(SYMBOLS)
    timestamp_ms = START_MS
    rows = []
    symbol = "QQQ"
    for number in range(ROWS):
        timestamp_ms += random.randrange(400)
        if random.random() < 0.4:  # an order is often filled in parts, so a symbol stays for a while
            symbol = random.choice(list(prices))
        rows.append(make_row(random, prices, symbol, number, timestamp_ms))
    lines, at = [], 0
    while at < len(rows):
        size = random.choice([1, 1, 1, 2, 3])
        batch = [to_json(row) for row in rows[at : at + size]]
        lines.append(batch[0] if len(batch) == 1 else "[" + ",".join(batch) + "]")
        at += size
    folder = Path(__file__).parent
    (folder / "execs.jsonl").write_text("\n".join(lines) + "\n")
    table = [",".join(COLUMNS)]
    table += [",".join(row[name].strip('"') for name in COLUMNS) for row in rows[:CSV_ROWS]]
    (folder / "execs.csv").write_text("\n".join(table) + "\n")


if __name__ == "__main__":
    main()
