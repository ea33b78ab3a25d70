# SPDX-License-Identifier: Apache-2.0
"""Takes the images of docs/page.md from a real simulated session, driven by touch in Chromium: `make docs`.

Five states and an episode that is played, each at the size of a phone, a tablet and, dark, a desktop; one file each.

    python h1_training_bringup/docs/page_images.py [FOLDER]
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

PACKAGE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PACKAGE / "test"), str(PACKAGE.parent / "h1_training_msgs/test_support")]

from browser import DESKTOP, PHONE, TABLET, chromium, guide, hold, opened, tap, wait_for, wait_for_state  # noqa: E402
from playwright.sync_api import Page  # noqa: E402
from session_runs import SessionRun  # noqa: E402

FOLDER = PACKAGE.parent / "h1_session_manager/docs"
CONFIGURATION = "simulation: {camera_fps: 15.0}\n"  # a browser runs on this computer, too
HEIGHT, GAP = 600, 16
MOST_BYTES = 150_000
SETTLE_MS = 700
FRAMES = r"Number(document.getElementById('recording').textContent.match(/{who} (\d+)/)?.[1] ?? 0) > {least}"


class Pages:
    """One page, which drives a session, looked at in three sizes: three pages would be too much beside it."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page, self._folder = page, folder

    def take(self, name: str, *states: str) -> None:
        """One file with all three sizes, once the page shows one of `states`."""
        shots = []
        if states:
            wait_for_state(self.page, *states)
        for size in (PHONE, TABLET, DESKTOP):
            self.page.emulate_media(color_scheme="dark" if size is DESKTOP else "light")
            self.page.set_viewport_size(size)
            self.page.wait_for_timeout(SETTLE_MS)
            shots.append(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"))
        self.page.set_viewport_size(PHONE)
        path = self._folder / f"page_{name}.jpg"
        path.write_bytes(small(side_by_side(shots)))
        print(f"{path}: {path.stat().st_size // 1000} kB", flush=True)

    def open_episode(self) -> None:
        """The newest episode, played for a moment."""
        self.page.locator('[data-view="episodes"]').click()
        self.page.locator("#list button").first.click()
        wait_for(self.page, "document.querySelector('#player-images canvas')?.dataset.row === '0'")
        self.page.locator("#play").click()
        wait_for(self.page, "document.querySelector('#player-images canvas').dataset.row > 40")
        self.page.locator("#play").click()

    def back(self) -> None:
        """To the session."""
        self.page.locator('[data-view="live"]').click()


def side_by_side(shots: list[Image.Image]) -> Image.Image:
    """All at the same height, on white."""
    scaled = [
        shot.resize((round(shot.width * HEIGHT / shot.height), HEIGHT), Image.Resampling.LANCZOS) for shot in shots
    ]
    whole = Image.new("RGB", (sum(shot.width for shot in scaled) + GAP * (len(scaled) - 1), HEIGHT), "white")
    x = 0
    for shot in scaled:
        whole.paste(shot, (x, 0))
        x += shot.width + GAP
    return whole


def small(image: Image.Image) -> bytes:
    """As a JPEG of at most MOST_BYTES."""
    for quality in (85, 75, 65, 55):
        data = io.BytesIO()
        image.save(data, "JPEG", quality=quality, optimize=True, progressive=True)
        if len(data.getvalue()) <= MOST_BYTES:
            break
    return data.getvalue()


@contextmanager
def pages(folder: Path) -> Iterator[tuple[Pages, SessionRun]]:
    """The page on a session that has just begun; what is left of it ends with the block."""
    with tempfile.TemporaryDirectory() as place:
        config = Path(place) / "config.yaml"
        config.write_text(CONFIGURATION)
        run = SessionRun(Path(place), "--operator", "none", "--config", str(config))
        try:
            with chromium() as browser:
                page = opened(browser, run, PHONE)
                page.locator("#controls").tap()
                yield Pages(page, folder), run
        finally:
            run.close()


def main(folder: Path) -> None:
    """Play two short episodes: one is saved, one is stopped."""
    with pages(folder) as (shown, run):
        phone = shown.page
        wait_for_state(phone, "READY")
        wait_for(phone, "!!document.querySelector('#buttons [data-request=start]')")
        shown.take("ready", "READY")
        hold(phone, "start", "EXECUTING")
        wait_for(phone, FRAMES.format(who="policy", least=25))
        shown.take("executing", "EXECUTING")
        guide(phone)
        wait_for(phone, FRAMES.format(who="human", least=100))
        shown.take("damping", "DAMPING")
        tap(phone, "end")
        wait_for_state(phone, "DECIDING")
        tap(phone, "good")
        shown.take("deciding", "DECIDING")
        shown.open_episode()
        shown.take("episode")
        shown.back()
        phone.locator("#stop").tap()
        shown.take("stopped", "STOPPED")
        phone.wait_for_timeout(1000)
        run.ask("h1_session_manager", "session", "release")
        run.wait_for_exit(40)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
