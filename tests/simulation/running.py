"""Plays histories by their seeds; says of a failing one how to see it again."""

from tests.simulation.oracle import Violation
from tests.simulation.plan import Plan, make, shorten
from tests.simulation.world import World, installed


def outcome(plan: Plan, *, traces: bool = False) -> tuple[Exception | None, World | None]:
    """Play `plan`; return what went wrong, if anything."""
    world = None
    with installed():
        try:
            world = World(plan, traces=traces)
            world.play()
        except Violation as violation:
            return violation, world
        except Exception as error:  # a traceback in a module is a violation too
            return error, world
    return None, world


def play(seed: int) -> Exception | None:
    """Play the history of `seed`; return what went wrong, if anything."""
    return outcome(make(seed))[0]


def explain(seed: int, *, traces: bool = False) -> str:
    """Say in short how the history of `seed` fails, and how to see it again."""
    kind = type(play(seed))
    plan = shorten(make(seed), lambda each: type(outcome(each)[0]) is kind)
    error, world = outcome(plan, traces=traces)
    lines = [
        f"seed {seed}: {type(error).__name__}: {error}",
        f"again: python -m tests.simulation --seed {seed}",
        f"config: {plan.config}",
        *(f"client {number}: {client}" for number, client in enumerate(plan.clients)),
        f"steps ({len(plan.steps)} of {len(make(seed).steps)}):",
        *(f"  {step}" for step in plan.steps),
        "what happened:",
        *(world.lines if world is not None else ()),
    ]
    return "\n".join(lines)
