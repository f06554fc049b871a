"""The strict check of exec messages: what passes keeps its bytes, what does not is a RowError that says why."""

import json
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from execgate.wire.errors import RowError
from publisher.core import rows
from publisher.core.rows import CsvRows, check, is_csv_heading, shown

GOOD = [
    (b'{"symbol":"A"}', [b'{"symbol":"A"}']),
    (b' \t{"symbol" : "A"}\r\n', [b'{"symbol" : "A"}']),
    (b'{"symbol":"A","price":100.10,"qty":1e2,"x":-0.0}', [b'{"symbol":"A","price":100.10,"qty":1e2,"x":-0.0}']),
    (
        b'[ {"symbol":"A","p":1.50} , {"symbol":"B"}\n]',
        [b'{"symbol":"A","p":1.50}', b'{"symbol":"B"}'],
    ),
    ('{"symbol":"Zürich","s":"\u2028😀"}'.encode(), ['{"symbol":"Zürich","s":"\u2028😀"}'.encode()]),
    (b'{"symbol":"\\ud83d\\ude00"}', [b'{"symbol":"\\ud83d\\ude00"}']),
    (b'{"symbol":"A","s":"\\\\ud800"}', [b'{"symbol":"A","s":"\\\\ud800"}']),
    (b'{"symbol":"A","deep":' + b"[" * 15 + b"]" * 15 + b"}", None),
    (b'{"symbol":"A","text":"' + b"[{" * 40 + b'"}', None),
    (b'{"symbol":"A","n":' + b"9" * 308 + b"}", None),
    (b"[" + b",".join([b'{"symbol":"A"}'] * 100) + b"]", [b'{"symbol":"A"}'] * 100),
]

BAD = [
    (b"", "message is '': expected a JSON object"),
    (b"foo", "message is 'foo': expected a JSON object"),
    (b"5", "expected a JSON object"),
    (b"[]", "empty list"),
    (b"{}", "symbol is missing: expected text that is not empty"),
    (b'{"symbol":""}', "symbol is '': expected text"),
    (b'{"symbol":5}', "symbol is 5: expected text"),
    (b'{"symbol":null}', "symbol is None: expected text"),
    (b'{"symbol":["A"]}', "symbol is ['A']: expected text"),
    (b'[{"symbol":"A"},{"symbol":1}]', "row 2: symbol is 1"),
    (b'[{"symbol":"A"},7]', "row 2: exec is 7: expected a JSON object"),
    (b'[[{"symbol":"A"}]]', "row 1: exec is [{'symbol': 'A'}]"),
    (b'[{"symbol":"A"}', "expected ',' or a final ']'"),
    (b'[{"symbol":"A"},]', "row 2: not JSON"),
    (b'[{"symbol":"A"}]x', "expected ',' or a final ']'"),
    (b'[{"symbol":"A"} {"symbol":"A"}]', "expected ',' or a final ']'"),
    (b'{"symbol":"A"} {"symbol":"B"}', "text after the exec"),
    (b'{"symbol":"A",}', "not JSON at character"),
    (b"{'symbol':'A'}", "not JSON at character 2"),
    (b'{"symbol":"A","symbol":"B"}', "'symbol' comes twice in one object: expected once"),
    (b'{"symbol":"A","x":{"a":1,"\\u0061":2}}', "'a' comes twice"),
    (b'{"symbol":"A","x":NaN}', "number is NaN: expected a finite number"),
    (b'{"symbol":"A","x":-Infinity}', "number is -Infinity: expected a finite number"),
    (b'{"symbol":"A","x":1e999}', "number is '1e999': expected a finite number"),
    (b'{"symbol":"A","x":-1e999}', "expected a finite number"),
    (b'{"symbol":"A","x":' + b"9" * 309 + b"}", "expected at most 308 digits"),
    (b'{"symbol":"A","x":' + b"9" * 5000 + b"}", "expected at most 308 digits"),
    (b'{"symbol":"A","x":01}', "not JSON"),
    (b'{"symbol":"A\xff"}', "byte 12 is 0xff: expected UTF-8"),
    (b'{"symbol":"\xed\xa0\x80"}', "expected UTF-8"),
    (b'{"symbol":"\\ud800"}', "expected whole surrogate pairs"),
    (b'{"symbol":"A","x":{"\\uDC00":1}}', "expected whole surrogate pairs"),
    (b'{"symbol":"A\x00"}', "not JSON"),
    (b'{"symbol":"A","x":' + b"[" * 16 + b"]" * 16 + b"}", "nested deeper than 16"),
    (b"[" * 100_000, "nested deeper than 16"),
    (b'{"a":' * 100_000, "nested deeper than 16"),
    (b'["]",' * 17 + b"]" * 17, "nested deeper than 16"),
    (b"[" + b'"\\"' * 100_000, "row 1"),  # quadratic, were an open string looked at from each of its quotes
    (b'{"symbol":"' + b"A" * rows.MAX_MESSAGE_BYTES + b'"}', "expected at most 1048576"),
]


