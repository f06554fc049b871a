"""The adversary: performs a plan on the processes and lines, and counts what struck."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Sequence

from chaos.daemons import Daemon
from chaos.disk import SmallDisk
from chaos.plan import Blow, Fault
from chaos.relay import Relay

STUCK_CLIENTS, SLOW_CLIENTS = 20, 15
_DELAY_S = 0.05


class Adversary:
    """Strikes.

    Args:
        publisher: a victim.
        gateways: victims.
        relays: the line of each gateway.
        disk: of the journal; None where it can't be filled.
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
        tell_crowd: Callable[[str], None],
        say: Callable[[str], None],
    ) -> None:
        self.struck: Counter[str] = Counter()
        self._publisher = publisher
        self._gateways = gateways
        self._relays = relays
        self._disk = disk
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
