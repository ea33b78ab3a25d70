# SPDX-License-Identifier: Apache-2.0
"""Keys on the page, in a real Chromium: what each asks the session for."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from web_page import TOKENS, WAIT_S, Served, served

from h1_training_testing import wait_until

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as page:
        yield page


def driving(browser: "sync_api.Browser", page: Served) -> "sync_api.Page":
    shown = browser.new_page()
    shown.goto(f"{page.base}/?token={TOKENS.drive}")
    shown.locator("#controls:not(:disabled)").click()
    wait_until(lambda: page.controls.driver, "the page drives", WAIT_S)
    return shown


def offer(page: Served, shown: "sync_api.Page", state: str, *keys: tuple[str, str, bool]) -> None:
    """The session offers these keys, of which the emergency stop is no button."""
    page.show(state, *keys)
    buttons = ",".join(service for _, service, _ in keys if service != "emergency_stop")
    found = "[...document.querySelectorAll('#buttons button:not(:disabled)')].map((b) => b.dataset.request).join()"
    is_shown = f"document.body.dataset.state === '{state}' && {found} === '{buttons}'"
    wait_until(lambda: shown.evaluate(is_shown), f"{state}: {buttons}", WAIT_S)


def test_q_is_the_sessions_own_in_waiting_and_stops_the_release_that_it_began(browser, page):
    shown = driving(browser, page)
    offer(page, shown, "WAITING", ("q", "quit", False))
    shown.keyboard.press("q")
    wait_until(lambda: page.asked.requests == ["quit"], "the session is asked to end", WAIT_S)
    assert not page.asked.stops
    offer(page, shown, "WAITING", ("q", "emergency_stop", False))  # as the arms are being released
    shown.keyboard.press("q")
    wait_until(lambda: page.asked.stops, "the emergency stop", WAIT_S)
    shown.close()


def test_caps_lock_keeps_no_stop_back(browser, page):
    shown = driving(browser, page)
    offer(page, shown, "EXECUTING", ("s", "stop", False), ("q", "emergency_stop", False))
    shown.keyboard.press("Q")
    wait_until(lambda: page.asked.stops, "the emergency stop", WAIT_S)
    shown.close()


@pytest.mark.parametrize("key", ["k", "Escape", "Enter", "ArrowLeft", "Space"])
def test_any_key_cancels_an_announced_motion(browser, page, key):
    shown = driving(browser, page)
    offer(page, shown, "READY", ("any", "cancel", False), ("q", "emergency_stop", False))
    shown.keyboard.press("Shift")
    shown.keyboard.press(key)
    wait_until(lambda: page.asked.requests, "the motion is cancelled", WAIT_S)
    shown.wait_for_timeout(200)
    assert page.asked.requests == ["cancel"]
    shown.close()
