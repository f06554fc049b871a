"""What `--local` takes."""

import pytest

from loadgen.config import RunConfig
from loadgen.core.local import MAX_GATEWAYS, parse_local, show_local, targets_of
from loadgen.core.target import parse_target


@pytest.mark.parametrize("gateways", [1, 2, MAX_GATEWAYS])
def test_what_is_read_is_shown_as_it_was_said(gateways: int) -> None:
    assert parse_local(f"publisher+{gateways}") == gateways
    assert show_local(gateways) == f"publisher+{gateways}"
    assert len(set(targets_of(gateways))) == gateways


@pytest.mark.parametrize("text", ["", "publisher", "publisher+", "publisher+0", "publisher+65", "gateway+1", "2"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected publisher\+N, with 1 to 64 gateways"):
        parse_local(text)


def test_servers_of_its_own_and_others_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="--local and --url"):
        RunConfig(local=1, url=(parse_target("ws://127.0.0.1:8124/ws"),))
    assert RunConfig(local=1).local == 1
