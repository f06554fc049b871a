"""Interests: values that match what their patterns say, whatever the order and the redundancy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execgate.wire.errors import RequestError
from gateway.core.interest import EVERY_TOPIC, Interest, read_patterns

TOPICS = st.text("ab.", min_size=1, max_size=5)
PATTERNS = st.sets(st.one_of(TOPICS, st.text("ab.", max_size=4).map(lambda prefix: prefix + "*")), min_size=1)


def matches_naively(patterns: set[str] | frozenset[str], topic: str) -> bool:
    return any(topic.startswith(p[:-1]) if p.endswith("*") else topic == p for p in patterns)


def matches(interest: Interest, topic: str) -> bool:
    return topic.encode() in interest.exact or topic.encode().startswith(tuple(interest.prefixes))


@given(PATTERNS, st.lists(TOPICS, max_size=30))
def test_it_matches_what_a_pattern_matches(patterns: set[str], topics: list[str]) -> None:
    interest = Interest(patterns)
    for topic in topics:
        assert matches(interest, topic) == matches_naively(patterns, topic)


@given(PATTERNS)
def test_it_is_minimal_no_pattern_covers_another(patterns: set[str]) -> None:
    interest = Interest(patterns)
    for prefix in interest.prefixes:
        assert not any(prefix != other and prefix.startswith(other) for other in interest.prefixes)
    assert not any(topic.startswith(tuple(interest.prefixes)) for topic in interest.exact)


@given(PATTERNS)
def test_a_pattern_that_another_covers_makes_no_difference(patterns: set[str]) -> None:
    interest = Interest(patterns)
    more = {pattern[:-1] + "aa" for pattern in patterns if pattern.endswith("*")}
    more |= {pattern[:-1] + "b*" for pattern in patterns if pattern.endswith("*")}
    assert Interest(patterns | more) == interest
    assert hash(Interest(patterns | more)) == hash(interest)
    assert interest != patterns


@given(PATTERNS, PATTERNS)
def test_without_leaves_what_the_other_patterns_match(patterns: set[str], gone: set[str]) -> None:
    left = Interest(patterns).without(gone)
    if left is None:
        assert patterns <= gone
    else:
        assert left == Interest(patterns - gone)


def test_every_topic_matches_whatever_there_is() -> None:
    assert matches(EVERY_TOPIC, "anything")
    assert Interest(["*", "ex.A.", "ex.*"]) == EVERY_TOPIC


@pytest.mark.parametrize(
    "topics", [["a"], ["*"], ["ex.*", "ex.A."], ["a" * 255], ["a" * 254 + "*"], ["a", "a"], ["a"] * 3], ids=str
)
def test_good_topics_are_taken(topics: list[str]) -> None:
    assert read_patterns(topics, 3) == frozenset(topics)


@pytest.mark.parametrize(
    ("topics", "reason"),
    [
        (None, "topics is None: expected a list of at least one topic"),
        ("ex.A.", "topics is 'ex.A.': expected a list"),
        ({"a": 1}, "expected a list"),
        ([], r"topics is \[\]: expected a list of at least one"),
        (["a", "b", "c", "d"], "4 topics: expected at most 3"),
        ([""], "topic '': expected 1 to 255 ASCII characters"),
        (["a" * 256], r"topic 'a+\.\.\.: expected 1 to 255"),
        (["ü"], "expected 1 to 255 ASCII"),
        (["\ud800"], "expected 1 to 255 ASCII"),
        ([7], "topic 7: expected"),
        ([None], "topic None: expected"),
        ([["a"]], "expected 1 to 255"),
        (["a*b"], r"topic 'a\*b': expected '\*' at the end alone"),
        (["**"], "at the end alone"),
    ],
)
def test_bad_topics_are_named_with_what_was_expected(topics: object, reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as refused:
        read_patterns(topics, 3)
    assert refused.value.code == "bad-field"
    assert len(str(refused.value)) < 150
