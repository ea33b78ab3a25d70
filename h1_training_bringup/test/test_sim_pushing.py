# SPDX-License-Identifier: Apache-2.0
"""Pushing: the cube moves where a hand pushes it and nowhere else, the verdict is the body's, a person can do it."""

from __future__ import annotations

import numpy as np
import pytest

from h1_policy_bridge.training_server.rows import EpisodeRows
from h1_policy_bridge.training_server.small import HoldPolicy, SmallSettings, fit, samples
from h1_training_bringup.sim.cameras import CameraParameters, CameraRig
from h1_training_bringup.sim.cameras_view import head_view
from h1_training_bringup.sim.pushing import FIELD_M, PUSHED, PushDemonstration, PushTask, field_of, make_task
from h1_training_bringup.sim.robot_body import DOFS, MotorCommands, RobotBody
from h1_training_bringup.sim.scene import Placing, SceneObject, scene_from_text, scene_object, scene_text
from h1_training_bringup.sim.table import Cube
from h1_training_bringup.sim.task import PUSH, STRAYS, SUCCESS_M, SUCCESS_NS, Judgement
from h1_training_bringup.sim.virtual_session import Rollout, VirtualSession
from h1_training_node.cameras import CAMERAS

DEMONSTRATIONS, EVALUATED, UNSEEN = 6, 4, 5000
LEAST_PUSH_M = 0.05
STEPS_A_ROW = 20
pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def session() -> VirtualSession:
    return VirtualSession(1, task=PUSH)


@pytest.fixture(scope="module")
def rollouts(session: VirtualSession) -> list[Rollout]:
    """What a person does with the cube in a few scenes."""
    return [session.episode(None, 0, number, corrects=True, records=True) for number in range(DEMONSTRATIONS)]


def body_with(thing: SceneObject) -> tuple[RobotBody, PushTask]:
    body = RobotBody(np.zeros(DOFS), pushes=True)
    task = make_task(PUSH, thing, body)
    assert isinstance(task, PushTask)
    return body, task


def follow(body: RobotBody, task: PushTask, qpos: np.ndarray) -> bool:
    """Command the arms along `qpos`, (T, 14), a row every 20 ms; whether the task was done meanwhile."""
    kp, kd = np.full(DOFS, 200.0), np.full(DOFS, 6.0)
    succeeded = False
    for row, q in enumerate(qpos):
        body.command(MotorCommands(q=np.r_[0.0, q], tau=body.carrying_torque.copy(), kp=kp, kd=kd))
        body.step(STEPS_A_ROW)
        succeeded = task.measure(row * STEPS_A_ROW * 1_000_000, body.hands).succeeded
    return succeeded


@pytest.fixture(scope="module")
def demonstrated(rollouts: list[Rollout]) -> tuple[SceneObject, np.ndarray]:
    """Where the cube lay in a demonstration that succeeded, and the arms' way, (T, 14)."""
    assert rollouts[0].rows is not None and rollouts[0].corrected_m is not None and rollouts[0].corrected_m < SUCCESS_M
    return Placing(1, area=PUSHED).put(), rollouts[0].rows.qpos


def test_arms_commanded_along_a_demonstration_push_the_cube_into_the_field(demonstrated) -> None:
    thing, qpos = demonstrated
    body, task = body_with(thing)
    assert follow(body, task, np.vstack([qpos, np.repeat(qpos[-1:], 40, axis=0)]))
    moved = body.cube.position_m - thing.position_m
    assert moved[0] > LEAST_PUSH_M and abs(moved[2]) < 0.002, "along the table"


def test_hands_that_stay_away_move_nothing_and_the_verdict_follows_the_cube_alone(demonstrated) -> None:
    thing, qpos = demonstrated
    body, task = body_with(thing)
    assert not follow(body, task, np.repeat(qpos[:1], 50, axis=0))
    np.testing.assert_allclose(body.cube.position_m, thing.position_m, atol=1e-3)
    hands = body.hands.copy()
    assert not task.measure(10 * SUCCESS_NS, hands).succeeded
    x, y, _ = task.field.position_m
    body.put(SceneObject((x, y, thing.position_m[2]), 0.0, thing.colour_bgr, thing.side))
    assert not task.measure(11 * SUCCESS_NS, hands).succeeded, "not for long enough yet"
    assert task.measure(12 * SUCCESS_NS, hands).succeeded


def test_a_cube_that_lies_elsewhere_is_missed_by_the_same_motion(demonstrated) -> None:
    thing, qpos = demonstrated
    x, y, z = thing.position_m
    body, task = body_with(SceneObject((x, y + 0.12, z), thing.yaw_rad, thing.colour_bgr, thing.side))
    assert not follow(body, task, qpos)


def test_without_the_task_there_is_no_cube_and_nothing_meets() -> None:
    body = RobotBody(np.zeros(DOFS))
    assert body._model.nv == DOFS and body._model.ngeom == 0


