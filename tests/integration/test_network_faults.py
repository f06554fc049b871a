"""A bad network below TCP: late, lost and doubled packets, cuts. What is replayed and resumed stays exact.

Publisher and gateways stand at the ends of a link of our own (`chaos.link`), with keys, as off one machine they
must. Beside each gateway stands one whose guard is off: it must not pass.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest

from chaos.keys import Keys
from chaos.link import FAR, NEAR, Link, NoLinkError, Weather
from tests.harness import running, wait_until
from tests.integration.test_curve import Dealer
from tests.integration.test_resume import Reader
from tests.rig import Gateway, gateway

FAIR = Weather()
BAD = Weather(delay_ms=10.0, jitter_ms=4.0, loss=0.03, doubles=0.01)
CUT = Weather(is_cut=True)
CUT_S = 2.0
COUNT = 800
PATIENT = ("--replay-timeout-s", "10")
_ESTABLISHED = "01"  # in /proc/net/tcp, where addresses are hexadecimal, in the machine's order of bytes
pytestmark = pytest.mark.slow


class Ends:
    """The publisher is at the far end, the test, its clients and most gateways at the near one."""

    def __init__(self, link: Link, folder: Path, stack: ExitStack) -> None:
        self.link = link
        self.keys = Keys(folder)
        self._stack = stack
        self._feed = self._replay = ""

    def start_publisher(self, *flags: str) -> None:
        arguments = ("--pub", f"tcp://{FAR}:0", "--heartbeat-ms", "100", *self.keys.of_publisher(), *flags)
        publisher = self._stack.enter_context(running("publisher", *arguments, prefix=self.link.far))
        facts = publisher.ready()
        self._feed, self._replay = facts["pub"], facts["replay"]

    def gateway(self, *flags: str, is_guarded: bool = True, is_far: bool = False) -> Gateway:
        """Without its guard a gateway can't have replayed what it missed."""
        started = gateway(
            self._feed,
            *(*self.keys.of_gateway("gateway"), "--insecure-listen", *flags),
            listen=f"{FAR if is_far else '127.0.0.1'}:0",
            replay=self._replay if is_guarded else "none",
            prefix=self.link.far if is_far else (),
        )
        return self._stack.enter_context(started)

    def connections(self, *, far: bool) -> int:
        """How many connections an end takes for open."""
        table = [*(self.link.far if far else ()), "cat", "/proc/self/net/tcp", "/proc/self/net/tcp6"]
        lines = subprocess.run(table, capture_output=True, text=True, check=True).stdout.splitlines()
        peer = f"{int.from_bytes(socket.inet_aton(NEAR if far else FAR), sys.byteorder):08X}"
        fields = [line.split() for line in lines]
        return sum(each[2].partition(":")[0].endswith(peer) and each[3] == _ESTABLISHED for each in fields)


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    with ExitStack() as stack:
        try:
            link = Link(seed=1)
        except NoLinkError as error:
            pytest.skip(f"no network namespaces with TUN devices here, a bad network was NOT tested: {error}")
        stack.callback(link.close)
        stack.enter_context(link.near())
        yield Ends(link, tmp_path, stack)


def read_on(reader: Reader, served: Gateway, count: int) -> None:
    """Read until there are `count` updates, resuming as often as it takes."""
    while len(reader.seqs) < count:
        reader.read(served, count - len(reader.seqs), timeout_s=60)


def has(reader: Reader, count: int) -> bool:
    return len(reader.seqs) >= count


def upstream_gaps(reader: Reader) -> int:
    return sum(told.get("event") == "gap" and told["why"] == "upstream" for told in reader.told)


