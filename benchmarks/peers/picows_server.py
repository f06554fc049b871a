"""picows on uvloop: the fastest Python WebSocket library there is, one `send` a client."""

import sys

import uvloop
from lines import each_line
from orders import answer_order
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

CLIENTS: set[WSTransport] = set()


class Listener(WSListener):
    """One client."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Subscribe."""
        CLIENTS.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Unsubscribe."""
        CLIENTS.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer an order."""
        if frame.msg_type == WSMsgType.TEXT:
            answer = answer_order(frame.get_payload_as_bytes())
            if answer is not None:
                transport.send(WSMsgType.TEXT, answer.encode())


def send_all(text: bytes) -> None:
    """Write one update to everybody."""
    for client in CLIENTS:
        client.send(WSMsgType.TEXT, text)


def make_listener(_request: WSUpgradeRequest) -> Listener:
    """A listener a client."""
    return Listener()


async def main() -> None:
    """Listen and write each line."""
    await ws_create_server(make_listener, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    print("ready", flush=True)
    await each_line(send_all)


uvloop.run(main())
