# SPDX-License-Identifier: Apache-2.0
"""What the policy saw is what is recorded: one rule, applied to what had arrived and to all that was stamped.

The same holds for what each protocol's own server reads off the wire, in every preset.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import simplejpeg
from hypothesis import example, given, settings
from hypothesis import strategies as st
from policy_protocol_builders import as_its_server_reads_it, encoded

from h1_policy_bridge.layout import PRESETS, find
from h1_policy_bridge.metadata import ServerFacts
from h1_policy_bridge.observation import LatestInputs, ObservationRules, Stamped, observe
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
@example(jitter=[(0, 0), (0, 0), (0, 0), (0, 24), (-10, 1)], at_ms=155, camera="ego_cam")  # two under way at once
def test_an_observation_and_a_row_at_one_instant_differ_by_images_that_were_under_way_at_most(jitter, at_ms, camera):
    images, at_ns = arrivals(jitter), at_ms * MS
    times = np.array([image_time_ns(camera, stamp_ns, received_ns) for stamp_ns, received_ns in images])
    order = np.argsort(times, kind="stable")
    position = newest(times[order], at_ns)
    recorded = int(order[position]) if position >= 0 else -1
    seen = observed(camera, images, at_ns)
    if seen != recorded:
        seen_at = np.flatnonzero(order == seen)[0] if seen >= 0 else -1
        for index in order[seen_at + 1 : position + 1]:
            assert times[index] <= at_ns < images[index][1]
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


# -- over the wire ---------------------------------------------------------------------------------------------------

LEVELS = 6
"""Of grey between two neighbouring images, so that an image shows which one it is."""
SUPPORTED = (
    *(("openpi", "h1"), ("openpi", "aloha"), ("openpi", "lerobot")),
    *(("groot", "groot"), ("groot", "groot_n1_5"), ("http", "openvla_oft")),
)


@cache
def numbered(index: int) -> bytes:
    """A JPEG that shows its number."""
    image = np.full((48, 64, 3), index * LEVELS, np.uint8)
    return simplejpeg.encode_jpeg(image, quality=95, colorspace="RGB")


def number_in(image: np.ndarray, *, channels_first: bool) -> int:
    if image.reshape(-1)[:2].tolist() == [0xFF, 0xD8]:  # a JPEG file
        image = simplejpeg.decode_jpeg(image.tobytes(), colorspace="RGB")
        channels_first = False
    while image.ndim > 3:
        assert image.shape[0] == 1
        image = image[0]
    assert image.dtype == np.uint8
    assert image.shape == ((3, 16, 16) if channels_first else (16, 16, 3))
    return round(float(image.mean()) / LEVELS)


@pytest.mark.parametrize(("protocol", "preset"), SUPPORTED)
@pytest.mark.parametrize("takes_jpeg", [False, True])
@settings(max_examples=8, deadline=None)
@given(jitter=st.tuples(jitters, jitters, jitters), at_ms=st.integers(150, 1400), q=st.floats(-1, 1, width=32))
def test_what_a_server_reads_is_what_a_row_has_but_for_an_image_that_was_under_way(
    protocol, preset, takes_jpeg, jitter, at_ms, q
):
    layout, at_ns = PRESETS[preset], at_ms * MS
    streams = {camera: arrivals(one) for camera, one in zip(layout.cameras, jitter, strict=True)}
    latest = LatestInputs(arms=Stamped(at_ns, np.full(14, q)))
    for camera, images in streams.items():
        for index, (stamp_ns, received_ns) in sorted(enumerate(images), key=lambda item: item[1][1]):
            if received_ns <= at_ns:
                latest.add_image(camera, numbered(index), stamp_ns=stamp_ns, received_ns=received_ns)
    rules = ObservationRules(layout, max_age_ns=10**12, image_size=16)
    if set(latest.images) != set(layout.cameras):
        return
    message = observe(latest, rules, now_ns=at_ns, task="stack").message(ServerFacts(takes_jpeg=takes_jpeg))
    read = as_its_server_reads_it(protocol, encoded(protocol, message))
    for part in layout.state:
        if part.first < 14:
            assert (find(read, part.path) == np.float32(q)).all()
    for camera, path in layout.images:
        images = streams[camera]
        seen = number_in(find(read, path), channels_first=layout.channels_first)
        assert seen == observed(camera, images, at_ns)
        times = np.array([image_time_ns(camera, *image) for image in images])
        order = np.argsort(times, kind="stable")
        recorded = int(order[newest(times[order], at_ns)])
        if seen != recorded:
            assert times[recorded] <= at_ns < images[recorded][1]
