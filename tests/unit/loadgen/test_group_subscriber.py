"""What members of a group do to their connections, over a scripted library; and what storms and leaving do."""

import asyncio
import time
from typing import Any

import pytest

from execgate.wire.events import PLAIN, encode_event
from loadgen.asking import Asking
from loadgen.client import Closed
from loadgen.core.fairness import Fairness
from loadgen.core.plan import Group
from loadgen.core.tally import Tally
from loadgen.crowd import Crowd
from loadgen.group_subscriber import GroupSubscriber
from loadgen.subscriber import Subscriber
from tests.unit.loadgen.test_crowd import Script, _soon, fails, opens, run, until  # noqa: F401  # a fixture


def member(crowd: Crowd, script: Script, fairness: Fairness | None = None, **of_group: Any) -> GroupSubscriber:
    group = Group("g", 1, **of_group)
    tally = crowd.tallies.setdefault("g", Tally())
    made = GroupSubscriber(crowd, len(crowd.members), group, tally, crowd.connector, fairness)
    crowd.add(made)
    return made


def hear(one: Subscriber, event: str, **data: Any) -> None:
    one.on_text(encode_event(event, data).decode(), 0, 0)


def update(one: Subscriber, seq: int, received_ns: int = 0) -> None:
    data = b'{"timestamp":1,"epoch":"e","seq":%d,"topic":"t","tseq":%d}' % (seq, seq)
    one.on_text((PLAIN.prefix + data + PLAIN.suffix).decode(), received_ns, 0)


def test_a_stuck_one_reads_until_it_is_subscribed_and_at_the_end_learns_how_the_server_closed_it() -> None:
    script = Script(opens)

    async def play(crowd: Crowd) -> None:
        one = member(crowd, script, behaviour="stuck")
        assert script.pauses == []
        hear(one, "subscribed", epoch="e", seq=5)
        assert script.pauses == [True]
        assert one.may_be_closed
        crowd.stop_sending()
        assert script.pauses == [True, False]
        one.on_close(Closed(4108))
        assert not one.may_be_closed
        record = crowd.take_record()
        assert record["groups"]["g"]["closed"] == {"4108": 1}
        assert record["errors"] == {}, "it is what was wanted"

    run(script, play)


@pytest.mark.parametrize("of_group", [{"behaviour": "stuck"}, {"behaviour": "slow", "read_bytes_per_s": 1.0}])
def test_while_it_is_calm_it_reads_and_from_then_on_it_does_what_it_is_called(of_group: dict[str, Any]) -> None:
    script = Script(opens)

    async def play(crowd: Crowd) -> None:
        crowd.is_calm = True
        one = member(crowd, script, **of_group)
        hear(one, "subscribed", epoch="e", seq=5)
        update(one, 6)
        assert script.pauses == []
        crowd.is_calm = False
        update(one, 7)
        assert script.pauses == [True]

    run(script, play)


def test_who_does_not_read_is_not_stale_and_is_not_asked_for_stamps() -> None:
    script = Script(opens)

    async def play(crowd: Crowd) -> None:
        healthy, stuck = member(crowd, script), member(crowd, script, behaviour="stuck")
        for one in (stuck, healthy):
            hear(one, "hello", address="1.2.3.4:5", stamps=True)
            one.on_text(
                encode_event("heartbeat", {"epoch": "e", "seq": 5}).decode(), time.monotonic_ns() + 10**12, 0
            )
        record = crowd.take_record()
        assert (record["stale"], record["silence_us"] > 10**8) == (1, True), "of the healthy one alone"
        script.sent.clear()
        asking = Asking(crowd)
        asking.start()
        await until(lambda: script.sent)
        asking.stop()
        assert stuck.ask_for_stamps(), "who was asked owes an answer"
        assert not healthy.ask_for_stamps()

    run(script, play)


def test_who_we_close_was_not_closed_by_the_server() -> None:
    script = Script(opens)

    async def play(crowd: Crowd) -> None:
        one = member(crowd, script)
        crowd.stop_sending()
        one.close()
        await until(lambda: not one.is_connected)
        assert crowd.take_record()["groups"]["g"]["closed"] == {}

    run(script, play)


def test_a_slow_one_reads_no_more_than_it_may() -> None:
    script = Script(opens)

    async def play(crowd: Crowd) -> None:
        one = member(crowd, script, behaviour="slow", read_bytes_per_s=2000.0)
        start_s = time.monotonic()
        read = 0
        for seq in range(1, 4):
            update(one, seq)
            update(one, seq + 10)
            read += 2 * len(
                '{"event":"receive-execs","data":{"timestamp":1,"epoch":"e","seq":1,"topic":"t","tseq":1}}'
            )
            assert script.pauses[-1], "it stops at once"
            await until(lambda: not script.pauses[-1])
        assert read / (time.monotonic() - start_s) <= 2000
        assert crowd.take_record()["delivery_us"] == {}, "its latencies are not the server's"

    run(script, play)


def test_the_silence_of_who_does_not_read_say_nothing_of_the_server() -> None:
    script = Script(opens)

    async def play(crowd: Crowd) -> None:
        for behaviour in ("stuck", "fast"):
            member(crowd, script, behaviour=behaviour).heard_ns = time.monotonic_ns() - 20_000_000_000
        assert crowd.take_record()["stale"] == 1

    run(script, play)


