# SPDX-License-Identifier: Apache-2.0
"""The simulated cameras' images: sound JPEGs that show arms and object, and nothing that only the session knows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_robot_builders import grasp_point

from h1_training_bringup.arm_driver.joints import LEFT_ARM, RIGHT_ARM
from h1_training_bringup.sim import scene
from h1_training_bringup.sim.cameras import CameraParameters, CameraRig
from h1_training_bringup.sim.cameras_drawing import Skeleton
from h1_training_bringup.sim.cameras_view import HEIGHT, WIDTH, head_view, wrist_view
from h1_training_node.cameras import CAMERAS


@pytest.fixture(scope="module")
def rig() -> CameraRig:
    rig = CameraRig(CameraParameters())
    rig.q, rig.things = np.zeros(14), (thing(),)
    return rig


def thing(epoch: int = 1, episode: int = 1) -> scene.SceneObject:
    return scene.scene_object(epoch, episode, 0)


def decoded(jpeg: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the pixels above the text that differ clearly."""
    return float((np.abs(one[:440].astype(int) - other[:440]).max(axis=2) > 40).mean())


@pytest.mark.parametrize("key", CAMERAS)
def test_each_camera_makes_jpegs_of_a_real_cameras_size(rig: CameraRig, key: str) -> None:
    jpeg = rig.jpeg(key)
    assert decoded(jpeg).shape == (HEIGHT, WIDTH, 3)
    assert 25_000 < len(jpeg) < 75_000


@pytest.mark.parametrize("key", CAMERAS)
def test_a_image_changes_when_the_arms_move(rig: CameraRig, key: str) -> None:
    home = decoded(rig.jpeg(key))
    rig.q = np.full(14, 0.3)
    moved = decoded(rig.jpeg(key))
    rig.q = np.zeros(14)
    assert difference(home, moved) > 0.02


def test_a_still_scene_makes_no_two_frames_of_the_same_bytes_and_none_that_looks_different(rig: CameraRig) -> None:
    jpegs = [rig.jpeg("ego_cam") for _ in range(5)]
    assert len(set(jpegs)) == 5
    first, second = (decoded(jpeg).astype(int) for jpeg in jpegs[:2])
    assert np.abs(first - second).mean() < 4
    assert difference(first, second) < 1e-3


def test_the_object_is_elsewhere_in_the_next_episode(rig: CameraRig) -> None:
    first = rig.image("ego_cam").copy()
    rig.things = (thing(1, 2),)
    second = rig.image("ego_cam").copy()
    rig.things = (thing(),)
    assert difference(first, second) > 0.002


def test_captions_and_the_person_are_drawn_only_for_people() -> None:
    for chosen, for_people in ((CameraParameters(), False), (CameraParameters(captions=True, show_person=True), True)):
        rig = CameraRig(chosen)
        before = CameraRig(chosen)
        for one in (rig, before):
            one.things, one.q = (thing(),), np.tile([-0.5, 0.1, 0.0, 0.3, 0.0, 0.0, 0.0], 2)
        rig.caption, rig.is_guided = "DAMPING epoch 3 episode 7", True
        plain, captioned = before.image("ego_cam").copy(), rig.image("ego_cam").copy()
        assert (difference(plain[:440], captioned[:440]) > 0.01) == for_people
        assert (np.abs(plain[455:].astype(int) - captioned[455:]).max() > 100) == for_people


def test_light_and_a_second_object_change_what_is_seen() -> None:
    dark = CameraRig(CameraParameters(light=0.6))
    bright = CameraRig(CameraParameters())
    assert dark.image("ego_cam").mean() < 0.75 * bright.image("ego_cam").mean()
    alone = bright.image("ego_cam").copy()
    bright.things = (thing(), thing(1, 2))
    assert difference(alone, bright.image("ego_cam")) > 0.002


@settings(max_examples=30, deadline=None)
@given(epoch=st.integers(-1, 1000), episode=st.integers(0, 1000))
def test_the_head_sees_the_object_of_every_episode(epoch: int, episode: int) -> None:
    view = head_view()
    (u, v) = view.pixels(view.in_camera(np.array([scene.scene_object(epoch, episode, 0).position_m])))[0]
    assert 20 < u < WIDTH - 20 and 20 < v < HEIGHT - 60


def test_the_scene_survives_its_text() -> None:
    things = (thing(), thing(2, 5))
    assert scene.scene_from_text(scene.scene_text(things)) == things
    for text in ("{}x", '[{"yaw_rad": 1}]', "[3]"):
        with pytest.raises(ValueError):
            scene.scene_from_text(text)


def test_the_scene_is_the_same_for_whoever_asks_and_another_one_for_another_seed() -> None:
    one = scene.scene_object(2, 3, 4)
    scene.scene_object.cache_clear()
    assert scene.scene_object(2, 3, 4) == one
    assert np.abs(np.subtract(one.position_m, scene.scene_object(2, 3, 5).position_m)).max() > 1e-3


def test_the_images_kinematics_are_those_of_the_task() -> None:
    q = np.linspace(-0.4, 0.4, 14)
    arms = Skeleton().pose(q)
    for side, arm in enumerate((LEFT_ARM, RIGHT_ARM)):
        hand = arms.wrists_m[side] + arms.wrist_rotations[side] @ scene.GRASP_IN_WRIST_M
        np.testing.assert_allclose(hand, grasp_point(arm, q[7 * side : 7 * side + 7]), atol=1e-9)


def test_a_wrist_camera_sees_the_hands_finger_tips() -> None:
    arms = Skeleton().pose(np.zeros(14))
    view = wrist_view(arms.wrists_m[0], arms.wrist_rotations[0])
    tip = arms.wrists_m[0] + arms.wrist_rotations[0] @ np.array([0.18, 0.0, -0.03])
    (u, v) = view.pixels(view.in_camera(tip[None]))[0]
    assert abs(u - WIDTH / 2) < 20 and 100 < v < HEIGHT


@settings(max_examples=40, deadline=None)
@given(q=st.lists(st.floats(-3.2, 3.2), min_size=14, max_size=14))
def test_no_pose_of_the_arms_breaks_a_image(q: list[float]) -> None:
    rig = _RIG
    rig.q = np.array(q)
    for key in CAMERAS:
        assert rig.image(key).shape == (HEIGHT, WIDTH, 3)


_RIG = CameraRig(CameraParameters())


def test_two_eyes_stand_side_by_side_and_see_from_two_places() -> None:
    rig = CameraRig(CameraParameters(head_binocular=True))
    image = rig.image("ego_cam")
    assert image.shape == (HEIGHT, 2 * WIDTH, 3)
    assert difference(image[:, :WIDTH], image[:, WIDTH:]) > 0.01


def test_head_and_wrists_may_come_in_one_frame() -> None:
    rig = CameraRig(CameraParameters(head_binocular=True, head_with_wrists=True))
    assert decoded(rig.joined_jpeg()).shape == (HEIGHT, 4 * WIDTH, 3)
