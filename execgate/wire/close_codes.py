"""Every close code that a gateway sends, and the codes that a peer may send (RFC 6455 section 7.4)."""

from enum import IntEnum


class CloseCode(IntEnum):
    """Close codes with the meaning clients may build on. `docs/protocol.md` has the table."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_TEXT = 1007
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    RESTART = 1012
    NOT_AUTHENTICATED = 4001
    NOT_ALLOWED = 4003
    OVERLOADED = 4100
    SLOW_CONSUMER = 4108
    DRAIN = 4200


# RFC 6455 section 7.4.2 and the IANA registry: 1004-1006 and 1015 never travel, 1016-2999 are unassigned.
_REGISTERED = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})


def may_be_sent(code: int) -> bool:
    """Whether `code` may stand in a close frame on the wire."""
    return code in _REGISTERED or 3000 <= code <= 4999
