"""A case with variants, and figures for it."""

from benchmarks.case import Case, Column
from benchmarks.running import Figures, Work

WORK = Work(10, 20, 1)


def case(columns: int = 2, reference: str = "none") -> Case:
    """Return a case of three variants; its figures are `p99_us` and `figure1`, `figure2`..."""
    more = (Column(f"figure{n}", f"figure {n}", "{:.0f}") for n in range(1, columns))
    return Case(
        "slow",
        "are the others late?",
        (Column("p99_us", "p99 ms", "{:.1f}", 1000), *more),
        WORK,
        variants={"none": WORK, "1 slow": WORK, "10 % slow": WORK},
        note="Read it so.",
        reference=reference,
    )


def figures(p99_us: float, void: str = "", **more: float) -> Figures:
    """Return one run."""
    return {"p99_us": p99_us, "void": void, **more}
