"""`execgate gateway`: reads the settings and runs one gateway, or a supervisor over several."""

import os
from collections.abc import Sequence

from execgate.service import lifecycle, logs, options
from execgate.service.exits import EXIT_OK
from execgate.service.lifecycle import Stop
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
  execgate gateway --feed ipc:///run/execgate/pub   a publisher on this machine, without TCP"""


def main(arguments: Sequence[str]) -> int:
    """Run the gateway; return its exit status."""
    config = options.load(
        GatewayConfig, PROGRAM, arguments, os.environ, description=_DESCRIPTION, examples=_EXAMPLES
    )
    logs.set_up(config.log_level)

    async def run(stop: Stop) -> int:
        if config.workers > 1:
            return await Supervisor(config, arguments).run(stop)
        await Worker(config).run(stop)
        return EXIT_OK

    return lifecycle.run(PROGRAM, run)
