"""The page at `/`, driven in a real Chromium: it streams, orders, loses its gateway and finds it again."""

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from execgate.wire.update import Kind
from loadgen.core.tables import Table
from loadgen.report import capacity_page
from tests.harness import running
from tests.integration.reference_server import reference_server, updates
from tests.rig import gateway, scripted

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser test")
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.browser]

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
STEP_MS = 15_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = os.environ.get("EXECGATE_TEST_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        reason = "NO BROWSER: the page is untested here. Install Debian's chromium, or set EXECGATE_TEST_CHROMIUM."
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


class Watched:
    """A page whose errors and requests are kept."""

    def __init__(self, browser: Browser, **options: object) -> None:
        self.context = browser.new_context(**options)  # type: ignore[arg-type]  # playwright's own keywords
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(STEP_MS)
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._on_request)
        self.page.on("websocket", lambda socket: self.hosts.add(socket.url.split("/")[2]))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _on_request(self, request: Request) -> None:
        self.hosts.add(request.url.split("/")[2])


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    watched = Watched(browser)
    yield watched
    watched.context.close()


def test_executions_stream_an_order_is_accepted_and_a_killed_gateway_is_found_again(watched: Watched) -> None:
    page = watched.page
    with running("publisher", "--pub", "tcp://127.0.0.1:0", "--rate", "50", "--symbols", "4") as source:
        feed = source.ready()["pub"]
        with gateway(feed) as first:
            address = first.address
            page.goto(f"http://{address}/")
            expect(page.locator("#state")).to_have_text("live", timeout=STEP_MS)
            expect(page.locator("#execs tr").nth(5)).to_be_visible(timeout=STEP_MS)
            expect(page.locator("#rate")).to_have_text(re.compile(r"^[3-6]\d$"), timeout=STEP_MS)
            for latency in ("#p50", "#p99"):
                expect(page.locator(latency)).to_have_text(re.compile(r"^\d+\.\d$"), timeout=STEP_MS)
            expect(page.locator("#gaps")).to_have_text("0")

            page.get_by_role("button", name="Send order").click()
            expect(page.locator("#answers .accepted").first).to_contain_text("accepted", timeout=STEP_MS)

            page.get_by_role("button", name="Pause").click()
            newest = page.locator("#execs tr").first.inner_text()
            received = page.locator("#received").inner_text()
            expect(page.locator("#received")).not_to_have_text(received, timeout=STEP_MS)
            assert page.locator("#execs tr").first.inner_text() == newest, "paused, and rows still move"
            page.get_by_role("button", name="Resume").click()
            expect(page.locator("#execs tr").first).not_to_have_text(newest, timeout=STEP_MS)
            assert watched.errors == []

            first.process.send_signal(signal.SIGKILL)
            expect(page.locator("#state")).to_contain_text("disconnected", timeout=STEP_MS)
            expect(page.get_by_role("button", name="Send order")).to_be_disabled()
            assert first.process.wait() == -signal.SIGKILL
        before = page.locator("#received").inner_text()
        with gateway(feed, listen=address):
            expect(page.locator("#state")).to_have_text("live", timeout=STEP_MS)
            expect(page.locator("#received")).not_to_have_text(before, timeout=STEP_MS)
            expect(page.get_by_role("button", name="Send order")).to_be_enabled()
        # What the browser itself says of a refused connection is no fault of the page.
        assert [error for error in watched.errors if "ERR_CONNECTION_REFUSED" not in error] == []
        assert watched.hosts == {address}


def test_what_the_feed_tells_is_shown_gaps_silence_and_a_new_epoch(watched: Watched) -> None:
    page = watched.page
    with scripted() as (served, feed):
        page.goto(f"http://{served.address}/")
        expect(page.locator("#state")).to_have_text("live", timeout=STEP_MS)
        expect(page.locator("#empty")).to_be_visible()
        feed.updates(3)
        expect(page.locator("#seq")).to_have_text("3", timeout=STEP_MS)
        expect(page.locator("#empty")).to_be_hidden()
        feed.update(seq=9)
        expect(page.locator("tr.gap")).to_contain_text("4 to 8", timeout=STEP_MS)
        expect(page.locator("#gaps")).to_have_text("1")
        feed.say(Kind.BYE)
        expect(page.locator("#state")).to_contain_text("silent", timeout=STEP_MS)
        feed.say(Kind.HEARTBEAT, 0, epoch=77)
        expect(page.locator("#state")).to_have_text("live", timeout=STEP_MS)
        expect(page.locator("#who")).to_contain_text(f"{77:016x}", timeout=STEP_MS)
        feed.update()
        expect(page.locator("#seq")).to_have_text("1", timeout=STEP_MS)
        expect(page.locator("#gaps")).to_have_text("1")
        assert watched.errors == []


