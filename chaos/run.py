"""One run: everything started, the adversary let loose, everything brought to rest, and what must hold then."""

import asyncio
import json
import os
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.adversary import Adversary
from chaos.clock import Clock
from chaos.daemons import GATEWAY_FLAGS, PUBLISHER_FLAGS, Daemon, ask_stats, free_ports
from chaos.disk import SmallDisk
from chaos.keys import Keys
from chaos.link import FAR, Link
from chaos.plan import Fault, blows
from chaos.producer import Producer
from chaos.relay import Relay
from execgate.service.exits import EXIT_USAGE

REST_TIMEOUT_S = 60.0
"""For everything that is under way to arrive, once nothing is broken any more."""
_SAMPLE_S = 0.5
SLOWNESS = "gap-slow"
_NO_SPACE = "no space left"


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one run; `can_fill` where the folder may hold a mount, `link` and `clock` where there can be such."""

    seed: int
    seconds: float
    clients: int
    gateways: int
    rate: float
    folder: Path
    can_fill: bool
    link: Link | None
    clock: Clock | None
    ignore_position: int


class Crowd:
    """The process of the readers.

    Attributes:
        counts: what it said last.
    """

    def __init__(self, settings: Settings, ports: list[int]) -> None:
        self.history = settings.folder / "crowd.jsonl"
        self.counts: dict[str, Any] = {}
        ignoring = [str(number) for number in range(settings.ignore_position)]
        self._command = [
            *(sys.executable, "-m", "chaos.crowd", "--ports", ",".join(map(str, ports))),
            *("--clients", str(settings.clients), "--seed", str(settings.seed), "--history", str(self.history)),
            *("--ignore-position", *ignoring),
        ]
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start, and listen to what it counts."""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe)
        self._listening = asyncio.create_task(self._listen(self._process))

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # a pipe
        async for line in process.stdout:
            self.counts = json.loads(line)

    def tell(self, command: str) -> None:
        """Send a command."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(f"{command}\n".encode())

    async def end(self) -> int:
        """Have it write its last records; return its exit status."""
        if self._process is None or self._listening is None:
            return 0
        self.tell("end")
        await self._listening
        return await self._process.wait()

    def kill(self) -> None:
        """End it at once, if it still runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()


