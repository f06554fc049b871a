"""The newest of each key, against a list of all puts."""

from hypothesis import given, settings
from hypothesis import strategies as st

from execgate.wire.newest import Name, Newest

PUTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=40)


@settings(max_examples=200, deadline=None)
@given(puts=PUTS, max_keys=st.integers(0, 5), max_bytes=st.integers(0, 25))
def test_it_holds_the_least_recent_no_longer_than_the_bounds_allow(
    puts: list[tuple[int, int]], max_keys: int, max_bytes: int
) -> None:
    newest: Newest[int] = Newest(max_keys, max_bytes)
    model: dict[Name, tuple[int, int]] = {}  # in order of the last put
    for number, (key, size) in enumerate(puts):
        name = (b"ex.", b"%d" % key)
        model.pop(name, None)
        model[name] = (number, size)
        expected_gone = []
        while model and (len(model) > max_keys or sum(size for _, size in model.values()) > max_bytes):
            oldest = next(iter(model))
            del model[oldest]
            expected_gone.append(oldest)
        assert newest.put(name, number, size) == expected_gone
        assert list(newest.values()) == [value for value, _ in model.values()]
        assert all(newest.get(name) == value for name, (value, _) in model.items())
    assert newest.get((b"ex.", b"never")) is None
