"""What is found in the messages of servers that are not ours, and what the settings refuse."""

import json
from pathlib import Path
from typing import Any

import pytest

from loadgen.config import RunConfig, parse_message, parse_token
from loadgen.core.adapter import (
    BAD_SEQ,
    BAD_TS,
    NO_TS,
    UNITS_US,
    Adapter,
    Reading,
    parse_path,
    parse_regex,
    parse_reply,
)
from loadgen.core.requirement import parse_requirement

NESTED = Adapter(parse_path("data.seq"), parse_path("data.ts"))
SOCKET_IO = Adapter(parse_path("1.seq"), None)
SEQ_ONLY = Adapter(parse_path("seq"), None)
TS_ONLY = Adapter(None, parse_path("t"), UNITS_US["s"])
REGEX = Adapter(parse_regex(r'"seq":(\d+)'), parse_regex(r'"ts":(\d+)'), UNITS_US["us"])


@pytest.mark.parametrize(
    ("adapter", "text", "readings"),
    [
        (NESTED, '{"data":{"seq":7,"ts":1000}}', [Reading(7, 1_000_000)]),
        (NESTED, '{"data":{"seq":"7","ts":"1000.5"}}', [Reading(7, 1_000_500)]),
        (NESTED, '{"data":{"seq":7}}', [Reading(7, None, NO_TS)]),
        (NESTED, '{"data":{"seq":7,"ts":"noon"}}', [Reading(7, None, BAD_TS)]),
        (NESTED, '{"data":{"seq":7,"ts":true}}', [Reading(7, None, BAD_TS)]),
        (NESTED, '{"data":{"seq":7,"ts":"nan"}}', [Reading(7, None, BAD_TS)]),
        (NESTED, '{"data":{"seq":7,"ts":1' + "0" * 400 + "}}", [Reading(7, None, BAD_TS)]),
        *(
            (NESTED, f'{{"data":{{"seq":{bad},"ts":1}}}}', [Reading(None, None, BAD_SEQ)])
            for bad in ("-1", "1.5", "true", "null", '"x"', '"-1"', '"' + "1" * 21 + '"', "{}", "[]")
        ),
        # No update: nothing at the path, or no JSON at all.
        *(
            (NESTED, text, [])
            for text in ('{"data":{}}', '{"data":[1]}', '{"ts":1}', "[]", "2", "", "{", "{\n}\n{")
        ),
        # Several in a message, as Centrifugo writes them; the same over many lines is one.
        (SEQ_ONLY, '{"seq":1}\n{}\n{"seq":2}\n', [Reading(1, None), Reading(2, None)]),
        (SEQ_ONLY, '{\n"seq":1\n}', [Reading(1, None)]),
        # Socket.IO's type of a message stands before its JSON.
        (SOCKET_IO, '42["receive-execs",{"seq":3}]', [Reading(3, None)]),
        (SOCKET_IO, '0{"sid":"a"}', []),
        (SOCKET_IO, '42["alone"]', []),
        (TS_ONLY, '{"t":1.25}', [Reading(None, 1_250_000)]),
        (REGEX, '{"seq":1,"ts":5}{"seq":2,"ts":6}', [Reading(1, 5), Reading(2, 6)]),
        (REGEX, '{"seq":1}', [Reading(1, None, NO_TS)]),
        (REGEX, '{"ts":1}', []),
    ],
)
def test_what_a_message_says(adapter: Adapter, text: str, readings: list[Reading]) -> None:
    assert adapter.read(text) == readings


@pytest.mark.parametrize("unit", UNITS_US)
def test_a_timestamp_counts_its_unit(unit: str) -> None:
    adapter = Adapter(None, parse_path("t"), UNITS_US[unit])
    in_unit = {"s": 1_700_000_000, "ms": 1_700_000_000_000, "us": 1_700_000_000_000_000}
    text = json.dumps({"t": in_unit.get(unit, 1_700_000_000_000_000_000)})
    assert adapter.read(text) == [Reading(None, 1_700_000_000_000_000)]


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "a b"])
def test_a_bad_path_says_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as data\.seq"):
        parse_path(text)


@pytest.mark.parametrize(("text", "why"), [("(", "unterminated"), ("a", "0 groups"), ("(a)(b)", "2 groups")])
def test_a_bad_regex_says_why_and_what_was_expected(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"{why}.*; expected a regular expression with one group"):
        parse_regex(text)


@pytest.mark.parametrize("text", ["", "2", "=3"])
def test_a_bad_reply_says_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected PING=PONG"):
        parse_reply(text)


def test_a_reply_may_be_empty_and_is_shown_as_it_was_given() -> None:
    assert [str(parse_reply(text)) for text in ("2=3", "{}={}", "ping=")] == ["2=3", "{}={}", "ping="]


def test_a_message_is_text_or_a_file_without_its_last_newline(tmp_path: Path) -> None:
    path = tmp_path / "hello.json"
    path.write_bytes(b'{"connect":{}}\n')
    assert parse_message(f"@{path}") == parse_message('{"connect":{}}') == b'{"connect":{}}'
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="UTF-8"):
        parse_message(f"@{path}")
    with pytest.raises(ValueError, match="No such file"):
        parse_message(f"@{tmp_path / 'other'}")
    path.write_bytes(b"1" * (1024 * 1024 + 1))
    with pytest.raises(ValueError, match="1048576 bytes at most"):
        parse_message(f"@{path}")


def test_a_subprotocol_is_a_token() -> None:
    assert parse_token("graphql-ws") == "graphql-ws"
    with pytest.raises(ValueError, match="without spaces"):
        parse_token("a\r\nb")


SEQ: dict[str, Any] = {"seq_path": parse_path("seq")}
TS: dict[str, Any] = {"ts_path": parse_path("ts")}


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (SEQ | {"ts_regex": parse_regex("(a)")}, "not one of each"),
        ({"on_open": (b"40",)}, "--on-open is for servers that are not ours"),
        ({"reply": (parse_reply("2=3"),)}, "--reply is for servers"),
        ({"subprotocol": "a"}, "--subprotocol is for servers"),
        (SEQ | {"orders_per_s": 1.0}, "--orders-per-s 1.0: only our own servers"),
        (SEQ | {"records": "x.jsonl"}, "--records x.jsonl: only our own servers"),
        (SEQ | {"require": (parse_requirement("p99<5ms"),)}, "neither --ts-path nor --ts-regex"),
        (TS | {"require": (parse_requirement("lost==0"),)}, "neither --seq-path nor --seq-regex"),
        (SEQ | TS | {"require": (parse_requirement("hop_out.p50<1ms"),)}, "our own gateway"),
        (TS | {"require": (parse_requirement("duplicates==0"),)}, "neither --seq-path nor --seq-regex"),
    ],
)
def test_settings_that_do_not_go_together_are_named(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        RunConfig(**settings)


def test_with_a_path_the_server_is_not_ours_and_without_one_it_is() -> None:
    assert RunConfig().adapter() is None
    adapter = RunConfig(**SEQ, **TS, ts_unit="ns", reply=(parse_reply("2=3"),), on_open=(b"40",)).adapter()
    assert adapter == Adapter(parse_path("seq"), parse_path("ts"), 1e-3, (b"40",), {"2": b"3"})
