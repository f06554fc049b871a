"""The crowd: a few hundred readers in one process, which `director` commands by lines on standard input.

    storm                    all drop their connections at once
    stuck COUNT SECONDS      so many stop reading for so long
    slow COUNT SECONDS       so many read a twentieth of the time
    await SEQ                say `there` once all have passed it
    end                      write the last records and exit

Each second it says what it has counted, as JSON, on standard output.
"""

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any, TextIO

from chaos.reader import Reader, new_connector
from execgate.audit.recording import Digests, Fields
from loadgen.core.target import Target

_SLOW_ROUND_S, _SLOW_READS_S = 0.4, 0.02
_CONNECT_EACH_S = 0.005
SUBSCRIPTIONS: list[dict[str, Any]] = [
    *({"mode": "all"},) * 10,
    {"mode": "all", "topics": ["ex.S0.", "ex.S3."]},
    {"mode": "all", "topics": ["ex.S1.", "ex.S2.", "ex.S4.", "ex.S5."]},
    {"mode": "all", "topics": ["ex.S7.", "ex.nobody.*"]},
    {"mode": "volatile"},
    {"mode": "volatile"},
    {"mode": "volatile", "topics": ["ex.S2.", "ex.S6."]},
    {"mode": "conflate"},
    {"mode": "conflate"},
    {"mode": "conflate", "topics": ["ex.S1.", "ex.S6."]},
    {"mode": "all", "topics": ["ex.S*"]},
]
"""What the clients ask for, in turn."""


class Crowd:
    """All readers.

    Args:
        options: of the command line.
        output: gets the records.
    """

    def __init__(self, options: argparse.Namespace, output: TextIO) -> None:
        self._rng = random.Random(options.seed)
        self._output = output
        digests, connector = Digests(), new_connector()
        gateways = [Target("127.0.0.1", int(port), "/ws") for port in options.ports.split(",")]
        self._readers = [
            Reader(
                f"c{number}",
                SUBSCRIPTIONS[number % len(SUBSCRIPTIONS)],
                connector,
                gateways,
                digests,
                self._write,
                random.Random(self._rng.random()),
                ignores_position=number in options.ignore_position,
            )
            for number in range(options.clients)
        ]
        self._awaited: int | None = None
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Connect all, obey, and end."""
        commands = await _lines_of_stdin()
        self._start(self._obey_all(commands))
        self._start(self._tell())
        for reader in self._readers:
            reader.connect()
            await asyncio.sleep(_CONNECT_EACH_S)
        await self._over.wait()
        for reader in self._readers:
            reader.end()
        self._say({**self._counts(), "resume_ms": self._resume_times()})

    def _write(self, record: Fields) -> None:
        self._output.write(json.dumps(record) + "\n")

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _obey_all(self, commands: asyncio.StreamReader) -> None:
        while line := await commands.readline():
            verb, *values = line.decode().split()
            if verb == "storm":
                for reader in self._readers:
                    reader.drop()
            elif verb in ("stuck", "slow"):
                chosen = self._rng.sample(self._readers, min(int(values[0]), len(self._readers)))
                for reader in chosen:
                    self._start(_hold(reader, float(values[1]), slow=verb == "slow"))
            elif verb == "await":
                self._awaited = int(values[0])
            elif verb == "end":
                break
        self._over.set()

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self._output.flush()
            counts = self._counts()
            if self._awaited is not None and counts["least"] >= self._awaited:
                counts["there"] = True
            self._say(counts)

    def _counts(self) -> dict[str, Any]:
        total: Counter[str] = Counter()
        for reader in self._readers:
            total.update(reader.counts)
        return {"least": min(reader.position or 0 for reader in self._readers), **total}

    def _resume_times(self) -> dict[str, int]:
        times_s = sorted(time_s for reader in self._readers for time_s in reader.resumed_s)
        if not times_s:
            return {}
        shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
        last = len(times_s) - 1
        return {name: round(times_s[int(share * last)] * 1000) for name, share in shares.items()}

    @staticmethod
    def _say(counts: dict[str, Any]) -> None:
        print(json.dumps(counts), flush=True)


async def _hold(reader: Reader, seconds: float, *, slow: bool) -> None:
    """Keep a reader from reading; one that has reconnected meanwhile reads on, until its next round."""
    if not slow:
        reader.pause(True)
        await asyncio.sleep(seconds)
    else:
        for _ in range(int(seconds / _SLOW_ROUND_S)):
            reader.pause(True)
            await asyncio.sleep(_SLOW_ROUND_S - _SLOW_READS_S)
            reader.pause(False)
            await asyncio.sleep(_SLOW_READS_S)
    reader.pause(False)


async def _lines_of_stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def main() -> int:
    """Run until told to end, or until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m chaos.crowd")
    parser.add_argument("--ports", required=True, help="of the gateways on 127.0.0.1, separated by commas")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--history", type=Path, required=True, help="the file for the records")
    parser.add_argument(
        "--ignore-position", type=int, nargs="*", default=[], help="numbers of clients that resume from nowhere"
    )
    options = parser.parse_args()
    with options.history.open("w") as output:
        asyncio.run(Crowd(options, output).run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
