# SPDX-License-Identifier: Apache-2.0
"""A real Chromium (Debian's) on the page of a running session."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import requests
from playwright.sync_api import Browser, CDPSession, Error, Page, sync_playwright
from session_runs import StartedSession

from h1_training_testing import wait_until

PHONE = {"width": 390, "height": 844}
TABLET = {"width": 820, "height": 1180}
DESKTOP = {"width": 1440, "height": 900}
HOLD_MS = 900
WAIT_MS = 60_000
_PROGRAM = Path(__file__).with_name("chromium.sh")
_ANSWER_S, _LOOK_MS = 8.0, 100
# Without these Chromium looks for its maker's hosts at every start.
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
              "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]  # fmt: skip


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, which must be installed."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_PROGRAM, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def link(session: StartedSession, *, looking: bool = False) -> str:
    """The link that the session's output and its token file make."""
    session.wait_for("token in ")
    match = re.search(r"Page: (\S+) \(token in (\S+)\)", session.output)
    assert match, session.output
    drive, look = Path(match[2]).read_text().split()
    return f"{match[1]}?token={look if looking else drive}"


def opened(browser: Browser, session: StartedSession, size: dict[str, int], *, looking: bool = False) -> Page:
    """A page of its own browser profile on the session; touch where the size is a hand's."""
    page = browser.new_context(viewport=size, has_touch=size is not DESKTOP, is_mobile=size is not DESKTOP).new_page()
    page.set_default_timeout(WAIT_MS)
    page.problems = []  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.problems.append(str(error)))  # type: ignore[attr-defined]
    wait_until(lambda: _answers(link(session)) or session.popen.poll() is not None, "the page answers", 60)
    page.goto(link(session, looking=looking))
    return page


def _answers(address: str) -> bool:
    with contextlib.suppress(requests.ConnectionError):
        return requests.get(address.partition("?")[0], timeout=5).status_code == 401
    return False


def wait_for(page: Page, expression: str, timeout_s: float = 60.0) -> None:
    """Wait until `expression` is true in the page. Its content policy forbids what `wait_for_function` does."""
    deadline = time.monotonic() + timeout_s
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {expression}; {what_is_shown(page)}"
        page.wait_for_timeout(50)


def wait_for_state(page: Page, *states: str) -> None:
    """Wait until the page shows one of `states`."""
    wait_for(page, " || ".join(f"document.body.dataset.state === '{state}'" for state in states))


def what_is_shown(page: Page) -> str:
    """What stands on the page, for the message of a failed test."""
    return str(page.evaluate("document.body.innerText"))


def hold(page: Page, request: str, *states: str) -> None:
    """A finger that stays on a button, until the page shows one of `states`. A person presses again, too: a camera
    that is late for a moment takes the button away.
    """
    reached = " || ".join(f"document.body.dataset.state === '{state}'" for state in states)
    devices = page.context.new_cdp_session(page)
    deadline = time.monotonic() + WAIT_MS / 1000
    while not page.evaluate(reached):
        assert time.monotonic() < deadline, f"'{request}' did not lead to {states}; {what_is_shown(page)}"
        if touched(page, devices, request, HOLD_MS):
            with contextlib.suppress(AssertionError):
                wait_for(page, reached, _ANSWER_S)
        page.wait_for_timeout(_LOOK_MS)


def touched(page: Page, devices: CDPSession, request: str, for_ms: int) -> bool:
    """Lay a finger on a button for a while; False if it is not there, or cannot be pressed."""
    place = page.evaluate(
        """(request) => {
            const button = document.querySelector(`#buttons [data-request="${request}"]:not(:disabled)`);
            if (!button) return null;
            button.scrollIntoView({block: "center"});
            const {x, y, width, height} = button.getBoundingClientRect();
            return {x: x + width / 2, y: y + height / 2};
        }""",
        request,
    )
    if place is None:
        return False
    devices.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [place]})
    page.wait_for_timeout(for_ms)
    if for_ms >= HOLD_MS:  # until its bar is full, however slow the page is
        with contextlib.suppress(AssertionError):
            wait_for(page, "!document.querySelector('#buttons .held')", _ANSWER_S)
    devices.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    return True


def guide(page: Page) -> None:
    """Stop the policy, or label it a failure if it has ended by itself, until the arms are compliant."""
    buttons = (f'#buttons [data-request="{request}"]:not(:disabled)' for request in ("stop", "failure"))
    button = page.locator(", ".join(buttons)).first
    deadline = time.monotonic() + WAIT_MS / 1000
    while page.evaluate("document.body.dataset.state") != "DAMPING":
        assert time.monotonic() < deadline, f"the arms are not compliant; {what_is_shown(page)}"
        with contextlib.suppress(Error):  # the button may go between a look and the touch
            button.tap(timeout=1000)
        page.wait_for_timeout(_LOOK_MS)


def tap(page: Page, request: str) -> None:
    """A finger on a button, which may be away for a moment."""
    page.locator(f'#buttons [data-request="{request}"]:not(:disabled)').tap()
