# SPDX-License-Identifier: Apache-2.0
"""The recorder's parameters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from h1_recorder.recorder.streams import Stream, recorded_streams
from h1_training_node.cameras import CAMERA_TOPICS, CAMERAS
from h1_training_node.parameter import parameter


@dataclass(frozen=True)
class RecorderParameters:
    """Parameters of the recorder node; `recorder/start` says what a single episode is about."""

    save_dir: str = parameter(
        "", "folder of all sessions, searched for journals left behind at start; empty: no search until an episode"
    )
    fps: int = parameter(50, "rows per second of an episode", unit="Hz", low=1, high=250)
    camera_fps: float = parameter(
        30.0, "images per second that a camera should deliver; twice its period is stale", unit="Hz", low=1, high=200
    )
    allow_dummy_cameras: bool = parameter(False, "record grey images for a camera that delivers none")
    ego_cam_topic: str = parameter(CAMERA_TOPICS["ego_cam"], "topic of the head camera, CompressedImage")
    cam_left_wrist_topic: str = parameter(CAMERA_TOPICS["cam_left_wrist"], "topic of the left wrist camera")
    cam_right_wrist_topic: str = parameter(CAMERA_TOPICS["cam_right_wrist"], "topic of the right wrist camera")
    extra_topics: tuple[str, ...] = parameter((), "further topics to journal; they are not in the HDF5 file")
    keep_journal: bool = parameter(False, "keep each episode's journal (.episode_N.mcap) beside it")
    keep_journal_gb: float = parameter(50.0, "kept journals of a folder take at most this", unit="GB", low=0)
    keep_journal_days: float = parameter(30.0, "a kept journal is deleted after this", unit="days", low=0)
    discarded_days: float = parameter(7.0, "a discarded episode is deleted after this", unit="days", low=0)
    min_free_start_gb: float = parameter(5.0, "recording is refused with less free space", unit="GB", low=0)
    min_free_stop_gb: float = parameter(
        0.5, "an episode is finished when what its file will need leaves less than this", unit="GB", low=0
    )
    queue_mb: float = parameter(48.0, "messages that may wait for a slow disk; more are dropped", unit="MB", low=1)

    def __post_init__(self) -> None:
        if self.save_dir and not Path(self.save_dir).is_absolute():
            raise ValueError(f"parameter 'save_dir' is '{self.save_dir}'; expected an absolute path")
        self.streams()

    def streams(self) -> tuple[Stream, ...]:
        """Everything that is journaled.

        Raises:
            ValueError: a topic is named twice.
        """
        topics = {camera: str(getattr(self, f"{camera}_topic")) for camera in CAMERAS}
        return recorded_streams(topics, self.extra_topics)
