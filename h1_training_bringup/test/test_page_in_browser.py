# SPDX-License-Identifier: Apache-2.0
"""The page in a real Chromium on one simulated session: an episode by touch, STOP from another page, the replay."""

import contextlib
import http.server
import threading
from collections.abc import Iterator

import h5py
import pytest
import websocket
from axe_playwright_python.sync_playwright import Axe
from browser import (
    DESKTOP,
    PHONE,
    chromium,
    guide,
    hold,
    opened,
    tap,
    touched,
    wait_for,
    wait_for_state,
)
from playwright.sync_api import Browser, Page
from session_runs import SLOW_CAMERAS, SessionRun

from h1_training_testing import wait_until

pytestmark = [pytest.mark.graph, pytest.mark.timeout(300)]
STALLED_S = 2.0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionRun]:
    """One for all tests, in their order: the last ends it."""
    configuration = f"robot: {{include_hands: false}}\n{SLOW_CAMERAS}"
    run = SessionRun(tmp_path_factory.mktemp("page"), "--operator", "none", configuration=configuration)
    yield run
    run.close()


@pytest.fixture(scope="module")
def phone(browser: Browser, session: SessionRun) -> Page:
    """The page that drives, on a phone."""
    page = opened(browser, session, PHONE)
    page.locator("#controls").tap()
    return page


def assert_accessible(page: Page, view: str) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{view} is wider than the screen"
    found = Axe().run(page)
    assert found.violations_count == 0, f"{view}: {found.generate_report()}"


def frames(page: Page, place: int) -> int:
    return int(page.locator("#camera-grid canvas").nth(place).get_attribute("data-frames") or 0)


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


def test_an_episode_is_driven_by_touch_saved_labelled_and_played(phone: Page, session: SessionRun) -> None:
    hold(phone, "start", "EXECUTING")
    wait_for(phone, "[...document.querySelectorAll('#camera-grid canvas')].every((c) => c.dataset.frames > 10)")
    wait_for(phone, "/policy [1-9]\\d/.test(document.getElementById('recording').textContent)")
    guide(phone)
    wait_for(phone, "/human [1-9]\\d/.test(document.getElementById('recording').textContent)")
    tap(phone, "end")
    wait_for_state(phone, "DECIDING")
    tap(phone, "good")
    wait_for(phone, "/: success/.test(document.getElementById('recorder').textContent)")
    (path,) = session.episodes()

    phone.locator('[data-view="episodes"]').tap()
    phone.locator("#list button").first.tap()
    wait_for(phone, "document.querySelector('#player-images canvas')?.dataset.row === '0'")
    assert_accessible(phone, "episodes")
    phone.locator("#play").tap()
    wait_for(phone, "document.querySelector('#player-images canvas').dataset.row > 20")
    phone.locator('#changes [data-what="failure"]').tap()
    wait_for(phone, "document.getElementById('change-status').textContent.includes('failure')")
    with h5py.File(path) as episode:
        assert episode.attrs["outcome"] == "failure"
        assert episode.attrs["policy_frames"] > 10 and episode.attrs["human_frames"] > 10
    phone.locator('[data-view="live"]').tap()
    tap(phone, "another")
    wait_for_state(phone, "READY")


def test_a_client_that_stalls_holds_up_no_other(phone: Page, session: SessionRun) -> None:
    cookie = "; ".join(f"{found['name']}={found['value']}" for found in phone.context.cookies())
    base = phone.url.rstrip("/")
    sockets = [
        websocket.create_connection(base.replace("http", "ws") + path, origin=base, cookie=cookie, timeout=10)
        for path in ("/live", "/images", "/images")
    ]  # of which not a byte is read
    phone.wait_for_timeout(STALLED_S * 1000)
    before = frames(phone, 0)
    wait_for(phone, f"document.querySelector('#camera-grid canvas').dataset.frames > {before + 10}", 30.0)
    assert phone.evaluate("document.body.dataset.state") == "READY"
    for socket in sockets:
        socket.close()


def test_the_session_goes_on_when_the_page_hangs_and_when_it_is_killed(phone: Page, session: SessionRun) -> None:
    wait_for(phone, "!!document.querySelector('#buttons [data-request=start]:not(:disabled)')")
    started = session.output.count("[EXECUTING]")

    def is_executing() -> bool:
        return session.output.count("[EXECUTING]") > started

    def begins() -> bool:
        """Asked again if a camera was late for a moment, as a person would ask."""
        if session.asked("h1_session_manager", "session", "start").returncode == 0:
            with contextlib.suppress(pytest.fail.Exception):
                wait_until(is_executing, "the countdown ends", 10)
        return is_executing()

    web = session.process("web")
    web.suspend()
    try:
        wait_until(begins, "an episode begins beside a page that hangs", 60)
    finally:
        web.resume()
    wait_for_state(phone, "EXECUTING", "LABELING")
    session.process("web").kill()
    wait_for_state(phone, "SILENT")
    # The browser is known: nobody has to open the link again. The policy may have ended by itself meanwhile.
    wait_for_state(phone, "EXECUTING", "LABELING")
    phone.locator("#controls").tap()
    guide(phone)
    tap(phone, "end")
    wait_for_state(phone, "DECIDING")
    tap(phone, "another")
    wait_for_state(phone, "READY")


def test_stop_works_from_a_page_that_only_looks(browser: Browser, phone: Page, session: SessionRun) -> None:
    looking = opened(browser, session, DESKTOP, looking=True)
    hold(phone, "start", "EXECUTING")
    assert looking.locator("#controls").is_disabled()
    assert looking.locator("#buttons button:not(:disabled)").count() == 0
    assert "drives" in looking.locator("#driver").inner_text()
    looking.locator("#stop").click()
    for page in (phone, looking):
        wait_for_state(page, "STOPPED")
    assert_accessible(looking, "STOPPED")
    devices = phone.context.new_cdp_session(phone)
    while session.popen.poll() is None and not touched(phone, devices, "release", 900):
        phone.wait_for_timeout(100)
    assert session.wait_for_exit(40) == 0, session.evidence()
    assert phone.problems == [] and looking.problems == []  # type: ignore[attr-defined]
