"""The innermost loop does the same compiled and as Python: what is taken, what is not, who is gone."""

import importlib.util
import os
import shutil
import socket
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from gateway import delivery


def _source() -> ModuleType:
    """The module as Python, whatever stands compiled beside it."""
    path = Path(delivery.__file__).parent / "delivery.py"
    spec = importlib.util.spec_from_file_location("delivery_as_source", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["installed", "source"])
def module(request: pytest.FixtureRequest) -> ModuleType:
    return delivery if request.param == "installed" else _source()


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Three connected pairs; the first of each is ours and does not block."""
    made = [socket.socketpair() for _ in range(3)]
    for ours, _ in made:
        ours.setblocking(False)
    yield made
    for pair in made:
        for end in pair:
            end.close()


Pairs = list[tuple[socket.socket, socket.socket]]


def test_it_is_compiled_where_it_should_be() -> None:
    headers = Path(sysconfig.get_paths()["include"], "Python.h").exists()
    if "EXECGATE_COMPILE" not in os.environ:
        pytest.skip("EXECGATE_COMPILE is not set: nothing says what should be")
    wanted = os.environ["EXECGATE_COMPILE"] == "1"
    if wanted and not (headers and (shutil.which("cc") or shutil.which("gcc"))):
        pytest.skip("NO C COMPILER or no Python.h: the compiled modules are NOT tested")
    assert delivery.IS_COMPILED is wanted


def test_every_peer_gets_the_chunk(module: ModuleType, pairs: Pairs) -> None:
    assert module.write_each([ours.send for ours, _ in pairs], b"chunk") == []
    assert [theirs.recv(100) for _, theirs in pairs] == [b"chunk"] * 3


def test_a_full_socket_takes_a_part_then_nothing_and_the_others_all(module: ModuleType, pairs: Pairs) -> None:
    (ours, _), *_ = pairs
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    chunk = bytes(20_000)
    doors = [ours.send, pairs[1][0].send]
    (position, written), *rest = module.write_each(doors, chunk)
    assert (position, rest) == (0, [])
    assert 0 <= written < len(chunk)
    while module.write_each(doors[:1], chunk) != [(0, 0)]:
        pass
    assert len(pairs[1][1].recv(30_000)) == len(chunk)


@pytest.mark.parametrize("gone", ["peer", "ours"])
def test_who_is_gone_is_named_and_the_others_are_served(module: ModuleType, pairs: Pairs, gone: str) -> None:
    doors = [ours.send for ours, _ in pairs]
    ours, theirs = pairs[1]
    (theirs if gone == "peer" else ours).close()
    assert module.write_each(doors, b"chunk") == [(1, delivery.GONE)]
    assert pairs[0][1].recv(100) == pairs[2][1].recv(100) == b"chunk"


def test_a_descriptor_that_was_given_away_gets_nothing(module: ModuleType, pairs: Pairs) -> None:
    ours, _ = pairs[0]
    door, number = ours.send, ours.fileno()
    ours.close()
    os.dup2(pairs[1][0].fileno(), number)  # the kernel has given the number to somebody else
    try:
        assert module.write_each([door], b"chunk") == [(0, delivery.GONE)]
        pairs[1][1].setblocking(False)
        with pytest.raises(BlockingIOError):
            pairs[1][1].recv(100)
    finally:
        os.close(number)


def test_a_door_may_be_any_callable(module: ModuleType) -> None:
    def full(_data: bytes) -> int:
        raise BlockingIOError

    def gone(_data: bytes) -> int:
        raise ConnectionResetError

    doors = [lambda data: len(data), full, gone, lambda _data: delivery.NOT_TRIED]
    assert module.write_each(doors, b"chunk") == [(1, 0), (2, delivery.GONE), (3, delivery.NOT_TRIED)]
