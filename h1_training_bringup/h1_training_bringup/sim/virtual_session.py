# SPDX-License-Identifier: Apache-2.0
"""Episodes at virtual time: real controller, robot, cameras, person and blending of chunks, in one process.

For evaluating a policy on many objects, and for learning without a graph. What is left out is what stands between
processes: messages, recorder, session manager. `test_learn_graph.py` ties the figures to those of a real session.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from h1_policy_bridge.chunk import Chunk
from h1_policy_bridge.images import stretched
from h1_policy_bridge.strategies import TICK_NS, TICKS_PER_S, Blend, StrategyConfig
from h1_policy_bridge.training_server.policy import Policy
from h1_policy_bridge.training_server.rows import IMAGE_PX, EpisodeRows
from h1_training_bringup.sim.cameras import CameraParameters, CameraRig
from h1_training_bringup.sim.person import Person, SessionView
from h1_training_bringup.sim.pushing import AREAS, make_task
from h1_training_bringup.sim.rig import Rig
from h1_training_bringup.sim.robot import RobotParameters
from h1_training_bringup.sim.scene import Placing, SceneObject, scene_object
from h1_training_bringup.sim.task import DONE, PROMPTS, REACH, Judgement, Measured, Task
from h1_training_node.cameras import CAMERAS
from h1_training_node.message_numbers import ArmMode

_TICK_S = TICK_NS / 1e9
_IMAGE_EVERY = 5
"""Rows between two images that are kept: what trainers take."""
_LATENCY_TICKS = 4
"""From observation to chunk: inference and the way there and back."""
_HOME_LIMIT_S, _STILL_RAD, _STILL_RAD_S = 8.0, 0.04, 0.02
_LONGEST_CORRECTION_TICKS = 500

Joints = NDArray[np.float64]


@dataclass(frozen=True)
class Rollout:
    """What came of one episode.

    Attributes:
        succeeded: measured at the body, before any correction.
        verdict: of the operator, or `"time"`, or the reason for which the arms left POLICY.
        best_m, end_m: nearest to and last distance from the place by the policy.
        corrected_m: distance after the correction; None without one.
        policy_s, human_s: how long each lasted.
        rows: what a recorder would have; None if nobody asked.
    """

    succeeded: bool
    verdict: str
    best_m: float
    end_m: float
    corrected_m: float | None
    policy_s: float
    human_s: float
    rows: EpisodeRows | None


@dataclass
class _Recording:
    qpos: list[Joints] = field(default_factory=list)
    action: list[Joints] = field(default_factory=list)
    is_human: list[bool] = field(default_factory=list)
    images: dict[int, NDArray[np.uint8]] = field(default_factory=dict)


class VirtualSession:
    """One robot, one table; each episode begins at home.

    Args:
        seed: of the robot, the scene and the person.
        cameras: how they draw.
        scene_seed: of the objects that a policy is only tried on, if it is another one.
        saturation: of the object's colour, as a factor.
        further: what lies on the table besides the object.
        keys: cameras that the policy is shown; the others are black.
        task: see `task.TASKS`.
    """

    def __init__(
        self,
        seed: int,
        *,
        scene_seed: int | None = None,
        cameras: CameraParameters | None = None,
        saturation: float = 1.0,
        further: Iterable[SceneObject] = (),
        keys: tuple[str, ...] = CAMERAS[:1],
        task: str = REACH,
    ) -> None:
        self._robot = RobotParameters(seed=seed, task=task)
        self._scene_seed = seed if scene_seed is None else scene_seed
        self._placing = Placing(seed, area=AREAS[task])
        self._saturation = saturation
        self._keys = keys
        self._further = tuple(further)
        self._cameras = CameraRig(cameras or CameraParameters(seed=seed))
        self._person = Person(seed, self._robot.person_force_n)
        self._rig = _rig_at_home(self._robot)
        self._home = self._rig.q
        self._black = np.zeros((IMAGE_PX, IMAGE_PX, 3), np.uint8)

    def episode(self, policy: Policy | None, epoch: int, number: int, *, corrects: bool, records: bool) -> Rollout:
        """Run one episode.

        Args:
            policy: what moves the arms; None: nothing does, and the person demonstrates at once.
            epoch, number: by which demonstrations differ, and the object that a policy is only tried on: that lies
                where chance puts it. Where the robot is to learn, the person puts it (`scene.Placing`).
            corrects: an operator stops the policy, and the person leads the hand where it should be.
            records: give the rows, too.
        """
        if not self._rig.place(self._home):
            self._rig = _rig_at_home(self._robot)
        self._rig.sent.clear()
        is_attempt = not (corrects or records)
        area = AREAS[self._robot.task]
        thing = scene_object(epoch, number, self._scene_seed, area) if is_attempt else self._placing.put()
        run = _Run(self, self._rig, make_task(self._robot.task, self._coloured(thing), self._rig.robot.body), records)
        verdict = run.policy(policy, is_attempt) if policy is not None else "demonstration"
        best_m, end_m, succeeded = run.best_m, run.distance_m, run.succeeded
        policy_ticks, corrected_m = run.ticks, None
        if corrects:
            run.person(self._person, SessionView("DAMPING", epoch, number, f"{epoch}/{number}", 0))
            corrected_m = run.distance_m if run.guided else None
        return Rollout(
            succeeded=succeeded,
            verdict=verdict,
            best_m=best_m,
            end_m=end_m,
            corrected_m=corrected_m,
            policy_s=policy_ticks * _TICK_S,
            human_s=(run.ticks - policy_ticks) * _TICK_S if run.guided else 0.0,
            rows=run.rows(f"epoch {epoch} episode {number}") if records else None,
        )

    def _coloured(self, thing: SceneObject) -> SceneObject:
        grey = sum(thing.colour_bgr) / 3
        blue, green, red = (round(grey + self._saturation * (colour - grey)) for colour in thing.colour_bgr)
        return replace(thing, colour_bgr=(blue, green, red))

    def observation(self, rig: Rig, things: tuple[SceneObject, ...]) -> dict[str, object]:
        """What the bridge would send, in this robot's names."""
        self._cameras.q, self._cameras.things = rig.q, (*things, *self._further)
        names = dict(zip(CAMERAS, ("cam_head", "cam_left_wrist", "cam_right_wrist"), strict=True))
        images = {
            name: stretched(self._cameras.jpeg(key), IMAGE_PX) if key in self._keys else self._black
            for key, name in names.items()
        }
        return {"state": rig.q.astype(np.float32), "images": images, "prompt": PROMPTS[self._robot.task]}


