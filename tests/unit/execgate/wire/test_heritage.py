"""The row of 2012: its fields, their ranges, and seeds that repeat."""

from random import Random

from execgate.wire.heritage import random_row


def test_a_row_has_the_fields_and_ranges_of_2012() -> None:
    random = Random(1)
    rows = [random_row(sequence, "Mon Jan 02 2012", random) for sequence in range(5000)]
    constant = {
        "activityDateStr": "Mon Jan 02 2012",
        "accountId": 1772139,
        "symbol": "QQQ",
        "transaction": "STO",
        "description": "QQQ Stock",
        "key": "QQQ:::S",
    }
    for sequence, row in enumerate(rows):
        assert row["sequence"] == sequence
        assert {name: row[name] for name in constant} == constant
        assert set(row) == {*constant, "sequence", "com", "price", "qty", "netAmount"}
    for name, below in {"com": 5, "price": 100, "qty": 200, "netAmount": 1000}.items():
        numbers = [row[name] for row in rows]
        assert all(isinstance(number, int) and 0 <= number < below for number in numbers)
        assert len(set(numbers)) > below * 0.95


def test_another_symbol_stands_in_its_description_and_key_too() -> None:
    row = random_row(0, "", Random(1), "SPY")
    assert (row["symbol"], row["description"], row["key"]) == ("SPY", "SPY Stock", "SPY:::S")


def test_a_seed_repeats_a_row() -> None:
    assert random_row(0, "", Random(5)) == random_row(0, "", Random(5)) != random_row(0, "", Random(6))
