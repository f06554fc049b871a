"""The settings of `execgate top`. Each field is a flag, an environment name and a line of docs/operations.md."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from execgate.service.options import option, positive_number

DEFAULT_URLS = ("http://127.0.0.1:9124/metrics", "http://127.0.0.1:9150/metrics")
"""Those of etc/execgate/*.toml."""


def metrics_url(text: str) -> str:
    """Read `HOST:PORT` or an http URL; without a path it is /metrics."""
    url = urlsplit(text if "//" in text else f"http://{text}")
    try:
        port = url.port
    except ValueError:
        port = None
    if url.scheme not in ("http", "https") or not url.hostname or (port is None and "//" not in text):
        raise ValueError("expected HOST:PORT or http://HOST:PORT/metrics")
    return url._replace(path=url.path if url.path not in ("", "/") else "/metrics").geturl()


@dataclass(frozen=True, slots=True)
class TopConfig:
    """What is looked at, and how often."""

    url: tuple[str, ...] = option(
        DEFAULT_URLS,
        "HOST:PORT or URL of a gateway's or publisher's --metrics; may be given several times",
        parse=metrics_url,
        metavar="URL",
        repeatable=True,
    )
    admin: tuple[str, ...] = option(
        (),
        "a gateway's --admin socket, whose slowest consumers are shown; may be given several times",
        metavar="PATH",
        repeatable=True,
    )
    interval: float = option(2.0, "seconds between two looks", parse=positive_number, metavar="S")
    once: bool = option(False, "look twice, one interval apart, print one table and end")
    json: bool = option(False, "print a JSON object a look instead of the table, for programs")
