# SPDX-License-Identifier: Apache-2.0
"""The page in a real Chromium on a simulated session: who gets in, that a tap moves nothing, and axe-core's verdict."""

import http.server
import threading
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import (
    DESKTOP,
    PHONE,
    chromium,
    opened,
    tap,
    touched,
    wait_for_state,
)
from playwright.sync_api import Browser, Page
from session_runs import SessionRun

pytestmark = [pytest.mark.graph, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionRun]:
    """One for all tests. Slower cameras than a robot's, for the browser beside it."""
    folder = tmp_path_factory.mktemp("page")
    config = folder / "config.yaml"
    config.write_text("simulation: {camera_fps: 10.0}\nrobot: {include_hands: false}\n")
    run = SessionRun(folder, "--operator", "none", "--config", str(config))
    yield run
    run.close()


@pytest.fixture(scope="module")
def phone(browser: Browser, session: SessionRun) -> Page:
    """The page that drives, on a phone."""
    page = opened(browser, session, PHONE)
    page.locator("#controls").tap()
    return page


def assert_accessible(page: Page, view: str) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, f"{view}: {found.generate_report()}"


def test_a_wrong_token_opens_nothing(browser: Browser, session: SessionRun) -> None:
    page = opened(browser, session, PHONE)
    stranger = browser.new_context().new_page()
    base = page.url
    assert "token" not in base
    response = stranger.goto(f"{base}?token={'0' * 32}")
    assert response is not None and response.status == 401
    assert "This token is wrong" in stranger.locator("body").inner_text()
    response = stranger.goto(base)
    assert response is not None and response.status == 401
    assert stranger.locator("#token").is_visible() and stranger.locator("#stop").count() == 0
    assert_accessible(stranger, "sign-in")
    for context in (page.context, stranger.context):
        context.close()


class Stranger(http.server.BaseHTTPRequestHandler):
    """Another site, at another port of the same host: the browser sends it the page's cookie along."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>another site</title>")

    def log_message(self, *_: object) -> None:
        pass


def test_another_site_in_the_same_browser_reaches_nothing(browser: Browser, session: SessionRun) -> None:
    page = opened(browser, session, DESKTOP)
    address = page.url.removeprefix("http://").rstrip("/")
    with http.server.HTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        other = page.context.new_page()
        other.goto(f"http://127.0.0.1:{server.server_port}/")
        found = other.evaluate(
            """async (address) => {
                const opens = (path) => new Promise((resolve) => {
                    const socket = new WebSocket(`ws://${address}${path}`);
                    socket.onopen = () => resolve("opened");
                    socket.onerror = () => resolve("refused");
                });
                const asks = (method, path) => fetch(`http://${address}${path}`, {method, credentials: "include",
                    mode: "no-cors", body: method === "POST" ? "{}" : undefined}).then((r) => r.type, () => "refused");
                return [await opens("/live"), await opens("/images"), await asks("GET", "/api/episodes")];
            }""",
            address,
        )
        server.shutdown()
    assert found == ["refused", "refused", "refused"]
    page.context.close()


def test_a_tap_is_no_hold_and_a_hold_that_is_too_short_moves_nothing(phone: Page, session: SessionRun) -> None:
    wait_for_state(phone, "READY")
    assert_accessible(phone, "READY")
    tap(phone, "start")
    devices = phone.context.new_cdp_session(phone)
    while not touched(phone, devices, "start", 200):
        phone.wait_for_timeout(100)
    phone.wait_for_timeout(1500)  # longer than a countdown would take to begin
    assert phone.evaluate("document.body.dataset.state") == "READY"
    assert phone.locator("#countdown").is_hidden()
