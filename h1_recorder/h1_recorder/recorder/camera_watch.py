"""Tells when a camera freezes, falls silent, or is itself again: once each, while it happens."""

from __future__ import annotations

from h1_recorder.recorder.intake import Intake
from h1_recorder.recorder.streams import CAMERAS
from h1_training_node.message_numbers import Level

SILENT_NS = 500_000_000
"""A camera without a picture for this long is silent."""

_TOLD = {
    "frozen": "{} delivers the same picture again and again; see to the camera or restart its node",
    "silent": "{} delivers no pictures any more; see to its cable and its node",
}


class CameraWatch:
    """Remembers what was told of each camera.

    Args:
        intake: whose cameras they are.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._state = dict.fromkeys(CAMERAS, "")
        self._told: set[str] = set()

    def look(self, *, recording: bool) -> list[tuple[Level, str, str]]:
        """What is new: level, reason and one line each. Silence is told of while recording only.

        A camera that was silent when recording began is not told of: it was refused, or is known as a dummy.
        """
        frozen, silent = self._intake.frozen(), self._intake.silent(CAMERAS, within_ns=SILENT_NS)
        return [
            event
            for camera in CAMERAS
            for event in self._change(
                camera, "frozen" if camera in frozen else "silent" if camera in silent else "", recording
            )
        ]

    def _change(self, camera: str, state: str, recording: bool) -> list[tuple[Level, str, str]]:
        before, self._state[camera] = self._state[camera], state
        if state == before:
            return []
        if not state:
            if camera not in self._told:
                return []
            self._told.discard(camera)
            return [(Level.INFO, "camera_back", f"{camera} delivers new pictures again")]
        if state == "silent" and not recording:
            return []
        self._told.add(camera)
        return [(Level.WARN, f"camera_{state}", _TOLD[state].format(camera))]
