"""A stretch's chain, had from two prefixes, is the chain of its items; any change, swap, loss or double shows."""

from hypothesis import given
from hypothesis import strategies as st

from execgate.audit import chain

payloads = st.lists(st.binary(max_size=8), min_size=1, max_size=30)


def chained(items: list[bytes]) -> int:
    value = 0
    for item in items:
        value = chain.extend(value, chain.digest(item))
    return value


@given(payloads, st.data())
def test_a_stretch_is_what_its_items_chain_to(items: list[bytes], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(items)))
    end = data.draw(st.integers(start, len(items)))
    prefixes = chain.prefixes(map(chain.digest, items))
    assert chain.stretch(prefixes, start, end) == chained(items[start:end])


@given(payloads, payloads)
def test_different_items_or_orders_chain_differently(left: list[bytes], right: list[bytes]) -> None:
    assert (chained(left) == chained(right)) == (left == right)
