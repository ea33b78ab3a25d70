"""The simulated cameras' pictures: sound JPEGs that show the arms, the object and the session."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h1_training_bringup.arm_driver import joints
from h1_training_bringup.arm_driver.kinematics import LEFT_ARM, RIGHT_ARM
from h1_training_bringup.sim import scene
from h1_training_bringup.sim.cameras import CameraParameters, CameraRig, Situation
from h1_training_bringup.sim.cameras_arms import Skeleton
from h1_training_bringup.sim.cameras_faults import KEYS
from h1_training_bringup.sim.cameras_view import HEIGHT, WIDTH, head_view, wrist_view


@pytest.fixture(scope="module")
def rig() -> CameraRig:
    rig = CameraRig(CameraParameters())
    rig.q = np.zeros(14)
    return rig


def decoded(jpeg: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the pixels above the text that differ clearly."""
    return float((np.abs(one[:440].astype(int) - other[:440]).max(axis=2) > 40).mean())


@pytest.mark.parametrize("key", KEYS)
def test_each_camera_makes_jpegs_of_a_real_cameras_size(rig: CameraRig, key: str) -> None:
    rig.situation = Situation("EXECUTING", 1, 1)
    jpeg = rig.jpeg(key)
    assert decoded(jpeg).shape == (HEIGHT, WIDTH, 3)
    assert 25_000 < len(jpeg) < 75_000


@pytest.mark.parametrize("key", KEYS)
def test_a_picture_changes_when_the_arms_move(rig: CameraRig, key: str) -> None:
    rig.situation = Situation("EXECUTING", 1, 1)
    home = decoded(rig.jpeg(key))
    rig.q = np.full(14, 0.3)
    moved = decoded(rig.jpeg(key))
    rig.q = np.zeros(14)
    assert difference(home, moved) > 0.02


def test_only_the_text_changes_while_nothing_moves(rig: CameraRig) -> None:
    rig.situation = Situation("READY", 1, 1)
    first, second = rig.picture("ego_cam").copy(), rig.picture("ego_cam").copy()
    np.testing.assert_array_equal(first[:440], second[:440])
    assert (first[440:] != second[440:]).any(), "the frame's number"


def test_the_object_is_elsewhere_in_the_next_episode(rig: CameraRig) -> None:
    rig.situation = Situation("READY", 1, 1)
    first = rig.picture("ego_cam").copy()
    rig.situation = Situation("READY", 1, 2)
    assert difference(first, rig.picture("ego_cam")) > 0.002


@settings(max_examples=30, deadline=None)
@given(epoch=st.integers(-1, 1000), episode=st.integers(0, 1000))
def test_the_head_sees_the_object_of_every_episode(epoch: int, episode: int) -> None:
    view = head_view()
    (u, v) = view.pixels(view.in_camera(np.array([scene.scene_object(epoch, episode, 0).position_m])))[0]
    assert 20 < u < WIDTH - 20 and 20 < v < HEIGHT - 60


@settings(max_examples=20, deadline=None)
@given(epoch=st.integers(-1, 1000), episode=st.integers(0, 1000))
def test_reaching_is_modest_safe_and_brings_the_hand_before_the_object(epoch: int, episode: int) -> None:
    q = scene.reach_targets(epoch, episode)
    assert q.shape == (14,)
    assert (np.abs(q) <= scene.LARGEST_OFFSET_RAD + 1e-9).all()
    assert (q >= joints.LOWER + 0.1 - 1e-9).all() and (q <= joints.UPPER - 0.1 + 1e-9).all()
    thing = scene.scene_object(epoch, episode, 0)
    hand = scene.grasp_point(RIGHT_ARM if thing.side else LEFT_ARM, q[7 * thing.side : 7 * thing.side + 7])
    goal = np.array(thing.position_m) + scene.HAND_FROM_OBJECT_M
    assert np.linalg.norm(hand - goal) < 0.04


def test_the_scene_is_the_same_for_whoever_asks_and_another_one_for_another_seed() -> None:
    one = scene.scene_object(2, 3, 4)
    scene.scene_object.cache_clear()
    assert scene.scene_object(2, 3, 4) == one
    assert np.abs(np.subtract(one.position_m, scene.scene_object(2, 3, 5).position_m)).max() > 1e-3
    assert np.abs(scene.reach_targets(2, 3, 4) - scene.reach_targets(2, 4, 4)).max() > 1e-3


def test_the_pictures_kinematics_are_those_of_the_reaching() -> None:
    q = np.linspace(-0.4, 0.4, 14)
    arms = Skeleton().pose(q)
    for side, arm in enumerate((LEFT_ARM, RIGHT_ARM)):
        hand = arms.wrists_m[side] + arms.wrist_rotations[side] @ scene.GRASP_IN_WRIST_M
        np.testing.assert_allclose(hand, scene.grasp_point(arm, q[7 * side : 7 * side + 7]), atol=1e-9)


def test_a_wrist_camera_sees_the_hands_finger_tips() -> None:
    arms = Skeleton().pose(np.zeros(14))
    view = wrist_view(arms.wrists_m[0], arms.wrist_rotations[0])
    tip = arms.wrists_m[0] + arms.wrist_rotations[0] @ np.array([0.18, 0.0, -0.03])
    (u, v) = view.pixels(view.in_camera(tip[None]))[0]
    assert abs(u - WIDTH / 2) < 20 and 100 < v < HEIGHT


@settings(max_examples=40, deadline=None)
@given(q=st.lists(st.floats(-3.2, 3.2), min_size=14, max_size=14))
def test_no_pose_of_the_arms_breaks_a_picture(q: list[float]) -> None:
    rig = _RIG
    rig.q = np.array(q)
    for key in KEYS:
        assert rig.picture(key).shape == (HEIGHT, WIDTH, 3)


_RIG = CameraRig(CameraParameters())


def test_two_eyes_stand_side_by_side_and_see_from_two_places() -> None:
    rig = CameraRig(CameraParameters(head_binocular=True))
    picture = rig.picture("ego_cam")
    assert picture.shape == (HEIGHT, 2 * WIDTH, 3)
    assert difference(picture[:, :WIDTH], picture[:, WIDTH:]) > 0.01


def test_head_and_wrists_may_come_in_one_frame() -> None:
    rig = CameraRig(CameraParameters(head_binocular=True, head_with_wrists=True))
    assert decoded(rig.joined_jpeg()).shape == (HEIGHT, 4 * WIDTH, 3)


def test_the_head_sees_the_person_who_guides_the_arms() -> None:
    rig = CameraRig(CameraParameters())
    rig.q = scene.reach_targets(1, 1)
    rig.situation = Situation("EXECUTING", 1, 1)
    alone = rig.picture("ego_cam").copy()
    rig.situation = Situation("DAMPING", 1, 1)
    assert difference(alone, rig.picture("ego_cam")) > 0.01
