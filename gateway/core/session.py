"""A session: the state machine of one client, from a text message to the one action it asks for.

Rules:

- every message yields exactly one action, which the shell (`gateway.connection`) performs;
- a message that is wrong yields an `Answer` with an `error` event, or a rejected `order-response`; it never ends
  the session;
- one subscription a session: a repeated `subscribe-execs` replaces the topics and may not change the mode;
- an order whose `cl_ord_id` came before in this session is a duplicate, as far back as `REMEMBERED_ORDERS`.
"""

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from execgate.wire import events
from execgate.wire.errors import RequestError, shown
from execgate.wire.update import MAX_SEQ, epoch_of
from gateway.core.interest import EVERY_TOPIC, Interest, read_patterns
from gateway.core.messages import Message, read_message
from gateway.core.orders import Order, OrderStatus, RejectionError, answer, read_order, refusal
from gateway.core.policy import Rights

REMEMBERED_ORDERS = 1_000


class Mode(StrEnum):
    """What becomes of an update that a subscriber can't take at once."""

    ALL = "all"  # it waits, up to the bound; over it the session is closed with 4108
    VOLATILE = "volatile"  # it is dropped, and a gap says so
    CONFLATE = "conflate"  # it waits, and a newer one of its topic and key takes its place


@dataclass(slots=True)
class Answer:
    """Send this JSON; nothing else changes. `order_status` is set where it ends an order."""

    payload: bytes
    order_status: OrderStatus | None = None


class Since(NamedTuple):
    """A position that a client has reached: everything up to and including `seq` of `epoch`."""

    epoch: int
    seq: int


@dataclass(slots=True)
class Subscribe:
    """Serve `interest`, and say so; `max_messages` None is no limit.

    From the next update on, or from the one behind `since`; with `snapshot`, the newest of each key comes first
    where `since` can't be served.
    """

    interest: Interest
    mode: Mode
    max_messages: int | None
    message_id: Any
    since: Since | None = None
    snapshot: bool = False


@dataclass(slots=True)
class Unsubscribe:
    """Serve `left` from now on (None: nothing), and say that `topics` ended."""

    left: Interest | None
    topics: list[str]
    message_id: Any


@dataclass(slots=True)
class TellStamps:
    """Say what time it is here, and when the newest update passed each station."""

    message_id: Any


@dataclass(slots=True)
class PlaceOrder:
    """Give `order` to the order desk."""

    order: Order


_MODES = tuple(mode.value for mode in Mode)

Action: TypeAlias = Answer | Subscribe | Unsubscribe | PlaceOrder | TellStamps


def error_event(error: RequestError, message_id: Any = None) -> bytes:
    """Return the `error` event that tells a client what was wrong."""
    return events.encode_event(events.ERROR, {"code": error.code, "message": str(error)}, message_id)


