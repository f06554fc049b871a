"""Topics: how the publisher names a stream, and how a subscriber asks for some of them.

Each field is followed by a delimiter, so that no topic is a prefix of another: `ex.AB.` does not match
`ex.ABC.`. Fields are percent-encoded, dots included, for the same reason.
"""

import re
import reprlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from execgate.wire.errors import RowError

MAX_TOPIC_BYTES = 255
EVERYTHING = "*"
"""The pattern that matches every topic."""

_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
# A field before the end, another field, or a character that an encoded value may hold: `{a}{b}.` and
# `{a}x{b}.` would give different values one topic.
_BLEEDING = re.compile(r"\}(?:$|[{A-Za-z0-9_~%-])")


class TopicTemplate:
    """A template such as `ex.{symbol}.`; any field of an exec may stand in it.

    Raises:
        ValueError: braces that name no field, no field at all, or no delimiter after a field.
    """

    def __init__(self, template: str) -> None:
        literals = _FIELD.sub("", template)
        if "{" in literals or "}" in literals:
            raise ValueError("expected fields as {name}, such as 'ex.{symbol}.'")
        if not _FIELD.search(template):
            raise ValueError("expected at least one {field} of an exec, such as 'ex.{symbol}.'")
        if template.endswith("*") or _BLEEDING.search(template):
            raise ValueError("expected a delimiter such as '.' after each field, such as 'ex.{symbol}.'")
        if any(ord(c) < 0x21 or ord(c) > 0x7E or c in '"\\' for c in literals):
            raise ValueError("expected printable ASCII without spaces, quotes, backslashes")
        self.template = template
        self.fields = tuple(_FIELD.findall(template))
        self._format = _FIELD.sub("{}", template)
        self._known: dict[tuple[Any, ...], str] = {}

    def topic_of(self, row: Mapping[str, Any]) -> str:
        """Return the topic of one exec.

        Raises:
            RowError: a field is missing, or is neither text nor a whole number.
        """
        values = tuple(row.get(field) for field in self.fields)
        for field, value in zip(self.fields, values, strict=True):
            # Exact types: a bool is an int, and 1.0 == 1 would find the cached topic of 1.
            if type(value) not in (str, int) or value == "":
                given = reprlib.repr(value)
                raise RowError(f"{field} is {given}: expected text or a whole number, for topic {self.template!r}")
        topic = self._known.get(values)
        if topic is None:
            topic = self._build(values)
            if len(self._known) < 65_536:  # bounds the cache; beyond it topics are built each time
                self._known[values] = topic
        return topic

    def _build(self, values: tuple[Any, ...]) -> str:
        try:
            # quote() leaves "." alone, but a dot in a name would bleed into the delimiter.
            parts = [quote(str(value), safe="").replace(".", "%2E") for value in values]
        except UnicodeEncodeError:
            raise RowError(f"{reprlib.repr(values)}: expected text without lone surrogates") from None
        except ValueError:  # str() refuses it, see sys.set_int_max_str_digits
            raise RowError(f"a number over {MAX_TOPIC_BYTES} bytes: too long for a topic") from None
        topic = self._format.format(*parts)
        if len(topic) > MAX_TOPIC_BYTES:
            raise RowError(f"topic of {len(topic)} bytes: expected at most {MAX_TOPIC_BYTES}")
        return topic


def is_prefix(pattern: str) -> bool:
    """Whether a subscriber's pattern names a prefix (`ex.A*`) instead of one topic."""
    return pattern.endswith("*")