@pytest.mark.parametrize("width", [400, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_window_and_names_all_its_controls(browser: Browser, scheme: str, width: int) -> None:
    watched = Watched(browser, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = watched.page
    with scripted() as (served, feed):
        page.goto(f"http://{served.address}/")
        expect(page.locator("#state")).to_have_text("live", timeout=STEP_MS)
        feed.updates(40)
        feed.update(seq=45)
        expect(page.locator("#seq")).to_have_text("45", timeout=STEP_MS)
        page.get_by_role("button", name="Send order").click()
        expect(page.locator("#answers li")).to_have_count(1, timeout=STEP_MS)
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{overflow} px wider than a window of {width} px"
        unnamed = page.evaluate(
            "[...document.querySelectorAll('input, button')]"
            ".filter(e => !(e.labels?.length || e.textContent.trim() || e.ariaLabel)).map(e => e.id)"
        )
        assert unnamed == []
        low = page.evaluate(CONTRAST)
        assert low == [], "text of too little contrast (WCAG 2 AA asks for 4.5)"
        assert watched.errors == []
    watched.context.close()


# Every element with text of its own: its colour against the nearest ground behind it, by WCAG's formula.
CONTRAST = """
(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => {
      v /= 255;
      return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!(own || e.matches("input")) || e.offsetParent === null || e.disabled) continue;
    const a = light(rgb(getComputedStyle(e).color)), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${e.tagName} ${e.id} ${e.className}: ${ratio.toFixed(2)}`);
  }
  return [...new Set(found)];
})()
"""


def test_the_page_of_a_search_for_capacity_draws_its_chart_from_itself_alone(
    browser: Browser, tmp_path: Path
) -> None:
    points = [{"value": n, "p50_ms": n / 10, "p99_ms": n / 5, "slo_ms": 50.0} for n in (100, 200, 300)]
    told = {
        "run": {
            "name": "a",
            "started": "now",
            "command": "x",
            "machine": {},
            "versions": {},
            "git": None,
            "config": {},
        },
        "words": "200 subscribers hold; 300 do not",
        "unit": "subscribers",
        "slo": ["p99<50ms"],
        "knee": {"low": 200, "confidence": "high"},
        "curve": points,
        "trials": [],
    }
    path = tmp_path / "capacity.html"
    path.write_text(capacity_page(told, [Table("Capacity", ("", ""), [("knee", "200")])]))
    watched = Watched(browser, offline=True)
    try:
        watched.page.goto(f"file://{path}")
        chart = watched.page.locator("#charts section").filter(has_text="Latency in ms over the load")
        expect(chart.locator("canvas")).to_be_visible(timeout=STEP_MS)
        for label in ("subscribers", "p50", "p99", "limit"):
            expect(chart.locator(".u-legend .u-label").filter(has_text=label)).to_have_count(1)
        assert watched.errors == []
        assert watched.hosts == {""}, "nothing but the file"
    finally:
        watched.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_of_a_run_draws_its_charts_from_itself_alone(
    browser: Browser, tmp_path: Path, scheme: str
) -> None:
    with reference_server(script=updates(range(1, 200))) as server:
        load = (
            "--subscribers",
            "3",
            "--orders-per-s",
            "50",
            "--warm-up",
            "0.1",
            "--for",
            "1",
            "--interval",
            "0.3",
        )
        kept = ("--run-dir", str(tmp_path), "--name", "a", "--quiet")
        with running("loadgen", "run", "--url", server.url, *load, *kept) as process:
            process.wait()
    with running("loadgen", "report", str(tmp_path / "a")) as process:
        assert process.wait() == 0
    watched = Watched(browser, color_scheme=scheme, offline=True)
    try:
        watched.page.goto(f"file://{tmp_path / 'a' / 'report.html'}")
        sections = watched.page.locator("#charts section")
        expect(sections.filter(has_text="Percentiles, ms")).to_be_visible(timeout=STEP_MS)
        for title in ("Order response time", "Throughput", "Connections", "Faults", "CPU", "Memory"):
            expect(sections.filter(has_text=title)).to_be_visible(timeout=STEP_MS)
        assert sections.locator("canvas").count() == sections.count()
        watched.page.emulate_media(media="print")  # drawn anew, for paper
        expect(sections.filter(has_text="Percentiles, ms")).to_be_visible(timeout=STEP_MS)
        assert watched.errors == []
        assert watched.hosts == {""}, "nothing but the file"
    finally:
        watched.context.close()
