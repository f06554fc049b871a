"""The URL of a server under test: what is read, and what is refused with which words."""

import pytest

from loadgen.core.target import Target, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("ws://127.0.0.1:8124/ws", Target("127.0.0.1", 8124, "/ws")),
        ("ws://example.com", Target("example.com", 80, "/")),
        ("ws://[::1]:9/a?b=c", Target("::1", 9, "/a?b=c")),
        ("wss://example.com:8124/ws", Target("example.com", 8124, "/ws", "example.com")),
        ("wss://[::1]", Target("::1", 443, "/", "::1")),
    ],
)
def test_a_url_is_read_and_shown_again(text: str, target: Target) -> None:
    assert parse_target(text) == target
    assert parse_target(str(target)) == target


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:8124",
        "http://127.0.0.1:8124/ws",
        "https://127.0.0.1:8124/ws",
        "wss://:8124/ws",
        "ws://",
        "ws:///ws",
        "ws://h:0/ws",
        "ws://h:99999/ws",
        "ws://h:port/ws",
        "ws://user:secret@h/ws",
        "ws://h/a b",
        "ws://h/\r\nX: y",
        "ws://h/ws#part",
        "ws://[::1/ws",
    ],
)
def test_what_is_no_target_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected ws://HOST:PORT/PATH"):
        parse_target(text)
