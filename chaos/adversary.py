"""The adversary: performs a plan on the processes and lines, and counts what struck."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Sequence

from chaos.clock import Clock
from chaos.daemons import Daemon
from chaos.disk import SmallDisk
from chaos.link import Link, Weather
from chaos.plan import Blow, Fault
from chaos.relay import Relay

STUCK_CLIENTS, SLOW_CLIENTS = 20, 15
_DELAY_S = 0.05
_BAD_WEATHER = Weather(delay_ms=10.0, jitter_ms=4.0, loss=0.03, doubles=0.01)
_CLOCK_STEPS_S = (-3600.0, 3600.0)
"""Of the true time: back an hour, then on two, then right again."""


class Adversary:
    """Strikes.

    Args:
        publisher: a victim.
        gateways: victims.
        relays: the line of each gateway.
        disk: of the journal; None where it can't be filled.
        link: between everybody and the publisher; None where there is none.
        clock: of the publisher and the gateways; None where it can't be set.
        tell_crowd: sends the crowd a command.
        say: takes one line for each blow.

    Attributes:
        struck: how often each fault did: a kill of a process that ran, a connection that was cut.
    """

    def __init__(
        self,
        publisher: Daemon,
        gateways: Sequence[Daemon],
        relays: Sequence[Relay],
        disk: SmallDisk | None,
        link: Link | None,
        clock: Clock | None,
        tell_crowd: Callable[[str], None],
        say: Callable[[str], None],
    ) -> None:
        self.struck: Counter[str] = Counter()
        self._publisher = publisher
        self._gateways = gateways
        self._relays = relays
        self._disk = disk
        self._link, self._weather = link, asyncio.Lock()
        self._clock, self._clock_hand = clock, asyncio.Lock()
        self._tell_crowd = tell_crowd
        self._say = say

    async def perform(self, planned: Sequence[Blow]) -> None:
        """Strike at each time; return when the last one is healed. Blows of different victims overlap."""
        began_s = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for blow in planned:
                await asyncio.sleep(max(0.0, began_s + blow.at_s - asyncio.get_running_loop().time()))
                self._say(f"{blow.at_s:7.1f} s  {blow.fault} gateway={blow.gateway} for {blow.seconds:.2f} s")
                group.create_task(self._strike(blow))

    async def _strike(self, blow: Blow) -> None:
        fault, gateway = blow.fault, self._gateways[blow.gateway]
        if fault is Fault.KILL_GATEWAY:
            await self._kill(gateway, blow)
        elif fault is Fault.KILL_PUBLISHER:
            await self._kill(self._publisher, blow)
        elif fault is Fault.STOP_GATEWAY:
            await self._stop(gateway, blow)
        elif fault is Fault.STOP_PUBLISHER:
            await self._stop(self._publisher, blow)
        elif fault is Fault.ROLL_GATEWAYS:
            await self._roll(blow)
        elif fault in (Fault.CUT, Fault.STALL, Fault.DELAY):
            await self._disturb(self._relays[blow.gateway], blow)
        elif fault is Fault.FULL_DISK and self._disk is not None:
            self.struck[fault] += self._disk.fill() > 0
            await asyncio.sleep(blow.seconds)
            self._disk.free()
        elif fault is Fault.PACKETS and self._link is not None:
            await self._spoil(self._link, blow)
        elif fault is Fault.CLOCK and self._clock is not None:
            await self._set(self._clock, blow)
        else:
            self.struck[fault] += 1
            self._tell_crowd(
                {
                    Fault.STORM: "storm",
                    Fault.STUCK: f"stuck {STUCK_CLIENTS} {blow.seconds:.2f}",
                    Fault.SLOW: f"slow {SLOW_CLIENTS} {blow.seconds:.2f}",
                }[fault]
            )

    async def _kill(self, victim: Daemon, blow: Blow) -> None:
        async with victim.lock:
            self.struck[blow.fault] += 1
            await victim.kill()
            await asyncio.sleep(blow.seconds)
            victim.start()

    async def _stop(self, victim: Daemon, blow: Blow) -> None:
        async with victim.lock:
            self.struck[blow.fault] += 1
            victim.signal(signal.SIGSTOP)
            await asyncio.sleep(blow.seconds)
            victim.signal(signal.SIGCONT)

    async def _roll(self, blow: Blow) -> None:
        for gateway in self._gateways:
            async with gateway.lock:
                status = await gateway.end()
                self.struck[blow.fault] += 1
                if status:
                    self._say(f"{gateway.name} ended with {status} when asked to")
                    self.struck["bad-end"] += 1
                await asyncio.sleep(blow.seconds)
                gateway.start()
                await gateway.ready()

    async def _disturb(self, relay: Relay, blow: Blow) -> None:
        before = relay.cuts
        if blow.fault is Fault.CUT:
            relay.cut()
        elif blow.fault is Fault.STALL:
            relay.stall()
        else:
            relay.delay_s = _DELAY_S
        await asyncio.sleep(blow.seconds)
        relay.heal()
        self.struck[blow.fault] += blow.fault is not Fault.CUT or relay.cuts > before

    async def _spoil(self, link: Link, blow: Blow) -> None:
        async with self._weather:
            before = await asyncio.to_thread(link.set, _BAD_WEATHER)
            await asyncio.sleep(blow.seconds)
            after = await asyncio.to_thread(link.set, Weather())
            self.struck[blow.fault] += after["lost"] > before["lost"] and after["doubled"] > before["doubled"]

    async def _set(self, clock: Clock, blow: Blow) -> None:
        async with self._clock_hand:
            before = clock.asked
            for wrong_s in _CLOCK_STEPS_S:
                clock.step(wrong_s)
                await asyncio.sleep(blow.seconds / len(_CLOCK_STEPS_S))
            clock.step(0.0)
            self.struck[blow.fault] += clock.asked > before