@pytest.mark.parametrize(("message", "raw"), GOOD, ids=lambda value: repr(value)[:40])
def test_good_messages_keep_their_bytes(message: bytes, raw: list[bytes] | None) -> None:
    assert [row.raw for row in check(message)] == (raw or [message])


@pytest.mark.parametrize(("message", "reason"), BAD, ids=lambda value: repr(value)[:40])
def test_bad_messages_say_field_value_and_expectation(message: bytes, reason: str) -> None:
    with pytest.raises(RowError) as refused:
        check(message)
    assert reason in str(refused.value)
    assert len(str(refused.value)) < 300


def test_the_message_bound_is_inclusive() -> None:
    frame = b'{"symbol":""}'
    message = b'{"symbol":"' + b"A" * (rows.MAX_MESSAGE_BYTES - len(frame)) + b'"}'
    assert len(message) == rows.MAX_MESSAGE_BYTES
    assert check(message)[0].raw == message


FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
EXECS = st.builds(
    lambda symbol, rest: {**rest, "symbol": symbol},
    TEXT.filter(bool),
    st.dictionaries(TEXT, JSON_VALUES, max_size=4),
)


@given(st.lists(EXECS, min_size=1, max_size=5), st.booleans(), st.sampled_from([None, 1]))
def test_every_exec_list_passes_with_its_bytes(
    execs: list[dict[str, object]], ascii_only: bool, indent: int | None
) -> None:
    texts = [json.dumps(row, ensure_ascii=ascii_only, indent=indent) for row in execs]
    found = check(("[ " + " ,\n".join(texts) + " ]").encode())
    assert [row.raw.decode() for row in found] == texts
    assert [row.fields for row in found] == execs


PIECES = b"""{ } [ ] " , : \\ "symbol":"A" "a":1 1e999 NaN - 1.5 \\u \\ud800 true \\xff {"symbol":"A"}""".split(
    b" "
)
FRAGMENTS = st.lists(
    st.sampled_from([*PIECES, b"9" * 400, b"\xff", b"\xe2\x80", b"\x00", b" ", b"\n"]), max_size=40
).map(b"".join)


@given(st.binary(max_size=60) | FRAGMENTS)
@example(b'{"symbol":"A"}')
def test_whatever_comes_is_rows_or_a_row_error(message: bytes) -> None:
    """No other exception; and what is passed on is what a strict standard parser reads as those execs."""
    try:
        found = check(message)
    except RowError:
        return
    document = json.loads(message)
    expected = document if isinstance(document, list) else [document]
    assert [json.loads(row.raw) for row in found] == expected
    assert all(isinstance(row["symbol"], str) and row["symbol"] for row in expected)


def depth_of(message: bytes) -> int:
    """A naive model: the greatest nesting, strings left out, up to where brackets stop matching."""
    depth = deepest = 0
    inside = escaped = False
    for byte in message.decode():
        if inside:
            inside = escaped or byte != '"'
            escaped = byte == "\\" and not escaped
        elif byte == '"':
            inside = True
        elif byte in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in "]}":
            depth -= 1
    return deepest


@given(st.lists(st.sampled_from(['"', "\\", "[", "{", "]", "}", "a", "[[[[[["]), max_size=60).map("".join))
def test_depth_is_the_depth_outside_of_strings(text: str) -> None:
    message = text.encode()
    try:
        check(message)
        reason = ""
    except RowError as error:
        reason = str(error)
    assert ("nested deeper" in reason) == (depth_of(message) > rows.MAX_DEPTH)


