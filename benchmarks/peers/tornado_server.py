"""Tornado's WebSocketHandler with `write_message` in a loop: the plain road that its docs show."""

import asyncio
import sys

from lines import each_line
from orders import answer_order
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler

CLIENTS: "set[Handler]" = set()


class Handler(WebSocketHandler):
    """One client."""

    def open(self) -> None:
        """Subscribe."""
        CLIENTS.add(self)

    def on_close(self) -> None:
        """Unsubscribe."""
        CLIENTS.discard(self)

    def on_message(self, message: str | bytes) -> None:
        """Answer an order."""
        answer = answer_order(message)
        if answer is not None:
            self.write_message(answer)


def send_all(text: bytes) -> None:
    """Write one update to everybody."""
    for client in list(CLIENTS):
        try:
            client.write_message(text.decode())
        except WebSocketClosedError:
            CLIENTS.discard(client)


async def main() -> None:
    """Listen and write each line."""
    server = HTTPServer(Application([("/ws", Handler)]))
    server.add_sockets(bind_sockets(int(sys.argv[1]), "127.0.0.1", backlog=4096))
    print("ready", flush=True)
    await each_line(send_all)


asyncio.run(main())
