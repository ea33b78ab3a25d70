# SPDX-License-Identifier: Apache-2.0
"""The page in a real Chromium: what its keys ask the session for, and that nothing old looks as if it held."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from web_page import TOKENS, WAIT_S, Served, served, write_episode

from h1_training_testing import wait_until

Image = pytest.importorskip("PIL.Image", reason="needs Pillow")
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
    shown.set_default_timeout(WAIT_S * 1000)
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


def jpeg() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (64, 48), "green").save(data, "JPEG")
    return data.getvalue()


def test_each_image_stands_under_its_own_cameras_name_whichever_are_configured(browser, tmp_path):
    with served(tmp_path, ("cam_right_wrist", "ego_cam")) as page:
        shown = driving(browser, page)
        page.put(0, jpeg())
        tiles = "[...document.querySelectorAll('#camera-grid button')].map((tile) => "
        tiles += "`${tile.textContent.split(':')[0]} ${tile.firstChild.dataset.frames ?? 0}`).join()"
        wait_until(lambda: shown.evaluate(tiles) == "right wrist 1,head 0", "the wrist's image is the wrist's", WAIT_S)
        shown.close()


def test_what_was_refused_in_one_state_does_not_stand_in_the_next(browser, page):
    shown = driving(browser, page)
    offer(page, shown, "DECIDING", ("g", "good", False))
    shown.keyboard.press("g")
    answer = "document.getElementById('answer').textContent"
    wait_until(lambda: "good by page" in shown.evaluate(answer), "the answer", WAIT_S)
    offer(page, shown, "READY", ("n", "skip", False))
    assert shown.evaluate(answer) == ""
    shown.close()


def test_a_session_that_fell_silent_asks_for_nothing_any_more(browser, page):
    shown = driving(browser, page)
    page.show("EXECUTING", ("s", "stop", False), prompt="Press 's' to stop execution")
    wait_until(lambda: "Press 's'" in shown.locator("#prompt").inner_text(), "the prompt", WAIT_S)
    page.now_ns = 10_000_000_000
    wait_until(lambda: "silent for 10 s" in shown.locator("#arms").inner_text(), "silence", WAIT_S)
    assert shown.locator("#prompt").inner_text() == ""
    shown.close()


def test_a_change_of_an_episode_that_cannot_be_asked_for_says_so(browser, page, tmp_path):
    write_episode(tmp_path / "training_session_epoch3/episode_0.hdf5")
    shown = driving(browser, page)
    shown.locator('[data-view="episodes"]').click()
    shown.locator("#list button").first.click()
    button = shown.locator('#changes [data-what="success"]')
    button.wait_for()
    shown.route("**/api/change", lambda route: route.abort())
    button.click()
    wait_until(lambda: "not done" in shown.locator("#change-status").inner_text(), "the reason", WAIT_S)
    shown.close()
