"""Reading a client's text: a message or a RequestError, in a time that grows with its length."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execgate.wire.errors import RequestError
from gateway.core.messages import Message, read_message
from tests.unit.gateway.core.texts import ANY_JSON, ANY_TEXT


def read(text: str, max_depth: int = 16) -> Message:
    return read_message(text, max_depth)


def nested(depth: int) -> str:
    """A message that is `depth` levels deep altogether."""
    return '{"event":"e","data":{"a":' + "[" * (depth - 2) + "7" + "]" * (depth - 2) + "}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"event":"e"}', Message("e", {}, None)),
        ('{"event":"e","data":{"a":[1,2.5,"x",null,true]}}', Message("e", {"a": [1, 2.5, "x", None, True]}, None)),
        ('{"data":{},"id":7,"event":"e","more":1}', Message("e", {}, 7)),
        ('{"event":"e","id":"seven"}', Message("e", {}, "seven")),
        ('{"event":"e","id":7.5}', Message("e", {}, 7.5)),
        ('{"event":"e","id":null}', Message("e", {}, None)),
        ('{"event":"e","event":"f"}', Message("f", {}, None)),
        ('{"event":"NaN 1e5","data":{"a":1e5}}', Message("NaN 1e5", {"a": 1e5}, None)),
        (' {"event":"ü\\ud83d\\ude00"} ', Message("ü\U0001f600", {}, None)),
        ('{"event":"e","data":{"a":%s}}' % ("7" * 400), Message("e", {"a": int("7" * 400)}, None)),
    ],
)  # fmt: skip
def test_a_good_message_is_read(text: str, message: Message) -> None:
    assert read(text) == message


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("", "bad-message", "not JSON"),
        ("hello", "bad-message", "not JSON"),
        ('{"event":"e"', "bad-message", "not JSON"),
        ('{"event":"e"} {}', "bad-message", "not JSON"),
        ('{"event":"e","data":{"a":%s}}' % ("1" * 5_000), "bad-message", "not JSON"),
        ("[]", "bad-message", "expected an object"),
        ("7", "bad-message", "expected an object"),
        ("null", "bad-message", "expected an object"),
        ("{}", "bad-message", "event: expected a text"),
        ('{"event":7}', "bad-message", "event: expected a text"),
        ('{"event":null,"data":{}}', "bad-message", "event: expected a text"),
        ('{"event":"e","data":[]}', "bad-field", "data: expected an object"),
        ('{"event":"e","data":null}', "bad-field", "data: expected an object"),
        ('{"event":"e","id":true}', "bad-field", "id: expected a number or a text"),
        ('{"event":"e","id":[]}', "bad-field", "id: expected"),
        ('{"event":"e","id":""}', "bad-field", "id: expected"),
        ('{"event":"e","id":"' + "x" * 129 + '"}', "bad-field", "id: expected"),
        ('{"event":"e","id":18446744073709551616}', "bad-field", "id: expected"),
        *(
            ('{"event":"e","data":{"a":[{"b":' + number + "}]}}", "bad-message", "not finite")
            for number in ("NaN", "Infinity", "-Infinity", "1e999", "-1E999", "1.e999", "1" * 400 + ".0")
        ),
        ('{"event":"e","id":1e999}', "bad-message", "not finite"),
    ],
)  # fmt: skip
def test_a_bad_message_is_named(text: str, code: str, reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as refused:
        read(text)
    assert refused.value.code == code
    assert len(str(refused.value)) < 200


@given(ANY_TEXT)
def test_any_text_is_a_message_or_a_request_error(text: str) -> None:
    try:
        message = read(text)
    except RequestError:
        return
    assert isinstance(message.event, str)
    assert isinstance(message.data, dict)
    json.dumps([message.data, message.id], allow_nan=False)


@given(st.text(), st.dictionaries(st.text(), ANY_JSON, max_size=4), st.one_of(st.none(), st.integers(-9, 9)))
def test_what_python_writes_is_read_as_it_was(event: str, data: dict[str, object], number: int | None) -> None:
    text = json.dumps({"event": event, "data": data, "id": number})
    if "NaN" in text or "Infinity" in text:
        return
    assert read(text, max_depth=500) == Message(event, json.loads(text)["data"], number)


@pytest.mark.parametrize("depth", [2, 3, 16, 400])
def test_depth_is_bounded_to_the_level(depth: int) -> None:
    read(nested(depth), depth)
    with pytest.raises(RequestError, match=f"over {depth} levels"):
        read(nested(depth + 1), depth)


def test_brackets_in_texts_are_no_depth_and_siblings_are_not_either() -> None:
    text = json.dumps({"event": "e", "data": {"a": "[{" * 50 + '"\\' + "[" * 50, "b": [[1]] * 50}})
    assert read(text, 4).data["b"] == [[1]] * 50


@pytest.mark.parametrize(
    "text",
    [
        "[" * 17 + '"' + '\\"' * 32_000,
        "[" * 17 + '"' + "x" * 64_000,
        "[" * 17 + '"\\' * 32_000,
        '"' * 64_000 + "[" * 17,
        "[" * 64_000,
        "[" + ",".join(["1" * 299] * 215) + "]",
        '{"event":"e","data":{"a":"%s"}}' % ("1" * 64_000),
    ],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_no_text_of_64_kib_takes_long_to_refuse(text: str) -> None:
    """A pattern that backtracks over an unclosed string took 8 s, and the loop stood still."""
    start_s = time.process_time()
    try:
        read(text)
    except RequestError:
        pass
    assert time.process_time() - start_s < 0.5