class Session:
    """One client, from its handshake to its end.

    Args:
        rights: what the policy allows it.
        default_mode: where `subscribe-execs` names no mode.
        max_depth: of a message's JSON.
    """

    __slots__ = ("_default_mode", "_max_depth", "_orders_seen", "interest", "mode", "rights")

    def __init__(self, rights: Rights, default_mode: Mode, max_depth: int) -> None:
        self.rights = rights
        self._default_mode = default_mode
        self._max_depth = max_depth
        self._orders_seen: OrderedDict[str, None] | None = None
        self.interest: Interest | None = None
        self.mode: Mode | None = None

    def subscribe_at_connect(self) -> Subscribe:
        """Return the subscription to everything that a client without the subprotocol gets, as in 2012."""
        return self._subscribed(EVERY_TOPIC, self._default_mode, None, None)

    def receive(self, text: str) -> Action:
        """Take one text message."""
        message_id = None
        try:
            message = read_message(text, self._max_depth)
            message_id = message.id
            if message.event == events.ORDER_REQUEST:
                return self._order(message, len(text) if text.isascii() else len(text.encode()))
            if message.event == events.SUBSCRIBE:
                return self._subscribe(message)
            if message.event == events.UNSUBSCRIBE:
                return self._unsubscribe(message)
            if message.event == events.STAMPS_REQUEST:
                return TellStamps(message.id)
            raise RequestError(
                "unknown-event",
                f"event {message.event[:40]!r}: expected one of {events.SUBSCRIBE}, "
                f"{events.UNSUBSCRIBE}, {events.ORDER_REQUEST}, {events.STAMPS_REQUEST}",
            )
        except RequestError as error:
            return Answer(error_event(error, message_id))

    def ended(self) -> None:
        """The subscription ended by itself (`max_messages`); the session may subscribe again."""
        self.interest = None

    def forget(self, order: Order) -> None:
        """`order` was turned away unseen: its `cl_ord_id` may come again."""
        if self._orders_seen is not None and order.cl_ord_id is not None:
            self._orders_seen.pop(order.cl_ord_id, None)

    def _order(self, message: Message, size: int) -> Action:
        if not self.rights.may_order:
            raise RequestError("not-allowed", "this session may not send orders")
        try:
            order = read_order(message.data, message.id, size)
        except RejectionError as rejection:
            return Answer(refusal(message.data, str(rejection), message.id), OrderStatus.REJECTED)
        if order.cl_ord_id is not None and self._came_before(order.cl_ord_id):
            reason = f"cl_ord_id {order.cl_ord_id!r} came before in this session"
            return Answer(answer(order, OrderStatus.DUPLICATE, reason), OrderStatus.DUPLICATE)
        return PlaceOrder(order)

    def _came_before(self, cl_ord_id: str) -> bool:
        if self._orders_seen is None:
            self._orders_seen = OrderedDict()
        if cl_ord_id in self._orders_seen:
            return True
        self._orders_seen[cl_ord_id] = None
        if len(self._orders_seen) > REMEMBERED_ORDERS:
            self._orders_seen.popitem(last=False)
        return False

    def _subscribe(self, message: Message) -> Subscribe:
        data = message.data
        interest = EVERY_TOPIC
        if "topics" in data:
            interest = Interest(read_patterns(data["topics"], self.rights.max_topics))
        self._check_rights(interest.patterns)
        since, snapshot = _since(data.get("since")), _snapshot(data.get("snapshot"))
        max_messages = _max_messages(data.get("max_messages"))
        subscribe = self._subscribed(interest, self._mode(data.get("mode")), max_messages, message.id)
        subscribe.since, subscribe.snapshot = since, snapshot
        return subscribe

    def _subscribed(self, interest: Interest, mode: Mode, max_messages: int | None, message_id: Any) -> Subscribe:
        self.interest, self.mode = interest, mode
        return Subscribe(interest, mode, max_messages, message_id)

    def _check_rights(self, patterns: frozenset[str]) -> None:
        for pattern in patterns:
            if not self.rights.may_take(pattern):
                raise RequestError("not-allowed", f"topic {pattern!r}: not open to this session")

    def _mode(self, asked: Any) -> Mode:
        if asked is None:
            return self.mode or self._default_mode
        if type(asked) is not str or asked not in _MODES:
            raise RequestError("bad-field", f"mode is {shown(asked)}: expected one of {', '.join(_MODES)}")
        mode = Mode(asked)
        if self.interest is not None and mode is not self.mode:
            current = self.mode.value if self.mode else ""
            raise RequestError("mode-fixed", f"mode is {current!r}: unsubscribe before you ask for another")
        return mode

    def _unsubscribe(self, message: Message) -> Unsubscribe:
        if self.interest is None:
            raise RequestError("bad-field", "not subscribed to anything")
        if "topics" not in message.data:
            topics, self.interest = sorted(self.interest.patterns), None
            return Unsubscribe(None, topics, message.id)
        patterns = read_patterns(message.data["topics"], self.rights.max_topics)
        strange = patterns - self.interest.patterns
        if strange:
            raise RequestError("bad-field", f"topic {min(strange)!r}: not one of this subscription's")
        self.interest = self.interest.without(patterns)
        return Unsubscribe(self.interest, sorted(patterns), message.id)


def _since(value: Any) -> Since | None:
    if value is None:
        return None
    if type(value) is not dict:
        raise RequestError("bad-field", f"since is {shown(value)}: expected {{epoch, seq}}")
    epoch, seq = epoch_of(value.get("epoch")), value.get("seq")
    if epoch is None:
        raise RequestError(
            "bad-field", f"since.epoch is {shown(value.get('epoch'))}: expected 16 lower-case hex digits"
        )
    if type(seq) is not int or not 0 <= seq <= MAX_SEQ:
        raise RequestError("bad-field", f"since.seq is {shown(seq)}: expected a whole number from 0 to {MAX_SEQ}")
    return Since(epoch, seq)


def _snapshot(value: Any) -> bool:
    if value is not None and type(value) is not bool:
        raise RequestError("bad-field", f"snapshot is {shown(value)}: expected true or false")
    return bool(value)


def _max_messages(value: Any) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 < value < 2**53:
        raise RequestError("bad-field", f"max_messages is {str(value)[:40]!r}: expected a whole number over 0")
    return value
