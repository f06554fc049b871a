"""`python -m tests.simulation`: play histories, and say in short how one fails."""

import argparse
import sys
import time

from tests.simulation.running import explain, play


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int, default=0, help="of the first history")
    parser.add_argument("--histories", type=int, default=1, help="how many, with the seeds that follow")
    parser.add_argument("--trace", action="store_true", help="say every event of every client, too")
    options = parser.parse_args()
    began, failed = time.perf_counter(), 0
    for seed in range(options.seed, options.seed + options.histories):
        found = play(seed)
        if found is not None:
            failed += 1
            print(explain(seed, traces=options.trace), file=sys.stderr)
    took_s = time.perf_counter() - began
    print(f"{options.histories} histories, {failed} failed, {options.histories / took_s * 60:.0f} a minute")
    return 1 if failed else 0


sys.exit(main())
