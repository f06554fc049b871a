"""`execgate gateway`: reads the settings and runs one gateway, or a supervisor over several."""

import os
from collections.abc import Sequence

from execgate.service import lifecycle, logs
from execgate.service.curve import client_curve
from execgate.service.exits import EXIT_OK
from execgate.service.lifecycle import Stop
from execgate.service.settings import Reloader, Settings
from gateway.certificate import load_context
from gateway.config import GatewayConfig
from gateway.supervisor import Supervisor
from gateway.worker import PROGRAM, Worker

_DESCRIPTION = """\
Fans the publisher's updates out to WebSocket subscribers and answers their orders.

Clients connect to ws://HOST:PORT/ws (wss:// with --tls-cert); http://HOST:PORT/ shows a page that does. /healthz
says that the process lives, /readyz that it knows the feed's sequence, /stats gives its figures as JSON. One line
is printed when it is ready. SIGTERM tells clients to leave, closes the rest after --drain-s and exits 0."""

_EXAMPLES = """\
  execgate gateway                                  one process on 127.0.0.1:8124
  execgate gateway --workers 4                      four processes on that port, supervised
  execgate gateway --listen 127.0.0.1:0 --csv       a free port, and the 2012 CSV line every 15 s
  execgate gateway --feed ipc:///run/execgate/pub   a publisher on this machine, without TCP
  execgate gateway --config gateway.toml --check    are these settings good?"""


def main(arguments: Sequence[str]) -> int:
    """Run the gateway; return its exit status."""
    settings = Settings(
        GatewayConfig, PROGRAM, arguments, os.environ, description=_DESCRIPTION, examples=_EXAMPLES
    )
    config = settings.read()
    answer = settings.answer(config, check)
    if answer is not None:
        print(answer)
        return EXIT_OK
    logs.set_up(config.log_level, config.log_format)

    async def run(stop: Stop) -> int:
        daemon: Supervisor | Worker
        if config.workers > 1:
            daemon = Supervisor(config, arguments, reloads=settings.file is not None)
        else:
            daemon = Worker(config)
        Reloader(settings, config, daemon.apply, daemon.is_serving).start()
        return await daemon.run(stop)

    return lifecycle.run(PROGRAM, run)


def check(config: GatewayConfig) -> None:
    """Look at the files that `config` names, for `--check`.

    Raises:
        UsageError: one can't be used.
    """
    client_curve(config.curve_key, config.curve_server)
    if config.tls_cert is not None and config.tls_key is not None:
        load_context(config.tls_cert, config.tls_key)
