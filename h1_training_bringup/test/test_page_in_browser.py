# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser on a real simulated session: an episode by touch, STOP from another page, the replay."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import DESKTOP, PHONE, chromium, hold, opened, tap, wait_for, wait_for_state
from playwright.sync_api import Browser, Page
from session_runs import SessionRun

pytestmark = [pytest.mark.graph, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def session(tmp_path: Path) -> Iterator[SessionRun]:
    run = SessionRun(tmp_path, "--operator", "none")
    yield run
    run.close()


def assert_accessible(page: Page, view: str) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, f"{view}: {found.generate_report()}"


def frames(page: Page, place: int) -> int:
    return int(page.locator("#camera-grid canvas").nth(place).get_attribute("data-frames") or 0)


def drive_to_executing(page: Page) -> None:
    page.locator("#controls").tap()
    wait_for_state(page, "READY")
    wait_for(page, "!document.querySelector('#preflight .bad')")
    hold(page, "start")
    wait_for_state(page, "EXECUTING")


def test_an_episode_is_driven_by_touch_saved_labelled_and_played(browser: Browser, session: SessionRun) -> None:
    page = opened(browser, session, PHONE)
    wait_for_state(page, "READY")
    assert "token" not in page.url
    assert_accessible(page, "READY")
    drive_to_executing(page)
    wait_for(page, "[...document.querySelectorAll('#camera-grid canvas')].every((c) => c.dataset.frames > 10)")
    wait_for(page, "/policy [1-9]\\d/.test(document.getElementById('recorder').textContent)")
    tap(page, "stop")
    wait_for_state(page, "DAMPING")
    wait_for(page, "/human [1-9]\\d/.test(document.getElementById('recorder').textContent)")
    tap(page, "end")
    wait_for_state(page, "DECIDING")
    tap(page, "good")
    (path,) = session.episodes()
    wait_for(page, "document.getElementById('answer').textContent.length > 0")

    page.locator('[data-view="episodes"]').tap()
    page.locator("#list button").first.tap()
    wait_for(page, "document.querySelector('#player-images canvas')?.dataset.row === '0'")
    assert_accessible(page, "episodes")
    page.locator("#play").tap()
    wait_for(page, "document.querySelector('#player-images canvas').dataset.row > 20")
    page.locator('#changes [data-what="failure"]').tap()
    wait_for(page, "document.getElementById('change-status').textContent.includes('failure')")
    with h5py.File(path) as episode:
        assert episode.attrs["outcome"] == "failure"
        assert episode.attrs["policy_frames"] > 10 and episode.attrs["human_frames"] > 10
    assert page.problems == []  # type: ignore[attr-defined]


def test_stop_works_from_a_page_that_only_looks(browser: Browser, session: SessionRun) -> None:
    driving = opened(browser, session, PHONE)
    looking = opened(browser, session, DESKTOP, looking=True)
    wait_for_state(driving, "READY")
    drive_to_executing(driving)
    assert looking.locator("#controls").is_disabled()
    assert looking.locator("#buttons button:not(:disabled)").count() == 0
    assert "drives" in (looking.locator("#driver").text_content() or "")
    looking.locator("#stop").click()
    for page in (driving, looking):
        wait_for_state(page, "STOPPED")
    hold(driving, "release")
    assert session.wait_for_exit(40) == 0, session.evidence()


def test_a_tap_is_no_hold_and_a_hold_that_slips_moves_nothing(browser: Browser, session: SessionRun) -> None:
    page = opened(browser, session, PHONE)
    wait_for_state(page, "READY")
    page.locator("#controls").tap()
    wait_for(page, "!document.querySelector('#preflight .bad')")
    tap(page, "start")
    devices = page.context.new_cdp_session(page)
    box = page.locator('#buttons [data-request="start"]').bounding_box()
    assert box is not None
    point = {"x": box["x"] + 20, "y": box["y"] + 20}
    devices.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    page.wait_for_timeout(200)
    devices.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(1500)  # longer than a countdown would take to begin
    assert page.evaluate("document.body.dataset.state") == "READY"
    assert page.locator("#countdown").is_hidden()


def test_the_session_goes_on_when_the_page_is_killed(browser: Browser, session: SessionRun) -> None:
    page = opened(browser, session, PHONE)
    wait_for_state(page, "READY")
    drive_to_executing(page)
    session.process("web").kill()
    wait_for_state(page, "SILENT")
    session.ask("h1_session_manager", "session", "stop")
    session.ask("h1_session_manager", "session", "wait", "DAMPING")