def test_a_person_pushes_most_cubes_into_the_field_and_each_of_these_far_enough(session, rollouts) -> None:
    done = [one for one in rollouts if one.corrected_m is not None and one.corrected_m < SUCCESS_M]
    assert len(done) >= DEMONSTRATIONS - 1
    (_, farthest_x), _ = PUSHED
    assert field_of(session._placing.put()).position_m[0] - SUCCESS_M - farthest_x >= LEAST_PUSH_M - 1e-9


def test_a_policy_that_holds_pushes_nothing_and_a_few_demonstrations_teach_to_push(session, rollouts) -> None:
    def successes(policy: object, attempts: int) -> int:
        found = (session.episode(policy, UNSEEN, n, corrects=False, records=False) for n in range(attempts))
        return sum(one.succeeded for one in found)

    assert successes(HoldPolicy(), 2) == 0
    rows: list[EpisodeRows] = [one.rows for one in rollouts if one.rows is not None]
    assert successes(fit(samples(rows, SmallSettings()), SmallSettings()), EVALUATED) >= 2


def test_the_field_can_be_seen_in_the_heads_image_and_crosses_the_wire() -> None:
    thing = scene_object(1, 1, 0, PUSHED)
    field = field_of(thing)
    assert scene_from_text(scene_text([field, thing])) == (field, thing)
    rig, view = CameraRig(CameraParameters()), head_view()
    x, y, z = field.position_m
    corner = np.array([[x + 0.4 * FIELD_M, y + (-0.4 if y > 0 else 0.4) * FIELD_M, z]])
    column, row = view.pixels(view.in_camera(corner))[0].round().astype(int)
    without = rig.image(CAMERAS[0])[row, column].astype(int)
    rig.things = (thing, field)
    assert (rig.image(CAMERAS[0])[row, column] > without + 40).any() and rig.image(CAMERAS[0])[row, column].min() > 180


def test_an_operator_stops_a_policy_that_loses_what_it_had_reached() -> None:
    for from_best, verdict in ((True, STRAYS), (False, "")):
        judgement = Judgement(0, 0.2, strays_from_best=from_best)
        assert judgement.look(1, 0.1, 0.1) == ""
        assert judgement.look(2, 0.1, 0.145) == verdict


def at(x_m: float, y_m: float) -> PushTask:
    """The task of the left arm, with its cube this far short of, and aside of, the field's middle."""
    thing = SceneObject((0.45, 0.25, 0.0), 0.0, (0, 0, 255), 0)
    x, y, _ = field_of(thing).position_m
    return PushTask(thing, lambda: Cube(np.array([x - x_m, y + y_m, thing.position_m[2]]), 0.0))


def test_a_cube_that_has_slipped_too_far_aside_to_be_pushed_in_is_one_that_strays() -> None:
    def remaining_m(task: PushTask) -> float:
        cube, _ = task.missing()
        return task.distances(cube - [0.093, 0.0, 0.0])[1]

    for x_m, y_m, leaves in ((0.08, 0.04, False), (0.05, 0.04, True), (0.02, 0.01, False), (0.0, 0.018, False)):
        extra = remaining_m(at(x_m, y_m)) - np.hypot(x_m, y_m)
        assert (extra > 0.04) == leaves, (x_m, y_m)


def demonstrated_from(task: PushTask, from_cube: list[float], rows: int) -> tuple[PushDemonstration, np.ndarray]:
    """A demonstration that begins with the left hand there, and its first rows, (rows, 3), m."""
    cube, _ = task.missing()
    hands = np.array([cube + np.array(from_cube), [0.35, -0.2, 0.1]])
    demonstration = PushDemonstration(hands, task, np.random.default_rng(0))
    return demonstration, np.array([demonstration.at(row / 50)[0] for row in range(1, rows)])


@pytest.mark.parametrize("from_cube", [[-0.03, 0.0, 0.06], [-0.05, 0.09, 0.01]], ids=["on the cube", "beside it"])
def test_a_person_lifts_a_hand_that_is_not_behind_the_cube_and_goes_round(from_cube: list[float]) -> None:
    task = at(0.06, 0.0)
    _, way = demonstrated_from(task, from_cube, 200)
    cube_x = task.missing()[0][0]
    top = int(np.argmax(way[:, 2]))
    assert way[top, 2] > 0.08 and np.ptp(way[:top, 0]) < 1e-9, "straight up first"
    below_cubes_top = top + int(np.argmax(way[top:, 2] < 0.03))
    assert way[below_cubes_top, 0] < cube_x - 0.1, "down only behind it"
    assert way[-1, 2] < 0.03


def test_a_person_gives_up_a_cube_that_does_not_come() -> None:
    demonstration, _ = demonstrated_from(at(0.06, 0.0), [-0.1, 0.0, 0.03], 300)
    assert demonstration.is_over(6.0) and not demonstration.is_over(3.0)
