"""What HTTP serves: the table of paths, methods, statuses; each body is whole and typed."""

import json
import re
from typing import Any

import pytest

from gateway.pages import Pages, Response
from gateway.pages import json as json_response
from gateway.pages import text as text_response


def pages(*, with_page: bool = True, is_ready: bool = True) -> Pages:
    details: dict[str, Any] = {"process": "gateway-1", "ready": is_ready}
    return Pages(lambda: {"delivered": 7}, lambda: (is_ready, details), with_page=with_page)


def test_health_says_that_the_process_lives_ready_or_not() -> None:
    assert pages(is_ready=False).answer("GET", "/healthz") == Response(200, b"ok\n")  # type: ignore[arg-type]


@pytest.mark.parametrize(("is_ready", "status"), [(True, 200), (False, 503)])
def test_readiness_is_a_status_with_the_process_named(is_ready: bool, status: int) -> None:
    response = pages(is_ready=is_ready).answer("GET", "/readyz")
    assert response.status == status
    assert json.loads(response.body) == {"process": "gateway-1", "ready": is_ready}


def test_stats_are_asked_for_at_each_request_and_are_json() -> None:
    calls: list[int] = []
    served = Pages(lambda: {"calls": calls.append(1) or len(calls)}, lambda: (True, {}), with_page=False)  # type: ignore[func-returns-value]
    for expected in (1, 2):
        response = served.answer("GET", "/stats?pretty")
        assert json.loads(response.body) == {"calls": expected}
        assert response.content_type == "application/json"


@pytest.mark.parametrize(
    ("path", "kind"), [("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")]
)
def test_the_page_is_served_from_the_package_without_outside_resources(path: str, kind: str) -> None:
    response = pages().answer("GET", path)
    assert response.status == 200
    assert response.content_type == f"{kind}; charset=utf-8"
    assert not re.search(rb"(src|href|url|import|fetch)\W{1,3}(https?:)?//", response.body)
    assert len(response.body) > 100


def test_a_supervisor_has_no_page() -> None:
    assert pages(with_page=False).answer("GET", "/").status == 404


@pytest.mark.parametrize("target", ["/nothing", "", "//", "/healthz/", "http://x/healthz", "/../etc/passwd", "?"])
def test_what_is_not_there_is_404_and_names_what_is(target: str) -> None:
    response = pages().answer("GET", target)
    assert response.status == 404
    assert response.body == b"nothing here; try / /healthz /page.css /page.js /readyz /stats\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "get", ""])
def test_other_methods_are_405_with_what_is_allowed(method: str) -> None:
    response = pages().answer(method, "/stats")
    assert (response.status, response.headers) == (405, {"Allow": "GET, HEAD"})


def test_head_is_answered_as_get() -> None:
    assert pages().answer("HEAD", "/stats") == pages().answer("GET", "/stats")


def test_helpers_make_lines_and_header_names() -> None:
    assert text_response(503, "busy", Retry_After="2").headers == {"Retry-After": "2"}  # type: ignore[arg-type]
    assert json_response({"path": "a/b"}).body == b'{\n  "path": "a/b"\n}\n'
