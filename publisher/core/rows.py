"""PURE: is this message an exec, or a list of execs? The strict check, and rows out of CSV.

The line and ingest sources call it. A row's bytes are kept as they came, so that number text such as `100.10`
survives; what is parsed next to them only decides (topic, key, recorded time). It raises RowError and
nothing else, whatever the bytes are.
"""

import csv
import json
import math
import re
from typing import Any, NamedTuple

from execgate.wire.errors import RowError

MAX_MESSAGE_BYTES = 1024 * 1024
"""Of one line or one ingest message; an update's payload is at most some hundred bytes longer."""
MAX_DEPTH = 16
"""Nesting of one message, its own list counted (docs/protocol.md)."""
MAX_NUMBER_CHARACTERS = 308
"""Whole numbers of more digits may be beyond a double, which a browser reads as Infinity."""

_SHOWN_CHARACTERS = 60
_SPACE = re.compile(r"[ \t\n\r]*")
# Always matches once it has begun, to the end where a string is not closed: no second look, so linear.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class Row(NamedTuple):
    """One exec: its bytes as they came, and what they mean."""

    raw: bytes
    fields: dict[str, Any]


def check(message: bytes) -> list[Row]:
    """Return the rows of one message: an exec object, or a list of them, as UTF-8 JSON.

    Raises:
        RowError: names the row, the field, the value and what was expected; no row of it may be used.
    """
    if len(message) > MAX_MESSAGE_BYTES:
        raise RowError(f"message of {len(message)} bytes: expected at most {MAX_MESSAGE_BYTES}")
    try:
        text = message.decode().strip(" \t\n\r")
    except UnicodeDecodeError as error:
        raise RowError(f"byte {error.start} is 0x{message[error.start]:02x}: expected UTF-8") from None
    _check_depth(text)
    if text.startswith("{"):
        fields, end = _decode(text, 0)
        if end != len(text):
            raise RowError(f"text after the exec is {shown(text[end:])}: expected nothing")
        return [_row(text, fields)]
    if text.startswith("["):
        return _check_list(text)
    raise RowError(f"message is {shown(text)}: expected a JSON object, or a list of them")


def _check_list(text: str) -> list[Row]:
    rows: list[Row] = []
    at = _skip_space(text, 1)
    if text[at:] == "]":
        raise RowError("message is an empty list: expected at least one exec")
    while True:
        try:
            fields, end = _decode(text, at)
            rows.append(_row(text[at:end], fields))
        except RowError as error:
            raise RowError(f"row {len(rows) + 1}: {error}") from None
        at = _skip_space(text, end)
        delimiter = text[at : at + 1]
        at = _skip_space(text, at + 1)
        if delimiter == "]" and at == len(text):
            return rows
        if delimiter != ",":
            raise RowError(f"after row {len(rows)} is {shown(text[end:])}: expected ',' or a final ']'")


def _row(raw: str, fields: Any) -> Row:
    if type(fields) is not dict:
        raise RowError(f"exec is {shown(fields)}: expected a JSON object")
    symbol = fields.get("symbol")
    if type(symbol) is not str or not symbol:
        value = shown(symbol) if "symbol" in fields else "missing"
        raise RowError(f"symbol is {value}: expected text that is not empty")
    if _SURROGATE.search(raw):
        _check_surrogates(fields)
    return Row(raw.encode(), fields)


def _check_surrogates(fields: dict[str, Any]) -> None:
    """Refuse half of a surrogate pair: it has no UTF-8, so no strict reader takes it."""
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise RowError(f"text has {shown(error.object[error.start])}: expected whole surrogate pairs") from None


def _check_depth(text: str) -> None:
    """Refuse deep nesting before the parser meets it, since parsers recurse."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return
    depth = 0
    for character in _STRING.sub("", text):
        if character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise RowError(f"message is nested deeper than {MAX_DEPTH}: expected at most that")
        elif character in "]}":
            depth -= 1


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _decode(text: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        near = shown(text[error.pos : error.pos + _SHOWN_CHARACTERS])
        raise RowError(f"not JSON at character {error.pos + 1}, {near}: {error.msg}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RowError(f"{shown(twice)} comes twice in one object: expected once")
    return fields


def _integer(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise RowError(f"number is {shown(text)}: expected at most {MAX_NUMBER_CHARACTERS} digits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise RowError(f"number is {shown(text)}: expected a finite number")
    return value


def _constant(text: str) -> Any:
    raise RowError(f"number is {text}: expected a finite number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


def shown(value: Any) -> str:
    """Return a value as an error or a log may show it: one short line, nothing that a terminal obeys."""
    text = ascii(value[: 2 * _SHOWN_CHARACTERS] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


class CsvRows:
    """Rows out of the lines of one CSV table (RFC 4180, a record a line).

    Args:
        heading: the first line; names the columns.

    Raises:
        RowError: no `symbol` column, or a name that is empty or comes twice.
    """

    def __init__(self, heading: bytes) -> None:
        self.names = [name.strip() for name in _split(heading)]
        for name in self.names:
            if not name or self.names.count(name) > 1:
                raise RowError(f"column is {shown(name)}: expected names that are not empty and come once")
        if "symbol" not in self.names:
            raise RowError(f"columns are {shown(self.names)}: expected one that is called symbol")
        self._quoted = [json.dumps(name, ensure_ascii=False) for name in self.names]

    def check(self, line: bytes) -> list[Row]:
        """Return the one row of a line. Text that is a JSON number becomes one as it stands, but for `symbol`.

        Raises:
            RowError: as `check`, or another number of values than the heading has names.
        """
        values = _split(line)
        if len(values) != len(self.names):
            raise RowError(f"line has {len(values)} values: expected {len(self.names)} as in the heading")
        members = [
            f"{quoted}:{value if name != 'symbol' and _NUMBER.fullmatch(value) else _json_text(value)}"
            for name, quoted, value in zip(self.names, self._quoted, values, strict=True)
        ]
        return check(f"{{{','.join(members)}}}".encode())


def is_csv_heading(line: bytes) -> bool:
    """Whether a first line names columns, one of them `symbol`, rather than being JSON."""
    if line.lstrip().startswith((b"{", b"[")):
        return False
    try:
        return "symbol" in [name.strip() for name in _split(line)]
    except RowError:
        return False


def _json_text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _split(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode()], strict=True), [])
    except UnicodeDecodeError as error:
        raise RowError(f"byte {error.start} is 0x{line[error.start]:02x}: expected UTF-8") from None
    except csv.Error as error:
        raise RowError(f"not CSV: {error}") from None