def test_one_that_reconnects_is_gone_without_a_word_and_back_at_once() -> None:
    script = Script(opens)

    async def play(crowd: Crowd) -> None:
        one = member(crowd, script, behaviour="reconnecting", reconnect_every_s=0.02)
        update(one, 3)
        await until(lambda: len(script.attempts) >= 3)
        hear(one, "hello", address="a:1", session="g-1")
        assert script.sent[-1] == {"since": {"epoch": "e", "seq": 3}}
        record = crowd.take_record()
        part = record["groups"]["g"]
        assert part["returns"] == part["disconnects"] >= 2
        assert (record["errors"], part["closed"]) == ({}, {})

    run(script, play)


def test_topics_and_modes_are_asked_for_with_the_position_once_there_is_one() -> None:
    script = Script(opens)

    async def play(crowd: Crowd) -> None:
        one = member(crowd, script, mode="conflate", topics=("a.", "b*"))
        wanted = {"mode": "conflate", "topics": ["a.", "b*"]}
        assert one.subprotocol == "execgate.1"
        hear(one, "hello", address="a:1", session="g-1")
        assert script.sent == [wanted]
        hear(one, "subscribed", epoch="e", seq=4)
        update(one, 7)
        one.on_close(Closed(1006))
        await until(lambda: one.is_connected)
        hear(one, "hello", address="a:2", session="g-2")
        assert script.sent[-1] == {**wanted, "since": {"epoch": "e", "seq": 7}}

    run(script, play)


@pytest.mark.parametrize(
    ("mode", "why", "lost", "dropped"),
    [("volatile", "slow", 0, 3), ("volatile", "upstream", 3, 0), ("conflate", "slow", 3, 0)],
)
def test_only_what_the_mode_allows_is_no_loss(mode: str, why: str, lost: int, dropped: int) -> None:
    script = Script(opens)

    async def play(crowd: Crowd) -> None:
        one = member(crowd, script, mode=mode)
        hear(one, "subscribed", epoch="e", seq=1)
        hear(one, "gap", **{"from": 2, "to": 4, "count": 3, "why": why})
        update(one, 5)
        hear(one, "heartbeat", epoch="e", seq=5, conflated=0)
        record = crowd.take_record()
        assert (record["told_missing"], record["missing"]) == (lost, 0)
        assert record["groups"]["g"]["dropped"] == dropped

    run(script, play)


def test_who_is_dropped_stays_away_until_it_is_told_to_come_back() -> None:
    script = Script(opens)

    async def play(crowd: Crowd) -> None:
        one = Subscriber(crowd, 0)
        crowd.add(one)
        one.drop()
        await until(lambda: not one.is_connected)
        assert len(script.attempts) == 1
        one.come_back(time.monotonic_ns() - 50_000_000)
        assert one.is_connected
        one.drop()
        one.come_back(time.monotonic_ns())  # the end of its connection is still on its way
        await until(lambda: len(script.attempts) == 3)
        record = crowd.take_record()
        assert (record["connects"], record["disconnects"], record["errors"]) == (3, 2, {})
        assert crowd.recorder.connect_response.count == 0
        assert sum(record["connect_response_us"].values()) == 3
        assert max(record["connect_response_us"]) > 0

    run(script, play)


def test_a_storm_leaves_alone_who_is_connecting_anyway() -> None:
    script = Script(fails)

    async def play(crowd: Crowd) -> None:
        one = Subscriber(crowd, 0)
        crowd.add(one)
        one.drop()
        one.come_back(time.monotonic_ns())
        assert len(script.attempts) == 1
        await until(lambda: len(script.attempts) == 2)  # by its own back-off

    run(script, play)


def test_who_leaves_is_closed_and_never_comes_back_also_where_it_was_only_connecting() -> None:
    script = Script(lambda _script, _listener: None)

    async def play(crowd: Crowd) -> None:
        connecting, connected = Subscriber(crowd, 0), Subscriber(crowd, 1)
        crowd.add(connecting)
        connecting.leave()
        connecting.on_open(script)
        await until(lambda: not connecting.is_connected)
        crowd.add(connected)
        connected.on_open(script)
        connected.leave()
        await until(lambda: not connected.is_connected)
        refused = Subscriber(crowd, 2)
        crowd.add(refused)
        refused.leave()
        refused.on_failed("refused", "no")
        await asyncio.sleep(0.01)  # longer than the delay that there must not be
        record = crowd.take_record()
        assert record["errors"] == {"connect refused": 1}
        assert (record["connects"], record["disconnects"], len(script.attempts)) == (2, 2, 3)

    run(script, play)


def test_how_late_one_is_behind_the_first_is_counted_while_it_is_measured() -> None:
    script = Script(opens)

    async def play(crowd: Crowd) -> None:
        fairness = Fairness()
        first, last = (member(crowd, script, fairness) for _ in range(2))
        assert fairness.expected == 2
        for seq, is_counting in enumerate((False, True, True), 1):
            fairness.is_counting = is_counting
            update(first, seq, 1_000_000 * seq)
            update(last, seq, 1_000_000 * seq + 2_000 * seq)
        assert (first.late_ns, first.heard) == (0, 2)
        assert (last.late_ns, last.heard) == (10_000, 2)
        assert sum(fairness.take(0).values()) == 2

    run(script, play)