def test_no_digit_limit_of_the_interpreter_is_met() -> None:
    """It would raise a ValueError; and without it, int() of a megabyte of digits would take seconds."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        with pytest.raises(RowError):
            check(b'{"symbol":"A","x":' + b"9" * 1_000_000 + b"}")
    finally:
        sys.set_int_max_str_digits(limit)


CSV = [
    (b"symbol,price", b"QQQ,100.10", b'{"symbol":"QQQ","price":100.10}'),
    (b"price,symbol", b"-1.5e-3,600519", b'{"price":-1.5e-3,"symbol":"600519"}'),
    (b"symbol,x", b"A,007", b'{"symbol":"A","x":"007"}'),
    (b"symbol,x", b"A,", b'{"symbol":"A","x":""}'),
    (b"symbol,x", b"A, 1", b'{"symbol":"A","x":" 1"}'),
    (b"symbol,x", b"A,true", b'{"symbol":"A","x":"true"}'),
    (b"symbol,x", b"A,.5", b'{"symbol":"A","x":".5"}'),
    (b"symbol,x", "A,٣".encode(), '{"symbol":"A","x":"٣"}'.encode()),
    (b"symbol,x", b'A,"a ""quoted"", comma\\"', b'{"symbol":"A","x":"a \\"quoted\\", comma\\\\"}'),
    (b'symbol ,"a ""b"""', b"A,1", b'{"symbol":"A","a \\"b\\"":1}'),
    (b"symbol,x", b'A,"1"', b'{"symbol":"A","x":1}'),
]
CSV_BAD = [
    (b"A", "line has 1 values: expected 2"),
    (b"A,1,2", "line has 3 values: expected 2"),
    (b",1", "symbol is '': expected text"),
    (b"A,1e999", "expected a finite number"),
    (b"A," + b"9" * 400, "expected at most 308 digits"),
    (b'A,"open', "not CSV"),
    (b'A,"x"y', "not CSV"),
    (b"A,\xff", "byte 2 is 0xff: expected UTF-8"),
]


@pytest.mark.parametrize(("heading", "line", "raw"), CSV)
def test_csv_lines_become_rows(heading: bytes, line: bytes, raw: bytes) -> None:
    assert [row.raw for row in CsvRows(heading).check(line)] == [raw]


@pytest.mark.parametrize(("line", "reason"), CSV_BAD)
def test_bad_csv_lines_say_why(line: bytes, reason: str) -> None:
    with pytest.raises(RowError) as refused:
        CsvRows(b"symbol,x").check(line)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("heading", "reason"),
    [
        (b"symbol,a,a", "column is 'a': expected names"),
        (b"symbol,,a", "column is '': expected names"),
        (b"Symbol,price", "expected one that is called symbol"),
    ],
)
def test_a_bad_heading_says_why(heading: bytes, reason: str) -> None:
    with pytest.raises(RowError) as refused:
        CsvRows(heading)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("line", "csv"),
    [
        (b"symbol", True),
        (b"price, symbol ,qty", True),
        (b'{"symbol":"A"}', False),
        (b' [{"symbol":"A"}]', False),
        (b"Symbol,price", False),
        (b"garbage", False),
        (b'"open', False),
        (b"\xff,symbol", False),
    ],
)
def test_a_heading_is_told_from_json(line: bytes, csv: bool) -> None:
    assert is_csv_heading(line) is csv


@given(st.lists(TEXT, min_size=1, max_size=4) | st.just(["1.50", "x"]), st.binary(max_size=30))
def test_csv_is_a_row_or_a_row_error(values: list[str], line: bytes) -> None:
    table = CsvRows(b"symbol,x")
    for text in (line, ",".join(values).encode()):
        try:
            (row,) = table.check(text)
        except RowError:
            continue
        assert json.loads(row.raw) == row.fields
        assert list(row.fields) == ["symbol", "x"]


def test_what_is_shown_is_one_short_line() -> None:
    assert shown("a\n\x1b[2Jb") == "'a\\n\\x1b[2Jb'"
    assert len(shown("x" * 10_000)) == 60
    assert len(shown(list(range(10_000)))) == 60
