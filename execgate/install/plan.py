"""What becomes of each file of an installation: decided from what is wanted, what is there, and what we put there.

A file's fingerprint is the SHA-256 of its content, a link's is where it points; None is no file. What an operator
has edited is never written over: the new version goes beside it, as `NAME.new`.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

NEW = ".new"
"""Ends the name of a new version beside a file that was edited."""


class Action(StrEnum):
    """What to do with a file; `FORGET` is to leave it and no longer call it ours."""

    CREATE = "create"
    UPDATE = "update"
    LEAVE = "leave"
    KEEP = "keep"
    REMOVE = "remove"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is to be there, or a link.

    Attributes:
        content: of the file; where a link points.
    """

    content: bytes
    is_link: bool = False

    @property
    def fingerprint(self) -> str:
        """What `present` says of a file like it."""
        return f"link {self.content.decode()}" if self.is_link else hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Step:
    """One file's fate.

    Attributes:
        path: absolute, as the installed system sees it.
        wanted: what to write, for `CREATE` and `UPDATE`.
        why: for whoever reads along; may be empty.
    """

    action: Action
    path: str
    wanted: Wanted | None = None
    why: str = ""


Present = Callable[[str], str | None]


def install(
    wanted: Mapping[str, Wanted], recorded: Mapping[str, str], present: Present
) -> tuple[list[Step], dict[str, str]]:
    """Return the steps that put `wanted` in place, and what to record after them.

    Args:
        wanted: path -> what is to be there.
        recorded: path -> the fingerprint of what the last installation shipped there.
        present: tells the fingerprint of what is at a path now.
    """
    steps: list[Step] = []
    ours: dict[str, str] = {}
    for path, new in sorted(wanted.items()):
        step = _fate(path, new, recorded.get(path), present(path))
        steps.append(step)
        ours[path] = new.fingerprint
        # Once: not again at each installation, when the operator has taken it and removed it.
        if step.action is Action.KEEP and (new.fingerprint != recorded.get(path) or present(path + NEW)):
            beside = Action.UPDATE if present(path + NEW) else Action.CREATE
            if present(path + NEW) == new.fingerprint:
                beside = Action.LEAVE
            steps.append(Step(beside, path + NEW, new))
            ours[path + NEW] = new.fingerprint
    gone = {path: recorded[path] for path in recorded if path not in ours}
    return steps + uninstall(gone, present), ours


def uninstall(recorded: Mapping[str, str], present: Present) -> list[Step]:
    """Return the steps that take away what is as we put it there, and keep what was edited."""
    steps = []
    for path in sorted(recorded):
        here = present(path)
        if here is None:
            continue
        if here == recorded[path]:
            steps.append(Step(Action.REMOVE, path))
        else:
            steps.append(Step(Action.FORGET, path, why="edited, so it stays"))
    return steps


def _fate(path: str, new: Wanted, shipped: str | None, here: str | None) -> Step:
    if here is None:
        return Step(Action.CREATE, path, new, "it was gone" if shipped else "")
    if here == new.fingerprint:
        return Step(Action.LEAVE, path, new)
    if here == shipped:
        return Step(Action.UPDATE, path, new)
    why = "edited" if shipped else "not from here"
    return Step(
        Action.KEEP, path, new, why if shipped == new.fingerprint else f"{why}; compare it with {path}{NEW}"
    )
