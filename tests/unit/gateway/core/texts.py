"""Texts that a client may send: JSON good and bad, and what only looks like it."""

import json
from typing import Any

from hypothesis import strategies as st

# As a peer writes them: what Python's json can't write, or would write otherwise.
NASTY_VALUES = [
    "1e999",
    "-1e999",
    "1.e999",
    "NaN",
    "Infinity",
    "-Infinity",
    "1" * 5_000,
    "-" + "1" * 400,
    "1" * 400 + ".0",
    "18446744073709551616",
    "1e-400",
    "-0",
    '"\\ud800"',
    '"\\udfff\\u0000"',
    '"' + "x" * 5_000 + '"',
    "[" * 600 + "]" * 600,
    '{"a":' * 40 + "1" + "}" * 40,
    "[" * 20 + '"' + '\\"' * 1_000,
    "true",
    "null",
    '""',
    "{}",
    "[]",
    "01",
    "\x00",
    "\ud800",
]

_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ANY_VALUE = st.one_of(st.sampled_from(NASTY_VALUES), ANY_JSON.map(json.dumps), st.text())

EVENTS = ["subscribe-execs", "unsubscribe-execs", "order-request", "hello", ""]
FIELDS = [
    *("topics", "mode", "since", "snapshot", "max_messages"),
    *("request", "rows", "timestamp", "address", "execs", "cl_ord_id"),
]
GOOD_VALUES = [
    '["ex.A."]',
    '["ex.*","ex.B."]',
    '"all"',
    '"volatile"',
    '"conflate"',
    "1",
    '[{"symbol":"A"}]',
    '"x"',
]


@st.composite
def _messages(draw: st.DrawFn) -> str:
    """Something like a message: real names with real and strange values, doubled keys, now and then cut."""
    value = st.one_of(st.sampled_from(GOOD_VALUES), ANY_VALUE)
    fields = draw(st.lists(st.tuples(st.sampled_from(FIELDS), value), max_size=8))
    data = "{" + ",".join(f'"{name}":{text}' for name, text in fields) + "}"
    parts = [
        f'"event":{json.dumps(draw(st.sampled_from(EVENTS)))}',
        f'"data":{draw(st.one_of(st.just(data), value))}',
    ]
    if draw(st.booleans()):
        parts.append(f'"id":{draw(value)}')
    text = "{" + ",".join(draw(st.permutations(parts))) + "}"
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text


ANY_TEXT = st.one_of(_messages(), ANY_VALUE, st.text('{}[]":,\\ue1NaIf-. ', max_size=60))