class Run:
    """See `perform`.

    Args:
        settings: of this run.
        say: takes progress, a line at a time.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._problems: list[str] = []
        self._journal = settings.folder / "journal"
        self._ledger = settings.folder / "ledger.jsonl"  # of all daemons, in all their lives
        feed, replay, ingest, *self._ports = free_ports(3 + settings.gateways)
        self._far = "127.0.0.1" if settings.link is None else FAR  # where the publisher is
        self._relays = [Relay(self._far, [feed, replay]) for _ in self._ports]
        self._feed, self._replay, self._ingest = (f"tcp://{self._far}:{port}" for port in (feed, replay, ingest))
        keys = settings.folder / "keys"
        keys.mkdir()
        self._keys = Keys(keys)
        self._gateways: list[Daemon] = []
        self._refused_starts = 0  # of a publisher that was killed while its disk was full
        self._last_stats: dict[tuple[str, int], dict[str, Any]] = {}

    async def perform(self) -> dict[str, Any]:
        """Run it all; return the figures, and in `problems` what should not have been."""
        settings = self._settings
        disk = SmallDisk(self._journal) if settings.can_fill else None
        publisher = self._make_publisher()
        for relay in self._relays:
            await relay.start()
        self._make_gateways()
        crowd = Crowd(settings, self._ports)
        curve = self._keys.client("producer")
        producer = Producer(self._ingest, curve, settings.rate, settings.seed)
        daemons = [publisher, *self._gateways]
        sampling: asyncio.Task[None] | None = None
        try:
            publisher.start()
            await publisher.ready()
            for gateway in self._gateways:
                gateway.start()
            for gateway in self._gateways:
                await gateway.ready()
            await crowd.start()
            producing = asyncio.create_task(producer.run())
            sampling = asyncio.create_task(self._sample(daemons))
            link, clock = settings.link, settings.clock
            adversary = Adversary(
                publisher, self._gateways, self._relays, disk, link, clock, crowd.tell, self._say
            )
            needs = {Fault.FULL_DISK: disk, Fault.PACKETS: link, Fault.CLOCK: clock}
            without = frozenset(fault for fault, need in needs.items() if need is None)
            planned = blows(settings.seed, settings.seconds, settings.gateways, without)
            began_s = asyncio.get_running_loop().time()
            await adversary.perform(planned)
            left_s = settings.seconds - (asyncio.get_running_loop().time() - began_s)
            await asyncio.sleep(max(0.0, left_s))
            await self._come_to_rest(producer, producing, crowd)
            sampling.cancel()
            self._check_ledgers()
            status = await crowd.end()
            if status:
                self._problems.append(f"the crowd ended with {status}")
            for daemon in daemons:
                if status := await daemon.end():
                    self._problems.append(f"{daemon.name} ended with {status} when asked to")
        finally:
            if sampling is not None:
                sampling.cancel()
            crowd.kill()
            for daemon in daemons:
                await daemon.kill()
            for relay in self._relays:
                relay.close()
        self._check_logs(daemons)
        figures = await self._judge(producer, crowd, adversary, Counter(blow.fault.value for blow in planned))
        if disk and self._problems:
            shutil.copytree(self._journal, settings.folder / "journal-kept")
        return figures

    def _make_publisher(self) -> Daemon:
        arguments = [
            *("publisher", *PUBLISHER_FLAGS, *self._keys.of_publisher(), "--data-dir", str(self._journal)),
            *("--ledger-file", str(self._ledger)),
            *("--pub", self._feed, "--replay", self._replay, "--ingest-ack", self._ingest),
        ]
        prefix = () if self._settings.link is None else self._settings.link.far
        return Daemon("publisher", arguments, self._settings.folder, prefix, self._environment)

    @property
    def _environment(self) -> dict[str, str]:
        return {} if self._settings.clock is None else self._settings.clock.environment

    def _make_gateways(self) -> None:
        for number, (port, relay) in enumerate(zip(self._ports, self._relays, strict=True)):
            feed, replay = (f"tcp://127.0.0.1:{each}" for each in relay.ports)
            arguments = [
                *("gateway", *GATEWAY_FLAGS, "--listen", f"127.0.0.1:{port}", "--feed", feed, "--replay", replay),
                *("--ledger-file", str(self._ledger)),
                *self._keys.of_gateway("gateway"),
            ]
            folder = self._settings.folder
            self._gateways.append(Daemon(f"gateway-{number}", arguments, folder, environment=self._environment))

    async def _sample(self, daemons: list[Daemon]) -> None:
        """Keep the newest figures of each life of each gateway; notice who has ended by itself."""
        while True:
            for port, gateway in zip(self._ports, self._gateways, strict=True):
                stats = await asyncio.to_thread(ask_stats, port)
                if stats is not None:
                    self._last_stats[gateway.name, stats["pid"]] = stats
            for daemon in daemons:
                status = daemon.ended_by_itself
                if status == EXIT_USAGE and _NO_SPACE in daemon.words().rpartition("-- life ")[2]:
                    self._refused_starts += 1  # told in one line; whoever supervises it starts it again
                    daemon.start()
                elif status is not None:
                    problem = f"{daemon.name} ended by itself with {status}"
                    if problem not in self._problems:
                        self._problems.append(problem)
            await asyncio.sleep(_SAMPLE_S)

    async def _come_to_rest(self, producer: Producer, producing: "asyncio.Task[None]", crowd: Crowd) -> None:
        producer.stop()
        try:
            await asyncio.wait_for(producing, REST_TIMEOUT_S)
        except TimeoutError:
            self._problems.append("the producer was not answered in time")
        self._say(f"at rest: head {producer.head}")
        crowd.tell(f"await {producer.head}")
        deadline = asyncio.get_running_loop().time() + REST_TIMEOUT_S
        while not crowd.counts.get("there"):
            if asyncio.get_running_loop().time() > deadline:
                self._problems.append(f"a client is at {crowd.counts.get('least')}, not at {producer.head}")
                return
            await asyncio.sleep(0.2)

    def _check_ledgers(self) -> None:
        """Each gateway that runs: what matched a subscriber was delivered, dropped, conflated or discarded."""
        for gateway, port in zip(self._gateways, self._ports, strict=True):
            stats = ask_stats(port)
            if stats is None:
                self._problems.append(f"{gateway.name} does not answer")
                continue
            self._last_stats[gateway.name, stats["pid"]] = stats
            fates = sum(stats[fate] for fate in ("delivered", "dropped", "conflated", "discarded"))
            if stats["matched"] != fates or stats["queued_bytes"]:
                self._problems.append(
                    f"{gateway.name}: {stats['matched']} matched, {fates} have a fate, "
                    f"{stats['queued_bytes']} bytes wait"
                )

    def _check_logs(self, daemons: list[Daemon]) -> None:
        for daemon in daemons:
            if "Traceback" in daemon.words():
                self._problems.append(f"{daemon.name} wrote a traceback: see its log")

    async def _judge(
        self, producer: Producer, crowd: Crowd, adversary: Adversary, planned: "Counter[str]"
    ) -> dict[str, Any]:
        problems, counts = self._problems, crowd.counts
        files = (str(crowd.history), str(self._ledger))
        audit = json.loads(await _output(("audit", "--json", str(self._journal), *files)) or "null")
        if audit is None:
            problems.append("the audit could not be made")
        elif not audit["balanced"]:
            wrongs = audit["ledgers"]["wrongs"]
            problems.append(f"the books do not balance: {audit['kinds']}: {audit['flaws'][:5]} {wrongs[:5]}")
        verified = await _output(("publisher", "verify", str(self._journal)))
        if "are whole" not in verified:
            problems.append(f"the journal: {verified}")
        problems += _check_numbers(self._journal, producer)
        told = {name: count for name, count in counts.items() if name.startswith("gap-") and name != SLOWNESS}
        if told or counts.get("errors"):
            problems.append(f"clients were told of losses or errors: {told}, errors {counts.get('errors', 0)}")
        if audit and audit["modes"].get("all", {}).get("told"):
            problems.append(f"mode all: {audit['modes']['all']['told']} told as lost")
        problems += [f"{fault} was planned and never struck" for fault in planned if not adversary.struck[fault]]
        upstream: Counter[str] = Counter()
        for stats in self._last_stats.values():
            feed = stats["feed"]
            upstream.update({name: feed.get(name, 0) for name in ("replays", "replayed", "gaps", "missing")})
            upstream.update({name: stats[name] for name in ("pages_fetched", "matched", "delivered", "discarded")})
        return {
            "seed": self._settings.seed,
            "seconds": self._settings.seconds,
            "planned": dict(planned),
            "struck": dict(adversary.struck),
            "kills": adversary.struck[Fault.KILL_GATEWAY] + adversary.struck[Fault.KILL_PUBLISHER],
            "starts_refused_by_a_full_disk": self._refused_starts,
            "producer": {
                name: getattr(producer, name) for name in ("sent", "answered", "resent", "busy", "refused", "head")
            },
            "gateways": dict(upstream),
            "crowd": dict(sorted(counts.items())),
            "audit": audit,
            "verified": verified,
            "problems": problems,
        }


async def _output(arguments: tuple[str, ...]) -> str:
    """Run an execgate command; return what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "execgate", *arguments, stdout=asyncio.subprocess.PIPE, env=os.environ
    )
    output, _ = await process.communicate()
    return output.decode().strip()


def _check_numbers(journal: Path, producer: Producer) -> list[str]:
    """Say which of the producer's execs are not in the journal exactly once."""
    connection = sqlite3.connect(f"{(journal / 'journal.db').resolve().as_uri()}?mode=ro", uri=True)
    found: Counter[int] = Counter()
    try:
        for (payload,) in connection.execute("SELECT CAST(payload AS BLOB) FROM history"):
            found.update(exec_["number"] for exec_ in json.loads(payload)["execs"])
    finally:
        connection.close()
    expected = Counter(range(1, producer.sent + 1))
    problems = []
    if missing := sorted(expected - found):
        problems.append(f"acknowledged and not in the journal: {len(missing)}, from exec {missing[0]}")
    if doubled := sorted(found - expected):
        problems.append(f"in the journal more than once: {len(doubled)}, from exec {doubled[0]}")
    return problems
