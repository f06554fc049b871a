"""PURE: how long it took, in each storm of a run, until the last subscriber was back. Called by `report.py`."""

from collections.abc import Mapping
from typing import Any

from loadgen.core.tables import Table


def storms_of(scenario: Mapping[str, Any], figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is known of each storm that has begun.

    Nobody looks at a clock when the last one is back: it was due at a time that the plan says, and its connection
    took no longer than the one that took longest. Between the two it was back: `back_least_s` and `back_most_s`
    after the storm began, None where connections are missing when the stage ends.

    Args:
        scenario: the plan, as the manifest has it.
        figures: `Figures.as_dict`.
    """
    found = []
    for stage in scenario["stages"]:
        told = figures.get("stages", {}).get(stage["name"])
        over_s, dropped = stage["storm_over_s"], stage["subscribers"]
        if over_s is None or told is None or not dropped:
            continue
        longest_us = told["latencies"]["connect"]["max"]
        # A record that was taken late may have some of them in the stage before.
        all_there = told["connected"] >= dropped + scenario["order_clients"]
        is_over = (told["connects"] >= dropped or all_there) and longest_us is not None
        last_due_s = over_s * (dropped - 1) / dropped
        found.append(
            {
                "stage": stage["name"],
                "dropped": dropped,
                "connects": told["connects"],
                "over_s": over_s,
                "back_least_s": round(last_due_s, 3) if is_over else None,
                "back_most_s": round(last_due_s + longest_us / 1e6, 3) if is_over else None,
                "lost": told["missing"] + told["told_missing"],
            }
        )
    return found


def storms_table(storms: list[dict[str, Any]]) -> Table:
    """Return it for people."""
    rows = [
        (
            storm["stage"],
            f"{storm['dropped']:,}",
            f"{storm['over_s']:g}",
            f"{storm['connects']:,}",
            "not all in this stage"
            if storm["back_most_s"] is None
            else f"{storm['back_least_s']:.2f} to {storm['back_most_s']:.2f}",
            f"{storm['lost']:,}",
        )
        for storm in storms
    ]
    columns = ("", "dropped", "due back within s", "connections made", "all were back after s", "updates lost")
    note = "the last one was due at the first of the two times; no connection took longer than their difference"
    return Table("Storms", columns, rows, note=note, leads=True)
