# SPDX-License-Identifier: Apache-2.0
"""For the arms' tests: settings, readings made by hand, and short cuts to the rig (`sim/rig.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h1_training_bringup.arm_driver.joints import COUNT
from h1_training_bringup.arm_driver.parameters import ArmParameters, GuardParameters, JointSettings
from h1_training_bringup.arm_driver.sensed import Sensed
from h1_training_bringup.sim.rig import MS, Rig
from h1_training_bringup.sim.rig import START_NS as START_NS
from h1_training_bringup.sim.robot import ArmSdkInbox
from h1_training_node.message_numbers import ArmMode
from h1_training_node.parameter import parameter

CONFIG = Path(__file__).parent.parent / "config" / "arms.yaml"
S = 1_000_000_000
MODES = [ArmMode.HOLD, ArmMode.HOME, ArmMode.POLICY, ArmMode.DAMPING]
"""In which the arms are acquired."""


@dataclass(frozen=True)
class QuickParameters(ArmParameters):
    """For tests in real time: the shortest ramp, and watchdogs that tolerate a machine that stands still for seconds.

    A test of one of them sets it, on the command line or here, to what it needs.
    """

    good_state_s: float = parameter(0.1, "")
    min_state_rate_hz: float = parameter(20.0, "")
    acquire_timeout_s: float = parameter(20.0, "")
    acquire_ramp_s: float = parameter(0.5, "")
    acquire_motion_limit_rad: float = parameter(1.0, "")
    release_warning_s: float = parameter(0.5, "")
    release_ramp_s: float = parameter(0.5, "")
    robot_timeout_s: float = parameter(5.0, "")
    stale_action_s: float = parameter(1.5, "")
    session_timeout_s: float = parameter(2.0, "")
    hung_s: float = parameter(10.0, "")
    needs_guard: bool = parameter(False, "")


@dataclass(frozen=True)
class QuickGuardParameters(GuardParameters):
    """The guard's, likewise."""

    release_warning_s: float = parameter(0.5, "")
    release_ramp_s: float = parameter(0.5, "")
    robot_timeout_s: float = parameter(5.0, "")
    silence_s: float = parameter(1.0, "")


def joint_settings() -> JointSettings:
    return JointSettings.from_yaml(CONFIG.read_text())


def reading(stamp_ns: int, q: Any = 0.0, **changes: Any) -> Sensed:
    """A good reading of an upright robot, arms at `q`."""
    values: dict[str, Any] = {
        "stamp_ns": stamp_ns,
        "q": np.full(COUNT, q, float) if np.isscalar(q) else np.array(q, float),
        "dq": np.zeros(COUNT),
        "tau_est": np.zeros(COUNT),
        "temperatures": ((35,) * COUNT, (35,) * COUNT),
        "waist_q": 0.0,
        "down": np.array([0.0, 0.0, -1.0]),
        "mode_machine": 6,
        "tick": stamp_ns // MS,
        "motor_fault": "",
        "motor_remark": "",
        "out_of_range": "",
        "buttons": 0,
    }
    return Sensed(**{**values, **changes})


@pytest.fixture(params=["none", "ramp"])
def arm_sdk_timeout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both things that a robot may do when /arm_sdk falls silent; which one an H1-2 does is not known."""
    does: str = request.param
    monkeypatch.setattr(
        "h1_training_bringup.sim.robot.ArmSdkInbox",
        lambda mode_machine, ramps_down: ArmSdkInbox(mode_machine, ramps_down=does == "ramp" or ramps_down),
    )
    return does


def outward(value: float) -> np.ndarray:
    """Both arms alike, (14,), rad: every joint at `value`, but the upper arms out to the sides, clear of the body."""
    out = abs(value)
    return both_arms((value, out, out, value, value, value, out))


def both_arms(left: tuple[float, ...]) -> np.ndarray:
    """The pose of both arms from the left one's: mirrored where a joint turns about x or z."""
    signs = np.array([1, -1, -1, 1, -1, 1, -1])
    return np.r_[left, signs * left]


def taken(**parameters: object) -> Rig:
    rig = Rig(ArmParameters(**parameters))  # type: ignore[arg-type]
    rig.take()
    return rig


def taken_in(mode: ArmMode) -> Rig:
    """With the arms taken, and in `mode` for a moment."""
    rig = taken()
    assert rig.ask(mode) == ""
    rig.run(0.05)
    return rig


def pause(rig: Rig, seconds: float) -> None:
    """The driver's process stands still; the robot and the session live on."""
    for _ in range(round(seconds * 500)):
        rig.now_ns += 2 * MS
        rig.robot.advance(rig.now_ns)
        sample = rig.robot.state_sample()
        assert sample is not None
        rig.intake.receive(sample, rig.now_ns)
