"""What the gateway answers over HTTP: health, readiness, figures and the page. GET and HEAD, no bodies taken."""

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib.resources import files
from typing import Any

import ujson

_PAGE_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer; `headers` come on top of the ones that every answer has."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


def text(status: HTTPStatus, message: str, **headers: str) -> Response:
    """Return one line of text; header names take `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, f"{message}\n".encode(), headers=named)


def json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return `value` as JSON."""
    body = ujson.dumps(value, escape_forward_slashes=False, indent=2).encode() + b"\n"
    return Response(status, body, "application/json")


class Pages:
    """The table of what is served where.

    Args:
        stats: returns the figures of `/stats`.
        readiness: returns whether this process is ready, and what `/readyz` says of it.
        with_page: whether `/` serves the page; a supervisor has no sockets for it to connect to.
    """

    def __init__(
        self,
        stats: Callable[[], dict[str, Any]],
        readiness: Callable[[], tuple[bool, dict[str, Any]]],
        *,
        with_page: bool,
    ) -> None:
        self._routes: dict[str, Callable[[], Response]] = {
            "/healthz": lambda: text(HTTPStatus.OK, "ok"),
            "/readyz": lambda: _ready(*readiness()),
            "/stats": lambda: json(stats()),
        }
        if with_page:
            folder = files("gateway.page")
            for path, (name, content_type) in _PAGE_FILES.items():
                page = Response(HTTPStatus.OK, (folder / name).read_bytes(), content_type)
                self._routes[path] = lambda page=page: page  # type: ignore[misc]  # mypy can't infer a default

    def answer(self, method: str, target: str) -> Response:
        """Return the answer to one request."""
        route = self._routes.get(target.partition("?")[0])
        if route is None:
            return text(HTTPStatus.NOT_FOUND, f"nothing here; try {' '.join(sorted(self._routes))}")
        if method not in ("GET", "HEAD"):
            return text(HTTPStatus.METHOD_NOT_ALLOWED, f"{method}: expected GET or HEAD", Allow="GET, HEAD")
        return route()


def _ready(is_ready: bool, details: dict[str, Any]) -> Response:
    return json(details, HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE)
