# SPDX-License-Identifier: Apache-2.0
"""Labels of a person's rows, replayed as actions on the simulated robot: the arms move as the person moved them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from h1_recorder.episode.episode import Episode
from h1_recorder.export.arm_response import ArmModel, fitted, response
from h1_recorder.export.labels import Labelling, labelled
from h1_training_bringup.arm_driver.parameters import ArmParameters
from h1_training_bringup.sim.rig import Rig
from h1_training_bringup.sim.robot import RobotParameters
from h1_training_node.message_numbers import ArmMode

pytestmark = pytest.mark.long

FORCE_N = 30.0
ROW_NS = 20_000_000
APART = np.array([-0.2, 0.4, 0.0, 0.3, 0.0, 0.0, 0.0, -0.2, -0.4, 0.0, 0.3, 0.0, 0.0, 0.0])
"""rad, arms held away from the body, so that nothing comes near anything."""
Rows = NDArray[np.float64]


@dataclass
class Recording:
    """Rows of one robot, as the recorder has them: what the driver publishes, 50 times a second."""

    rig: Rig
    rows: dict[str, list[Rows]] = field(
        default_factory=lambda: {name: [] for name in ("qpos", "qvel", "effort", "applied_action", "action")}
    )
    phase: list[str] = field(default_factory=list)

    def row(self, phase: str, action: Rows | None = None) -> None:
        sensed, command = self.rig.intake.latest(), self.rig.command
        assert sensed is not None and command is not None
        self.rows["qpos"].append(sensed.q.copy())
        self.rows["qvel"].append(sensed.dq.copy())
        self.rows["effort"].append(sensed.tau_est.copy())
        self.rows["applied_action"].append(command.q.copy() if phase == "policy" else sensed.q.copy())
        self.rows["action"].append(np.zeros(14) if action is None else action)
        self.phase.append(phase)

    def episode(self) -> Episode:
        joints, length = self.rig.joints, len(self.phase)
        tick = np.arange(length, dtype=np.int64) * ROW_NS
        return Episode(
            path=Path("simulated"),
            **{name: np.array(values, np.float32) for name, values in self.rows.items()},
            phase=np.array(self.phase),
            segment=np.zeros(length, np.int32),
            stamps={"tick": tick, "qpos": tick, "action": np.where(np.array(self.phase) == "policy", tick, -1)},
            hand_qpos=None,
            hand_action=None,
            hand_command=None,
            events=[],
            gaps=[],
            attributes={
                "fps": 50,
                "gains": json.dumps({"kp": joints.kp.tolist(), "kd": joints.kd.tolist()}),
                "limits": json.dumps({"acceleration_rad_s2": joints.acceleration.tolist()}),
            },
        )


class Guide:
    """A person who leads both wrists `way`, (2, 3), m, in 3 s by soft springs, and holds them there."""

    def __init__(self, rig: Rig, way: Rows) -> None:
        self._rig, self._way = rig, way
        self._start = self._last = rig.robot.body.wrists.copy()
        self._elapsed_s = 0.0

    def forces(self) -> Rows:
        """(2, 3), N, of the next 4 ms."""
        self._elapsed_s += 0.004
        share = min(self._elapsed_s / 3.0, 1.0)
        wrists = self._rig.robot.body.wrists.copy()
        wanted = self._start + share**3 * (10 - 15 * share + 6 * share**2) * self._way
        forces = 300.0 * (wanted - wrists) - 25.0 * (wrists - self._last) / 0.004
        self._last = wrists
        most = np.maximum(np.linalg.norm(forces, axis=1, keepdims=True) / FORCE_N, 1.0)
        return np.asarray(forces / most)


def robot(seed: int) -> Rig:
    """A robot whose masses are off the driver's model, in its own way for each seed; its arms are taken."""
    rig = Rig(ArmParameters(), RobotParameters(seed=seed))
    rig.take()
    return rig


def episode_of(seed: int) -> Episode:
    """A policy moves all joints for 8 s, then a person guides both wrists for 4 s."""
    rig = robot(seed)
    recording = Recording(rig)
    rig.enter_policy()
    phases = np.linspace(0.0, 2 * np.pi, 14)
    for n in range(400):
        action = min(n / 100, 1.0) * (APART + 0.15 * np.sin(2 * np.pi * n / 200 + phases))
        rig.act(action)
        recording.row("policy", action)
        rig.run(0.02)
    assert rig.ask(ArmMode.DAMPING) == ""
    rig.run(0.5)
    away_from_the_body = np.array([[0.1, 0.06, 0.08], [0.1, -0.06, 0.06]])
    guide = Guide(rig, np.random.default_rng(seed).uniform(1.0, 1.5, (2, 3)) * away_from_the_body)
    for _ in range(200):
        recording.row("human")
        for _ in range(5):
            rig.person = guide.forces()
            rig.tick()
    return recording.episode()


def replayed(seed: int, start: Rows, labels: Rows) -> Rows:
    """Where the arms of the same robot are when the labels are put out as a policy's actions."""
    rig, found = robot(seed), []
    rig.enter_policy()
    rig.follow(lambda n: start, 3.0)
    assert rig.mode is ArmMode.POLICY, rig.notices
    for label in labels:
        sensed = rig.intake.latest()
        assert sensed is not None
        found.append(sensed.q.copy())
        rig.act(label)
        rig.run(0.02)
    assert rig.mode is ArmMode.POLICY, rig.notices
    return np.array(found)


def error_rad(seed: int, episode: Episode, labelling: Labelling, model: ArmModel) -> float:
    """Root mean square over all joints and human rows between demonstrated and replayed motion."""
    human = episode.phase == "human"
    labels = labelled(episode, labelling, model)[human].astype(float)
    guided = episode.qpos[human].astype(float)
    return float(np.sqrt(((replayed(seed, guided[0], labels) - guided) ** 2).mean()))


@pytest.mark.parametrize("seed", [1, 2])
def test_labels_replayed_as_actions_reproduce_the_demonstration(seed: int) -> None:
    episode = episode_of(seed)
    human = episode.phase == "human"
    assert np.ptp(episode.qpos[human], axis=0).max() > 0.2, "the person moved nothing"
    model = fitted([response(episode)])
    errors = {
        "command": error_rad(seed, episode, Labelling("command"), model),
        "look-ahead as measured": error_rad(seed, episode, Labelling("lookahead"), model),
        "next row": error_rad(seed, episode, Labelling("lookahead", 1), model),
    }
    print(f"\nrobot {seed}, look-ahead {model.lookahead_rows} rows:", {k: round(v, 5) for k, v in errors.items()})
    assert errors["command"] < 0.02 and errors["look-ahead as measured"] < 0.02
    assert errors["command"] < errors["look-ahead as measured"] < errors["next row"]


def test_friction_of_the_simulated_joints_is_found_in_the_policys_rows() -> None:
    model = fitted([response(episode_of(1))])
    share = model.dry_nm / np.array([0.8, 0.8, 0.5, 0.5, 0.2, 0.2, 0.2] * 2)
    assert ((share > 0.4) & (share < 1.4)).all(), share
    assert model.lookahead_rows is not None and 2 <= model.lookahead_rows <= 6
