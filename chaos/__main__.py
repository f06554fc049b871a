"""`./run chaos --minutes M --seed S`: one run of `run.Run`, its figures, and the verdict as the exit status."""

import argparse
import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from chaos import disk
from chaos.clock import Clock
from chaos.link import Link, NoLinkError
from chaos.run import Run, Settings

_EPILOG = """\
exit status: 0 nothing was lost, doubled, out of order or changed, and each fault of the plan struck; 1 a problem

examples:
  ./run chaos --minutes 1 --seed 1
  ./run chaos --minutes 20 --seed 7 --keep /tmp/chaos"""


def main() -> int:
    """Run once."""
    parser = argparse.ArgumentParser(
        prog="./run chaos",
        description="Run everything under load while a scripted adversary breaks it, then audit every client.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=1.0, metavar="M", help="of faults (default 1)")
    parser.add_argument(
        "--seed", type=int, metavar="S", help="of plan, producer and crowd (default: drawn, and told)"
    )
    parser.add_argument("--clients", type=int, default=200, metavar="N", help="that resume (default 200)")
    parser.add_argument("--gateways", type=int, default=3, metavar="N", help="default 3")
    parser.add_argument("--rate", type=float, default=100.0, metavar="N", help="updates a second (default 100)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="logs, records and, after a problem, the journal")
    parser.add_argument(
        "--ignore-position",
        type=int,
        default=0,
        metavar="N",
        help="the control: so many clients resume without their position, which the audit must find",
    )
    options = parser.parse_args()
    why_not_mounted = disk.enter_namespace("chaos", sys.argv[1:])
    if why_not_mounted:
        _say(f"SKIPPED: full disk: no mount namespace here: {why_not_mounted}")
    seed = random.SystemRandom().randrange(1 << 31) if options.seed is None else options.seed
    folder = options.keep or Path(tempfile.mkdtemp(prefix="execgate-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        _say(f"--keep {folder}: expected an empty directory")
        return 2
    link, clock = _make_link(seed), _make_clock(folder)
    settings = Settings(
        seed=seed,
        seconds=options.minutes * 60,
        clients=options.clients,
        gateways=options.gateways,
        rate=options.rate,
        folder=folder,
        can_fill=why_not_mounted is None,
        link=link,
        clock=clock,
        ignore_position=options.ignore_position,
    )
    _say(f"seed {seed}, logs in {folder}")
    try:
        figures = asyncio.run(Run(settings, _say).perform())
    finally:
        if link is not None:
            link.close()
    print(json.dumps(figures, indent=1))
    for problem in figures["problems"]:
        _say(f"PROBLEM: {problem}")
    if figures["problems"]:
        _say(f"seed {seed}: kept in {folder}")
        return 1
    if options.keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    _say(f"seed {seed}: all is well")
    return 0


def _make_link(seed: int) -> Link | None:
    """Go to the near end of a link, at whose far end the publisher will be."""
    try:
        link = Link(seed)
    except NoLinkError as error:
        _say(f"SKIPPED: loss and doubling of packets: no network namespace with a TUN device here: {error}")
        return None
    link.enter_near()
    return link


def _make_clock(folder: Path) -> Clock | None:
    try:
        return Clock(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        _say(f"SKIPPED: a wall clock that is set: no C compiler here: {error}")
        return None


def _say(line: str) -> None:
    print(f"chaos: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
