"""Topics: templates that are refused, rows that are refused, and no topic that bleeds into another."""

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execgate.wire.errors import RowError
from execgate.wire.topics import EVERYTHING, MAX_TOPIC_BYTES, TopicTemplate, is_prefix


@pytest.mark.parametrize(
    ("template", "expectation"),
    [
        ("", "at least one"),
        ("ex.", "at least one"),
        ("ex.{}.", "fields as {name}"),
        ("ex.{symbol.", "fields as {name}"),
        ("ex.symbol}.", "fields as {name}"),
        ("ex.{{symbol}}.", "fields as {name}"),
        ("ex.{0}.", "fields as {name}"),
        ("ex.{a.b}.", "fields as {name}"),
        ("ex.{a!r}.", "fields as {name}"),
        ("ex.{symbol}", "a delimiter"),
        ("ex.{symbol}*", "a delimiter"),
        ("ex.{symbol}.*", "a delimiter"),
        ("{a}{b}.", "a delimiter"),
        ("{a}x{b}.", "a delimiter"),
        ("{a}_{b}.", "a delimiter"),
        ("{a}~.", "a delimiter"),
        ("{a}%2E.", "a delimiter"),
        ("ex.{a}7.", "a delimiter"),
        ("ex {symbol}.", "printable ASCII"),
        ("ex.{symbol}.\n", "printable ASCII"),
        ('ex"{symbol}.', "printable ASCII"),
        ("ex\\{symbol}.", "printable ASCII"),
        ("é.{symbol}.", "printable ASCII"),
    ],
)
def test_a_template_that_is_refused_says_what_was_expected(template: str, expectation: str) -> None:
    with pytest.raises(ValueError, match=r"^expected ") as caught:
        TopicTemplate(template)
    assert expectation in str(caught.value)


@pytest.mark.parametrize(
    ("template", "row", "topic"),
    [
        ("ex.{symbol}.", {"symbol": "QQQ"}, "ex.QQQ."),
        ("ex.{accountId}.{symbol}.", {"symbol": "QQQ", "accountId": 1772139}, "ex.1772139.QQQ."),
        ("ex.{symbol}.", {"symbol": "BRK.B"}, "ex.BRK%2EB."),
        ("ex.{symbol}.", {"symbol": "a/b c%"}, "ex.a%2Fb%20c%25."),
        ("ex.{symbol}.", {"symbol": "é*\x00"}, "ex.%C3%A9%2A%00."),
        ("ex.{symbol}.", {"symbol": "{}"}, "ex.%7B%7D."),
        ("ex.{n}.", {"n": -5}, "ex.-5."),
        ("ex.{n}.", {"n": 2**64}, "ex.18446744073709551616."),
        ("{a}/{b}:v1", {"a": "x", "b": "y"}, "x/y:v1"),
    ],
)
def test_fields_are_percent_encoded_dots_included(template: str, row: dict[str, Any], topic: str) -> None:
    assert TopicTemplate(template).topic_of(row) == topic


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        True,
        False,
        1.0,
        float("nan"),
        [],
        [1],
        {},
        {"a": []},
        b"x",
        (1,),
        "\ud800",
        10**5000,
        "x" * 256,
        "é" * 50,
    ],
    ids=lambda value: f"{type(value).__name__}-{str(value)[:6]!a}" if value != 10**5000 else "huge",
)
def test_an_odd_field_is_refused_and_refused_again(value: Any) -> None:
    template = TopicTemplate("ex.{symbol}.")
    for _ in range(2):
        with pytest.raises(RowError) as caught:
            template.topic_of({"symbol": value})
        assert len(str(caught.value)) < 200, "a log line, whatever was sent"


def test_a_missing_field_is_named() -> None:
    with pytest.raises(RowError, match="accountId is None"):
        TopicTemplate("ex.{accountId}.{symbol}.").topic_of({"symbol": "QQQ"})


def test_a_cached_value_does_not_let_its_equals_in() -> None:
    """1 == 1.0 == True, and all three hash alike."""
    template = TopicTemplate("ex.{n}.")
    assert template.topic_of({"n": 1}) == "ex.1."
    for equal in (True, 1.0):
        with pytest.raises(RowError):
            template.topic_of({"n": equal})


def test_a_topic_of_the_greatest_length_passes() -> None:
    template = TopicTemplate("{symbol}.")
    assert len(template.topic_of({"symbol": "x" * (MAX_TOPIC_BYTES - 1)})) == MAX_TOPIC_BYTES
    with pytest.raises(RowError, match="at most 255"):
        template.topic_of({"symbol": "x" * MAX_TOPIC_BYTES})


values = st.one_of(st.text("AB.%*/~_-é{2", min_size=1, max_size=5), st.integers(-20, 20))
TEMPLATES = [TopicTemplate(template) for template in ("ex.{a}.{b}.", "{a}/{b}.", "{b}.x.{a}:y", "{a}..{b}.")]


@settings(max_examples=400, deadline=None)
@given(template=st.sampled_from(TEMPLATES), first=st.tuples(values, values), second=st.tuples(values, values))
def test_no_topic_is_a_prefix_of_another_s(
    template: TopicTemplate, first: tuple[Any, Any], second: tuple[Any, Any]
) -> None:
    one = template.topic_of({"a": first[0], "b": first[1]})
    other = template.topic_of({"a": second[0], "b": second[1]})
    same = [str(value) for value in first] == [str(value) for value in second]
    assert one.startswith(other) == same


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.text(max_size=4), max_size=20))
def test_the_cache_changes_no_topic_and_decoding_gives_the_value_back(rows: list[str]) -> None:
    template = TopicTemplate("ex.{symbol}.")
    for symbol in rows:
        try:
            topic = template.topic_of({"symbol": symbol})
        except RowError:
            assert symbol == "" or not symbol.isascii()
            continue
        assert topic == TopicTemplate("ex.{symbol}.").topic_of({"symbol": symbol})
        assert topic.isascii()
        assert topic.count(".") == 2
        assert unquote(topic[3:-1]) == symbol


def test_a_pattern_that_ends_in_a_star_is_a_prefix() -> None:
    assert is_prefix("ex.A*")
    assert is_prefix(EVERYTHING)
    assert not is_prefix("ex.A.")
    assert not is_prefix("ex.*.")
