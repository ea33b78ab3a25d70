# SPDX-License-Identifier: Apache-2.0
"""Draws the console in its main states: `python docs/images.py`, from this package's folder, writes docs/*.svg.

What it shows is made up here; nothing is connected.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from h1_session_manager.console.console_app import ConsoleApp
from h1_session_manager.console.console_view import ConsoleData
from h1_session_manager.states import ROWS
from h1_session_manager.table import CANCEL_ROW, key_fields
from h1_session_manager.values import Arm, Hand, Policy, Recorder, StreamStatus, SyncProgress, View
from h1_training_node.message_numbers import ArmMode, Connection, RecorderState, SyncState

S = 1_000_000_000
NOW_NS = 1_000_000 * S
STREAMS = ("ego_cam", "cam_left_wrist", "cam_right_wrist", "arm_status")
READY_ASKS = (
    "Press 'y' to start epoch 3, 'n' to skip ('y' moves the arms: home first, then the policy. Stand clear)"
)  # fmt: skip
UPLOAD = SyncProgress(
    SyncState.RUNNING,
    "training_session_epoch3/episode_1.hdf5 (2 of 3, 26%)",
    0.42,
    684_000_000,
    11.5e6,
    82.0,
    files_owed=3,
)
LINES = {
    "READY": ("[READY] New weights available!", "Cameras ready: All cameras working!"),
    "EXECUTING": ("Cameras ready: All cameras working!", "[EXECUTING] Running policy (epoch 3)"),
    "DAMPING": ("[EXECUTING] Running policy (epoch 3)", "[DAMPING] Robot in damping mode - adjust pose freely"),
    "SYNCING": (
        "  Saved: /home/kim/data/episodes/training_session_epoch3/episode_2.hdf5",
        "  Policy frames: 1200, Human frames: 1647",
        "[SYNCING] Uploading data to remote server...",
        "  Sending training_session_epoch3/episode_1.hdf5, 2 of 3, 3 not verified yet (11.5 MB/s, 82 s left)",
    ),
    "STOPPED": ("[EXECUTING] Running policy (epoch 3)", "[STOPPED] emergency stop: key 'q'"),
}


def heard(view: View, mode: ArmMode, *messages: tuple[int, str], **others: object) -> ConsoleData:
    """A session in good health, but for what `others` says."""
    ages = {"cam_left_wrist": -1.0} if others.get("broken") else {}
    rows = tuple(StreamStatus(name, 50.0 if name == "arm_status" else 30.0, ages.get(name, 0.02)) for name in STREAMS)
    recorder = RecorderState.RECORDING if view.state in ("EXECUTING", "DAMPING") else RecorderState.IDLE
    result = ConsoleData(
        view=view,
        arm=Arm(NOW_NS, mode, NOW_NS, str(others.get("arms", "requested")), fault=str(others.get("fault", "")),
                acknowledge_needed="fault" in others, max_temperature=46),
        recorder=Recorder(NOW_NS, recorder, view.episode_id, 1200, 412 if view.state == "DAMPING" else 0, rows,
                          180 * S),
        policy=Policy(NOW_NS, Connection.CONNECTED, view.epoch, latency_ms=118.0),
        hands={side: Hand(NOW_NS, max_temperature=38) for side in ("left", "right")},
        heard_ns=NOW_NS,
    )  # fmt: skip
    if view.state == "SYNCING":
        result.sync = UPLOAD
    result.add_lines(LINES.get(view.state, ()))
    result.messages.extend(messages)
    return result


def states() -> dict[str, ConsoleData]:
    """The images, by file name."""

    def view(state: str, seconds: int, prompt: str, *keys: str, reason: str = "", countdown_s: float = 0.0) -> View:
        rows = [*(row for row in ROWS if row.source == state), CANCEL_ROW]
        offered = [next(row for row in rows if row.key == key) for key in keys]
        return View(state, NOW_NS - seconds * S, 3, 2, "epoch3/episode_1", prompt, countdown_s=countdown_s,
                    reason=reason, **key_fields(offered))  # fmt: skip

    broken = "camera cam_left_wrist: no image yet; check its cable, power and server"
    return {
        "console_ready": heard(view("READY", 12, READY_ASKS, "y", "n", "q"), ArmMode.HOLD),
        "console_blocked": heard(
            view("READY", 31, READY_ASKS, "n", "q", reason=broken), ArmMode.HOLD,
            (1, "! recorder: camera_silent: cam_left_wrist sends nothing"), broken=True,
        ),
        "console_countdown": heard(
            view("READY", 14, "Press any key to cancel", "any", "q", countdown_s=2.4), ArmMode.HOLD
        ),
        "console_executing": heard(
            view("EXECUTING", 24, "Press 's' to stop execution and enter damping mode", "s", "q"), ArmMode.POLICY
        ),
        "console_damping": heard(
            view("DAMPING", 8, "Press 'e' to end epoch and save. Press 'r' to acknowledge 'blocked' and resume the "
                 "policy from here (the arms move), 'x' twice to discard", "e", "r", "x", "q", reason="blocked"),
            ArmMode.DAMPING, (1, "! arm_driver: blocked: left_elbow_joint is held back"), arms="blocked",
            fault="blocked",
        ),
        "console_syncing": heard(view("SYNCING", 16, "", "q"), ArmMode.HOLD),
        "console_stopped": heard(
            view("STOPPED", 3, "Press 'y' to release: arms return to the robot's own controller: stand clear", "y",
                 reason="emergency stop: key 'q'"),
            ArmMode.DAMPING, (1, "! arm_driver: emergency_stop: by session_manager: key 'q'"), arms="emergency_stop",
        ),
    }  # fmt: skip


async def draw(name: str, seen: ConsoleData, folder: Path) -> Path:
    """One image, in 80×24."""
    app = ConsoleApp(seen, lambda: NOW_NS, lambda _key: None, STREAMS)
    app.title = f"console: {seen.view.state if seen.view else ''}"
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        return Path(app.save_screenshot(f"{name}.svg", str(folder)))


def main(folder: Path = Path(__file__).parent) -> None:
    """Draw all of them."""
    for name, seen in states().items():
        print(asyncio.run(draw(name, seen, folder)))


if __name__ == "__main__":
    main()
