"""The settings of the demo. Each field is a flag, an environment name and a line of docs/loadgen.md."""

from dataclasses import dataclass

from execgate.service.options import option, positive_number, whole_number


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """What the demo starts, and for how long."""

    port: int = option(
        8124,
        "port of the gateways on 127.0.0.1; 0 picks a free one",
        parse=whole_number(0, 65535),
        metavar="PORT",
    )
    rate: float = option(20.0, "updates a second that are published", parse=positive_number, metavar="N")
    subscribers: int = option(300, "clients that take every update", parse=whole_number(1), metavar="N")
    order_clients: int = option(20, "clients that order every 50 to 300 ms", parse=whole_number(1), metavar="M")
    for_: float | None = option(
        None,
        "end by itself after so many seconds with everybody connected, with a verdict (default: until Ctrl-C)",
        parse=positive_number,
        metavar="S",
    )
    json: str | None = option(None, "write the summary and the verdict to FILE as JSON", metavar="FILE")