class _Run:
    """One episode under way."""

    def __init__(self, session: VirtualSession, rig: Rig, task: Task, records: bool) -> None:
        self._session, self._rig, self._task = session, rig, task
        self._recording = _Recording() if records else None
        self.ticks = 0
        self.guided = False
        self.succeeded = False
        self.distance_m = self.best_m = np.inf
        self._measure()

    def policy(self, policy: Policy, is_attempt: bool) -> str:
        """Let it run until somebody would stop it, a mere attempt until it has succeeded; why that was."""
        rig, blend = self._rig, Blend(StrategyConfig())
        first = self._chunk(policy)
        rig.enter_policy()
        blend.start(first)
        judgement = Judgement(rig.now_ns, self._measure().remaining_m, strays_from_best=self._task.strays_from_best)
        pending: tuple[Chunk, int] | None = None
        for tick in range(round(self._task.limit_s * TICKS_PER_S)):
            if pending is not None and tick >= pending[1] + _LATENCY_TICKS:
                blend.take(*pending, tick)
                pending = None
            if pending is None and blend.wants_chunk(tick, _LATENCY_TICKS):
                pending = (self._chunk(policy), tick)
            step = blend.step(tick)
            if step is None:
                return "no chunk"
            self._record(step.positions, is_human=False)
            rig.act(step.positions)
            rig.run(_TICK_S)
            if rig.mode is not ArmMode.POLICY:
                return rig.controller.reason
            measured = self._measure()
            if verdict := judgement.look(rig.now_ns, measured.distance_m, measured.remaining_m):
                return verdict
            if is_attempt and self.succeeded:
                return DONE
        return "time"

    def person(self, person: Person, view: SessionView) -> None:
        """Let the person lead the hand until the demonstration is done."""
        rig = self._rig
        assert rig.ask(ArmMode.DAMPING) == ""
        rig.run(_TICK_S)
        start = rig.now_ns

        def guide() -> None:
            shown = SessionView(view.state, view.epoch, view.episode, view.episode_id, rig.now_ns)
            is_compliant = rig.robot.inbox.is_compliant
            rig.person = person.forces(rig.now_ns, rig.robot.body.hands_let_go, self._task, shown, is_compliant)
            self.guided |= bool(rig.person.any())

        for _ in range(_LONGEST_CORRECTION_TICKS):
            if person.done_with is not None and rig.now_ns > start:
                break
            self._record(np.zeros_like(rig.q), is_human=True)
            rig.run(_TICK_S, guide)
        person.forces(rig.now_ns, rig.robot.body.hands, self._task, None, False)  # lets go
        rig.person = None
        self._measure()

    def rows(self, name: str) -> EpisodeRows:
        """What a recorder would have."""
        found = self._recording
        assert found is not None
        is_human = np.array(found.is_human)
        return EpisodeRows(
            name=name,
            qpos=np.array(found.qpos),
            action=np.array(found.action),
            is_human=is_human,
            segment=is_human.astype(np.int32),
            tick=TICK_NS * np.arange(len(is_human)),
            succeeded=self.succeeded,
            image=found.images.__getitem__,
        )

    def _chunk(self, policy: Policy) -> Chunk:
        observation = self._session.observation(self._rig, self._task.things)
        actions = np.asarray(policy.infer(observation)["actions"], np.float64)
        return Chunk(actions, self._rig.now_ns, 0.0, 0.0, False, self._rig.q)

    def _measure(self) -> Measured:
        measured = self._task.measure(self._rig.now_ns, self._rig.robot.body.hands)
        self.succeeded, self.distance_m = measured.succeeded, measured.distance_m
        self.best_m = min(self.best_m, measured.distance_m)
        return measured

    def _record(self, action: Joints, *, is_human: bool) -> None:
        self.ticks += 1
        if (into := self._recording) is None:
            return
        row = len(into.qpos)
        if row % _IMAGE_EVERY == 0:
            image = self._session.observation(self._rig, self._task.things)["images"]
            assert isinstance(image, dict)
            into.images[row] = image["cam_head"]
        into.qpos.append(self._rig.q)
        into.action.append(np.asarray(action, float).copy())
        into.is_human.append(is_human)


def _rig_at_home(robot: RobotParameters) -> Rig:
    cv2.setNumThreads(1)
    rig = Rig(robot_parameters=robot)
    rig.take()
    assert rig.ask(ArmMode.HOME) == ""
    rig.run_until(
        lambda: np.abs(rig.q).max() < _STILL_RAD and np.abs(rig.dq).max() < _STILL_RAD_S, "home", _HOME_LIMIT_S
    )
    assert rig.ask(ArmMode.HOLD) == ""
    rig.run(0.2)
    rig.sent.clear()
    return rig