def test_late_lost_and_doubled_packets_and_a_cut_cost_nobody_an_update(ends: Ends) -> None:
    """One reader's gateway has the feed over the link, the other's is reached over it."""
    ends.start_publisher("--rate", "200", "--zmq-hwm", "50")  # so that the cut costs updates, not just time
    near, far, unguarded = ends.gateway(*PATIENT), ends.gateway(is_far=True), ends.gateway(is_guarded=False)
    by_feed, by_client, control = readers = Reader(), Reader(), Reader()
    ends.link.set(BAD)
    with ThreadPoolExecutor(3) as pool:
        reading = [
            pool.submit(read_on, reader, served, COUNT)
            for reader, served in zip(readers, (near, far, unguarded), strict=True)
        ]
        wait_until(lambda: all(len(each.seqs) > COUNT // 10 for each in readers), "all read", 30)
        ends.link.set(CUT)
        time.sleep(CUT_S)  # the fault itself
        ends.link.set(BAD)
        for each in reading:
            each.result()
    did = ends.link.set(FAIR)
    assert all(did.values()), did
    assert near.stats()["feed"]["replayed"] > 0, "the cut cost the gateway nothing"
    by_feed.assert_exact()
    by_client.assert_exact()
    assert upstream_gaps(control) > 0
    with pytest.raises(AssertionError):
        control.assert_exact()


def test_a_publisher_that_is_cut_off_is_told_and_seen_and_what_was_lost_at_the_end_is_had_without_a_later_update(
    ends: Ends, tmp_path: Path
) -> None:
    """Nothing is published after the cut, which lasts until one end alone of the connection is left."""
    ingest = f"ipc://{tmp_path}/ingest"
    ends.start_publisher("--source", "ingest-ack", "--ingest-ack", ingest, "--zmq-hwm", "50")
    near = ends.gateway("--feed-stale-s", "0.3", *PATIENT)
    unguarded = ends.gateway("--feed-stale-s", "600", is_guarded=False)
    before, after = 50, 550
    with (
        closing(Dealer(ingest, ends.keys.client("producer"))) as producer,
        near.client() as client,
        unguarded.client() as other,
    ):
        reader, control = Reader(), Reader()
        for each in (client, other):
            each.send("subscribe-execs", {})
            each.receive_event("subscribed")
        push(producer, 1, before)
        for one, its in ((reader, client), (control, other)):
            one.take_until(its, partial(has, one, before))
        wait_until(lambda: ends.connections(far=False) == ends.connections(far=True) > 0, "each has two ends")
        ends.link.set(CUT)
        push(producer, before + 1, after)
        wait_until(lambda: near.get("/readyz")[0] == 503, "its readiness is red")
        reader.take_until(client, lambda: was_told(reader, "stale"))
        wait_until(lambda: not ends.connections(far=False), "the gateways' ends have given up")
        assert ends.connections(far=True), "the publisher's ends are left"
        assert unguarded.get("/readyz")[0] == 200
        assert len(reader.seqs) == before
        assert ends.link.set(FAIR)["cut"] > 0
        reader.take_until(client, lambda: len(reader.seqs) >= after)
        control.take_until(other, lambda: upstream_gaps(control) > 0 and control.told[-1]["to"] >= after)
        reader.take_until(client, lambda: was_told(reader, "live"))
    reader.assert_exact()
    wait_until(lambda: near.get("/readyz")[0] == 200, "its readiness is green")
    assert near.stats()["feed"]["replayed"] > 0
    assert len(control.seqs) < after
    assert not was_told(control, "stale")


def test_a_client_that_has_gone_without_a_word_is_let_go_of_and_resumes(ends: Ends) -> None:
    """Its connection is half open: neither end can tell the other that it is over."""
    ends.start_publisher("--rate", "100")
    far = ends.gateway("--ping-s", "0.2", "--idle-s", "1", is_far=True)
    unguarded = ends.gateway("--ping-s", "300", "--idle-s", "600", is_far=True)
    reader = Reader()
    with far.client() as client, unguarded.client() as other:
        for each in (client, other):
            each.send("subscribe-execs", {})
        reader.take_until(client, lambda: len(reader.seqs) >= 50)
        ends.link.set(CUT)
        wait_until(lambda: ends.connections(far=True) == 1, "one gateway has let go of its client")
        assert ends.connections(far=False) == 2, "the clients know of nothing"
        assert ends.link.set(FAIR)["cut"] > 0
        assert unguarded.stats()["connections"] == 1
        assert far.stats()["closes"] == {"1001": 1}
    read_on(reader, far, 200)
    reader.assert_exact()
    assert reader.told[-1]["recovered"]


def was_told(reader: Reader, state: str) -> bool:
    return any(each.get("event") == "feed" and each["state"] == state for each in reader.told)


def push(producer: Dealer, first: int, last: int) -> None:
    """Have updates published, and wait until they are kept, whatever becomes of them then."""
    for number in range(first, last + 1):
        exec_ = b'{"symbol":"A","number":%d,"text":"%s"}' % (number, b"x" * 1_000)
        producer.socket.send_multipart([b"%d" % number, exec_])
        answer = producer.next()
        assert answer is not None
        assert answer[1] == b"OK", answer
