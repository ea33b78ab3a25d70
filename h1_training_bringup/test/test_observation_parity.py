# SPDX-License-Identifier: Apache-2.0
"""What the policy saw is what is recorded: the bridge's image at an instant beside the one of the row at that instant.

Both choose by the same rule and the same times (`h1_training_node.cameras`). The bridge chooses from what it had
received by then, the recorder from all that was dated by then. So the row has the same image, or a later one that was
under way at the instant: dated before it, and received by the bridge after it. It is never an older one, and
never further on than deliveries take.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h1_policy_bridge.observation import LatestInputs
from h1_recorder.episode.timeline import make_rows
from h1_recorder.episode.tracks import ActionTrack, ArmTrack, CameraTrack, HandTrack, StateTrack, Tracks
from h1_training_node.cameras import CAMERAS, image_time_ns
from h1_training_node.message_numbers import ArmMode

MS = 1_000_000
PERIOD_MS = 1000 / 30
ROWS_MS = 2000


@dataclass(frozen=True)
class Sent:
    """One image: when it was stamped, and when each of the two received it, ns; its number is its content."""

    number: int
    stamp_ns: int
    by_bridge_ns: int
    by_recorder_ns: int


def camera(rng: random.Random, jitter_ms: float, delivery_ms: float) -> list[Sent]:
    """Two seconds of images with jitter, each delivered to both within `delivery_ms`, in order."""
    sent, last = [], 0
    for number in range(int(ROWS_MS / PERIOD_MS) + 8):
        stamp = round((number * PERIOD_MS - 100 + rng.uniform(0, jitter_ms)) * MS) + 1000 * MS
        bridge = max(last, stamp + round(rng.uniform(0.1, delivery_ms) * MS))
        sent.append(Sent(number, stamp, bridge, stamp + round(rng.uniform(0.1, delivery_ms) * MS)))
        last = bridge
    return sent


def recorded(cameras: dict[str, list[Sent]]) -> dict[str, dict[int, int]]:
    """Number of the image in the row of each tick, by camera: the rows that the recorder makes of the session."""
    stamps = np.arange(1000, 1000 + ROWS_MS, 20, dtype=np.int64) * MS
    joints = np.zeros((len(stamps), 14), np.float32)
    tracks = Tracks(
        arm=ArmTrack(
            stamp=stamps,
            mode=np.full(len(stamps), int(ArmMode.POLICY), np.uint8),
            reason=["requested"] * len(stamps),
            forced=np.zeros(len(stamps), np.bool_),
            **dict.fromkeys(("q", "dq", "tau", "q_command", "kp", "kd"), joints),
        ),
        state=StateTrack(np.array([0], np.int64), ["EXECUTING"]),
        action=ActionTrack(np.zeros(0, np.int64), np.zeros((0, 14), np.float32)),
        hands={
            side: HandTrack(np.zeros(0, np.int64), *(np.zeros((0, 6), np.float32),) * 2) for side in ("left", "right")
        },
        cameras={name: track(name, sent) for name, sent in cameras.items()},
        events=[],
    )
    rows = make_rows(tracks, fps=50)
    return {
        name: {int(tick): tracks.cameras[name].data[index][0] for tick, index in zip(rows.tick, found, strict=True)}
        for name, found in rows.cameras.items()
    }


def track(name: str, sent: list[Sent]) -> CameraTrack:
    times = [image_time_ns(name, image.stamp_ns, image.by_recorder_ns) for image in sent]
    order = sorted(range(len(sent)), key=lambda i: times[i])
    data = [memoryview(bytes([sent[i].number])) for i in order]
    return CameraTrack(np.array(times, np.int64)[order], data, ["jpeg"] * len(sent))


def observed(name: str, sent: list[Sent], at_ns: int) -> int:
    """Number of the image that an observation at `at_ns` has: what the bridge keeps of all that it received by then."""
    latest = LatestInputs()
    for image in sorted(sent, key=lambda image: image.by_bridge_ns):
        if image.by_bridge_ns <= at_ns:
            latest.add_image(name, bytes([image.number]), stamp_ns=image.stamp_ns, received_ns=image.by_bridge_ns)
    return int(latest.images[name].value[0])


@given(st.integers(0, 10**6), st.floats(0, 15), st.floats(0.2, 25))
@settings(max_examples=40)
def test_the_row_has_the_image_of_the_observation_or_one_that_was_under_way(
    seed: int, jitter_ms: float, delivery_ms: float
) -> None:
    rng = random.Random(seed)
    cameras = {name: camera(rng, jitter_ms, delivery_ms) for name in CAMERAS}
    rows = recorded(cameras)
    for name, sent in cameras.items():
        for tick, in_row in rows[name].items():
            seen = observed(name, sent, tick)
            between = [image for image in sent if min(seen, in_row) < image.number <= max(seen, in_row)]
            most = 1 + int(delivery_ms / (PERIOD_MS - jitter_ms))
            assert len(between) <= most, "no more than can be under way at once"
            for image in between:
                assert image.stamp_ns <= tick < image.stamp_ns + delivery_ms * MS + 1, "it was under way"
                if name == "ego_cam":
                    assert in_row > seen, "the row is never behind the policy"


def test_without_an_image_under_way_both_are_the_same() -> None:
    sent = [
        Sent(n, round((n * PERIOD_MS + 913.7) * MS), *(round((n * PERIOD_MS + 914.7) * MS),) * 2) for n in range(70)
    ]
    rows = recorded(dict.fromkeys(CAMERAS, sent))
    for name in CAMERAS:
        under_way = 0
        for tick, in_row in rows[name].items():
            if any(image.stamp_ns <= tick < image.by_bridge_ns for image in sent):
                under_way += 1
                continue
            assert observed(name, sent, tick) == in_row
        assert under_way < len(rows[name]) / 10


@pytest.mark.parametrize("name", CAMERAS)
def test_an_image_that_overtakes_another_is_chosen_by_its_time_by_both(name: str) -> None:
    early, late = Sent(1, 1100 * MS, 1140 * MS, 1140 * MS), Sent(2, 1120 * MS, 1125 * MS, 1125 * MS)
    sent = [Sent(0, 1000 * MS, 1001 * MS, 1001 * MS), early, late]
    rows = recorded(dict.fromkeys(CAMERAS, sent))
    tick = 1150 * MS
    assert observed(name, sent, tick) == rows[name][tick] == (2 if name == "ego_cam" else 1)
