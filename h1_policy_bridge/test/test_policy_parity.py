# SPDX-License-Identifier: Apache-2.0
"""What the policy saw is what is recorded: one rule, applied to what had arrived and to all that was stamped."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from h1_policy_bridge.observation import LatestInputs
from h1_training_node.cameras import CAMERAS, image_time_ns, newest

MS = 1_000_000
PERIOD_NS = 33 * MS

jitters = st.lists(st.tuples(st.integers(-10, 10), st.integers(0, 32)), min_size=3, max_size=40)


def arrivals(jitter: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(stamp, reception) of a camera at 30 Hz: stamps jitter, delivery takes less than a period."""
    return [(i * PERIOD_NS + off * MS, i * PERIOD_NS + (off + delay) * MS) for i, (off, delay) in enumerate(jitter, 1)]


def observed(camera: str, images: list[tuple[int, int]], at_ns: int) -> int:
    """Index of the image that an observation at `at_ns` is made of; -1 for none."""
    latest = LatestInputs()
    for index, (stamp_ns, received_ns) in sorted(enumerate(images), key=lambda item: item[1][1]):
        if received_ns <= at_ns:
            latest.add_image(camera, index, stamp_ns=stamp_ns, received_ns=received_ns)
    return latest.images[camera].value if camera in latest.images else -1


@given(jitter=jitters, at_ms=st.integers(0, 1500), camera=st.sampled_from(CAMERAS))
def test_an_observation_and_a_row_at_one_instant_differ_by_the_image_that_was_under_way_at_most(jitter, at_ms, camera):
    images, at_ns = arrivals(jitter), at_ms * MS
    times = np.array([image_time_ns(camera, stamp_ns, received_ns) for stamp_ns, received_ns in images])
    order = np.argsort(times, kind="stable")
    position = newest(times[order], at_ns)
    recorded = int(order[position]) if position >= 0 else -1
    seen = observed(camera, images, at_ns)
    if seen != recorded:
        assert times[recorded] <= at_ns < images[recorded][1]
        assert np.flatnonzero(order == recorded)[0] - (np.flatnonzero(order == seen)[0] if seen >= 0 else -1) == 1
    if camera != "ego_cam":  # placed by reception: what had arrived is all that there was
        assert seen == recorded


def test_an_image_that_arrives_after_a_later_one_does_not_replace_it():
    latest = LatestInputs()
    latest.add_image("ego_cam", b"later", stamp_ns=200 * MS, received_ns=205 * MS)
    latest.add_image("ego_cam", b"earlier", stamp_ns=170 * MS, received_ns=210 * MS)
    assert latest.images["ego_cam"].value == b"later"


def test_an_image_from_the_future_is_not_taken():
    latest = LatestInputs()
    latest.add_image("ego_cam", b"now", stamp_ns=200 * MS, received_ns=205 * MS)
    latest.add_image("ego_cam", b"of another clock", stamp_ns=9_000 * MS, received_ns=210 * MS)
    assert latest.images["ego_cam"].value == b"now"
