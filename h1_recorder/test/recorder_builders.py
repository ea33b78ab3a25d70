# SPDX-License-Identifier: Apache-2.0
"""Builds small journals message by message, with rclpy's own serialization on the writing side."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import Header

from h1_recorder.episode.info import EpisodeEnd, EpisodeInfo
from h1_recorder.recorder.definitions import schema_text
from h1_recorder.recorder.journal import Channel, Journal
from h1_recorder.recorder.parameters import RecorderParameters
from h1_recorder.recorder.streams import Stream
from h1_training_msgs.msg import ArmStatus, Event, HandState, PolicyAction, SessionState
from h1_training_node.cameras import CAMERAS
from h1_training_node.stamps import to_stamp
from h1_training_testing import wait_until

MS = 1_000_000
START_NS = 1_700_000_000_000 * MS
RELEASED, HOLD, HOME, POLICY, DAMPING = range(5)
STREAMS = RecorderParameters().streams()
END = EpisodeEnd("operator", "success", START_NS)


def jpeg(shade: int, width: int = 32, height: int = 24) -> bytes:
    """A small JPEG whose content depends on `shade`."""
    image = np.full((height, width, 3), shade % 256, np.uint8)
    return bytes(cv2.imencode(".jpg", image)[1])


def channel(stream: Stream) -> Channel:
    return Channel(stream.name, "/" + stream.topic, stream.type, schema_text(stream.type), "")


CHANNELS = tuple(channel(stream) for stream in STREAMS)


def open_journal(path: Path, queue_bytes: int = 1 << 24) -> Journal:
    return Journal(path, episode_info(), CHANNELS, queue_bytes=queue_bytes)


def append(journal: Journal, number: int, size: int = 100, name: str = "keyboard") -> bool:
    """A message of `size` bytes that hold nothing but its number."""
    raw = number.to_bytes(4, "little") * (size // 4)
    return journal.append([(START_NS + number, name, raw)]) == 1


def episode_info(**changes: Any) -> EpisodeInfo:
    info = EpisodeInfo(
        uuid=str(uuid.uuid4()),
        index=0,
        epoch=1,
        episode=1,
        task="pick up the block",
        prompt="pick up the block, Advantage=True",
        attributes={"config_sha256": "abc", "serials": {"ego_cam": "1"}},
        started_ns=START_NS,
        streams=STREAMS,
    )
    return replace(info, **changes)


MEASURED, COMMANDED, ASKED = 0.0, 0.1, 0.2
"""rad: which of the three a joint value is; all are within every joint's range for minutes."""


def joints(ms: float, kind: float = MEASURED, size: int = 14) -> np.ndarray:
    """Joint values of an instant, rad: different from each other, and from those of every other instant."""
    return (kind + ms / 1e5 + np.arange(size) / 200).astype(np.float32)


@dataclass
class JournalBuilder:
    """Collects messages with their times in ms after the start, and writes them as a journal in order of reception."""

    messages: list[tuple[int, str, bytes, int]] = field(default_factory=list)
    seq: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, message: Any, stamp_ms: float, delay_ms: float = 1.0, seq: int | None = None) -> None:
        stamp_ns = START_NS + round(stamp_ms * MS)
        if hasattr(message, "header"):
            message.header = Header(stamp=to_stamp(stamp_ns))
        if hasattr(message, "seq"):
            self.seq[name] = self.seq.get(name, 0) + 1 if seq is None else seq
            message.seq = self.seq[name]
        self.messages.append((stamp_ns + round(delay_ms * MS), name, serialize_message(message), stamp_ns))

    def arm(self, ms: float, mode: int, reason: str = "requested", forced: bool = False, **more: Any) -> None:
        message = ArmStatus(mode=mode, reason=reason, acknowledge_needed=forced)
        message.q, message.dq, message.tau_est = joints(ms), joints(0.0) + 1, joints(0.0) + 2
        message.q_command = joints(ms, COMMANDED)
        message.kp, message.kd = [80.0] * 14, [2.0] * 14
        self.add("arm_status", message, ms, **more)
        self.add("joint_states", JointState(position=joints(ms).astype(float).tolist()), ms)

    def arms(self, modes: Iterable[tuple[int, int, int]], period_ms: float = 20.0, **more: Any) -> None:
        """Arm states at `period_ms` for each (from_ms, to_ms, mode)."""
        for start, stop, mode in modes:
            for ms in np.arange(start, stop, period_ms):
                self.arm(float(ms), mode, **more)

    def state(self, ms: float, state: str, **more: Any) -> None:
        self.add("session/state", SessionState(state=state, epoch=1, episode=1), ms, **more)

    def action(self, ms: float, of_ms: float | None = None, size: int = 14, **more: Any) -> None:
        """An action stamped at `ms`, with the values of `of_ms`."""
        message = PolicyAction(positions=joints(ms if of_ms is None else of_ms, ASKED, size))
        self.add("policy/action", message, ms, **more)

    def actions(self, start: int, stop: int, **more: Any) -> None:
        for ms in range(start, stop, 20):
            self.action(ms + 2.0, ms, **more)

    def image(self, camera: str, ms: float, data: bytes | None = None, **more: Any) -> None:
        message = CompressedImage(format="rgb8; jpeg compressed bgr8")
        message.data = jpeg(round(ms)) if data is None else data
        self.add(camera, message, ms, **more)

    def images(self, start: int, stop: int, cameras: Iterable[str] = CAMERAS) -> None:
        for ms in np.arange(start, stop, 1000 / 30):
            for camera in cameras:
                self.image(camera, float(ms))

    def hand(self, side: str, ms: float, angle: float, command: float = 0.5) -> None:
        self.add(f"hands/{side}/state", HandState(angle=[angle] * 6, command=[command] * 6), ms)

    def event(self, ms: float, reason: str, source: str = "arm_driver") -> None:
        self.add("session/event", Event(source=source, level=Event.WARN, reason=reason, detail="a line"), ms)

    def write(self, path: Path, info: EpisodeInfo | None = None, end: EpisodeEnd | None = None) -> Path:
        """The journal at `path`, finished unless `end` is given as an end without reason."""
        info = info or episode_info()
        channels = tuple(channel(stream) for stream in info.streams if stream.type)
        journal = Journal(path, info, channels, queue_bytes=1 << 30)
        for log_ns, name, raw, _ in sorted(self.messages, key=lambda entry: entry[0]):
            journal.append([(log_ns, name, raw)])
        journal.close(end or EpisodeEnd("operator", "success", START_NS + 60_000 * MS))
        wait_until(lambda: journal.closed, "the journal is closed")
        assert journal.error is None
        return path


def ordinary(**changes: Any) -> JournalBuilder:
    """Home, 1 s of policy, 1 s of a person guiding: READY, EXECUTING 200, POLICY 500, DAMPING 1500, SAVING 2500."""
    builder = JournalBuilder()
    builder.arms([(0, 300, HOLD), (300, 400, HOME), (400, 500, HOLD), (500, 1500, POLICY), (1500, 2600, DAMPING)])
    for ms in range(0, 2600, 100):
        state = "READY" if ms < 200 else "EXECUTING" if ms < 1500 else "DAMPING" if ms < 2500 else "SAVING"
        builder.state(ms + 0.5, state)
    builder.actions(500, 1500)
    builder.images(0, 2600)
    return builder


def names_in(folder: Path) -> set[str]:
    """Of all that lies in `folder`, hidden files too."""
    return {path.name for path in folder.iterdir()}
