"""A gateway process under test: with a real or a scripted feed, its address, and what it serves over HTTP."""

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from execgate.wire.update import Kind
from tests.clients import Client, RawClient, tls_context
from tests.harness import Process, running, wait_until
from tests.scripted_publisher import ScriptedPublisher

PATIENT = ("--feed-stale-s", "600")
"""A scripted publisher says nothing by itself: its silence means nothing, unless a test is about it."""


def get(address: str, path: str, timeout_s: float = 5.0) -> tuple[int, str]:
    """Return the status and the body of one request."""
    host, _, port = address.rpartition(":")
    tls = tls_context()
    connection = (
        http.client.HTTPConnection(host.strip("[]"), int(port), timeout=timeout_s)
        if tls is None
        else http.client.HTTPSConnection(host.strip("[]"), int(port), timeout=timeout_s, context=tls)
    )
    return get_over(connection, path)


def get_over(connection: http.client.HTTPConnection, path: str) -> tuple[int, str]:
    """Return the status and the body of one request, the only one of `connection`."""
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@dataclass
class Gateway:
    """One that runs; `address` is what it listens on."""

    process: Process
    address: str
    facts: dict[str, str]

    def client(self, *, subscribe_at_connect: bool = False, **options: Any) -> Client:
        return Client(self.address, subscribe_at_connect=subscribe_at_connect, **options)

    def raw(self, **options: Any) -> RawClient:
        return RawClient(self.address, **options)

    def get(self, path: str) -> tuple[int, str]:
        return get(self.address, path)

    def stats(self, address: str | None = None) -> dict[str, Any]:
        return dict(json.loads(get(address or self.address, "/stats")[1]))

    def wait_for_stats(self, what: str, **values: Any) -> dict[str, Any]:
        """Wait until `/stats` has each of `values`; `closes__1001=1` looks into nested figures."""

        def reached() -> bool:
            stats = self.stats()
            return all(_dig(stats, name) == value for name, value in values.items())

        wait_until(reached, what)
        return self.stats()


def _dig(stats: dict[str, Any], name: str) -> Any:
    value: Any = stats
    for key in name.split("__"):
        value = value.get(key) if isinstance(value, dict) else None
    return value


@contextmanager
def gateway(
    feed: str,
    *flags: str,
    listen: str = "127.0.0.1:0",
    replay: str = "none",
    environment: Mapping[str, str] | None = None,
    await_ready: bool = True,
    prefix: Sequence[str] = (),
) -> Iterator[Gateway]:
    """Run one gateway; whatever happens to it, a traceback on its standard error is a failure."""
    arguments = ("gateway", "--listen", listen, "--feed", feed, "--replay", replay, *flags)
    with running(*arguments, environment=environment, prefix=prefix) as process:
        if await_ready:
            facts = process.ready()
            address = facts["listen"]
        else:
            facts = {}
            address = process.wait_for(r"listening address=(\S+)").group(1)
        yield Gateway(process, address, facts)
    assert "Traceback" not in process.words()


@contextmanager
def scripted(
    *flags: str, environment: Mapping[str, str] | None = None, listen: str = "127.0.0.1:0"
) -> Iterator[tuple[Gateway, ScriptedPublisher]]:
    """Run one gateway that has joined a scripted feed at seq 0 of epoch 1."""
    with (
        ScriptedPublisher() as feed,
        gateway(
            feed.endpoint, *PATIENT, *flags, environment=environment, listen=listen, await_ready=False
        ) as under_test,
    ):
        feed.wait_for_gateways(under_test_processes(flags))
        feed.say(Kind.HEARTBEAT)
        under_test.facts = under_test.process.ready()
        yield under_test, feed


def under_test_processes(flags: tuple[str, ...]) -> int:
    """How many gateways will subscribe: `--workers N`."""
    return int(flags[flags.index("--workers") + 1]) if "--workers" in flags else 1
