"""What becomes of a file, by what is wanted, what was put there before and what is there now."""

import pytest

from execgate.install import plan
from execgate.install.plan import Action, Wanted

OLD, NEW, EDITED = (Wanted(text).fingerprint for text in (b"old", b"new", b"edited"))
WANTED = Wanted(b"new")
PATH, BESIDE = "/etc/a", "/etc/a.new"


@pytest.mark.parametrize(
    ("recorded", "here", "beside", "actions"),
    [
        (None, None, None, [(Action.CREATE, PATH)]),
        (NEW, None, None, [(Action.CREATE, PATH)]),
        (OLD, OLD, None, [(Action.UPDATE, PATH)]),
        (NEW, NEW, None, [(Action.LEAVE, PATH)]),
        (None, NEW, None, [(Action.LEAVE, PATH)]),
        (OLD, NEW, None, [(Action.LEAVE, PATH)]),
        # Edited, and nothing new to offer: no second file at each installation.
        (NEW, EDITED, None, [(Action.KEEP, PATH)]),
        (OLD, EDITED, None, [(Action.KEEP, PATH), (Action.CREATE, BESIDE)]),
        (None, EDITED, None, [(Action.KEEP, PATH), (Action.CREATE, BESIDE)]),
        (OLD, EDITED, OLD, [(Action.KEEP, PATH), (Action.UPDATE, BESIDE)]),
        # It waits there until the operator takes it.
        (NEW, EDITED, NEW, [(Action.KEEP, PATH), (Action.LEAVE, BESIDE)]),
    ],
)
def test_an_edited_file_is_kept_and_any_other_made_as_wanted(
    recorded: str | None, here: str | None, beside: str | None, actions: list[tuple[Action, str]]
) -> None:
    there = {PATH: here, BESIDE: beside}
    before = {PATH: recorded} if recorded else {}
    steps, ours = plan.install({PATH: WANTED}, before, there.get)
    assert [(step.action, step.path) for step in steps] == actions
    assert ours[PATH] == NEW


def test_a_second_installation_has_nothing_to_do() -> None:
    there: dict[str, str] = {PATH: EDITED}
    record: dict[str, str] = {PATH: OLD}
    wanted = {PATH: WANTED, "/etc/link": Wanted(b"a", is_link=True)}
    for times in range(3):
        steps, record = plan.install(wanted, record, there.get)
        for step in steps:
            if step.action in (Action.CREATE, Action.UPDATE):
                assert step.wanted is not None
                assert times == 0
                there[step.path] = step.wanted.fingerprint
    assert there == {PATH: EDITED, BESIDE: NEW, "/etc/link": "link a"}


def test_what_is_no_longer_wanted_goes_unless_it_was_edited() -> None:
    record = {"/gone": OLD, "/mine": OLD, "/missing": OLD}
    steps, ours = plan.install({}, record, {"/gone": OLD, "/mine": EDITED}.get)
    assert [(step.action, step.path) for step in steps] == [(Action.REMOVE, "/gone"), (Action.FORGET, "/mine")]
    assert ours == {}


def test_a_new_version_beside_a_file_that_was_brought_up_to_date_goes() -> None:
    steps, ours = plan.install({PATH: WANTED}, {PATH: NEW, BESIDE: NEW}, {PATH: NEW, BESIDE: NEW}.get)
    assert (Action.REMOVE, BESIDE) in [(step.action, step.path) for step in steps]
    assert list(ours) == [PATH]


def test_a_link_and_a_file_with_its_words_differ() -> None:
    assert Wanted(b"a", is_link=True).fingerprint != Wanted(b"a").fingerprint
