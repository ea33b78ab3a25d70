# SPDX-License-Identifier: Apache-2.0
"""DAMPING: the arms carry themselves, give way to a person, and come to rest when let go.

Torque is gravity by the model plus a dry friction that the motors do not have: as with a brush pressed on the joint,
its bristles bend a little before they slip. So an arm that was let go rests although the model is wrong by a tenth, an
unknown object makes it sink slowly only, and a person feels a small resistance. A share of the friction goes with what
gravity asks of the joint, as the errors of the model do: where an arm is stretched out, half a kilogram at the wrist
weighs more than at a hanging one, which is to be guided lightly. kp stays 0: nothing pulls the arm back. The
speed-dependent part, kd, is the motor's own and needs no round trip; it is high at first, so that arms that were moving
stop, and then low, so that a person can guide them. While the robot's state is lost, or a joint's measured angle
cannot be, it is high again, and so it is in the last command before a silence.
"""

from __future__ import annotations

import numpy as np

from h1_training_bringup.arm_driver.joints import COUNT, LOWER, NAMES, UPPER, Joints
from h1_training_bringup.arm_driver.parameters import JointSettings
from h1_training_bringup.arm_driver.robot_model import GravityModel
from h1_training_bringup.arm_driver.sensed import Sensed
from h1_training_bringup.arm_driver.trajectory import PERIOD_S

_BRISTLE_RAD = np.array([0.02, 0.02, 0.02, 0.012, 0.012, 0.012, 0.012] * 2)
"""How far the bristles bend. Less from the elbow on, where a small load soon sets little mass in motion; not less at
the shoulder, where the stiffness that comes of it would be too much for the wire's delay."""
_STANDING_RAD_S = 0.1
_TOLERATED_SHARE = 0.15
"""Of the bound on gravity torque: joint friction and masses that are a tenth off explain that much."""
_SPRING_BACK_RAD_S = 0.02
_RELAX_SHARE = PERIOD_S / 0.03
FADE_S = 1.0
"""After the robot's state was lost; whoever has faded is silent until a person lets it command again."""
_BRAKE_S, _EASE_S = 0.35, 0.3
_SINK_FROM_RAD_S, _SINK_TO_RAD_S = 0.15, 0.25
_SINK_S = 8.0
_HELD_NS = round(1.5 * PERIOD_S * 1e9)
"""At full speed gravity asks for at most 0.11 N·m more a period later, and the spring sees to that."""


class GravityTorque:
    """Bounded gravity torque for a reading.

    Args:
        model: of the arms and what they carry.
        bound_nm: (14,), N·m.
        imu_frame: `"torso"` or `"pelvis"`, where the robot's IMU sits; on the torso the waist's angle is in it already.
    """

    def __init__(self, model: GravityModel, bound_nm: Joints, imu_frame: str) -> None:
        self._model, self._bound = model, bound_nm
        self._imu_on_pelvis = imu_frame == "pelvis"
        self._held, self._held_ns = np.zeros(COUNT), -_HELD_NS

    def of_held(self, sensed: Sensed) -> Joints:
        """The same for arms that their stiffness holds: of this reading, or of the one a period before."""
        if not 0 <= sensed.stamp_ns - self._held_ns < _HELD_NS:
            self._held, self._held_ns = self(sensed), sensed.stamp_ns
        return self._held

    def __call__(self, sensed: Sensed) -> Joints:
        waist = sensed.waist_q if self._imu_on_pelvis else 0.0
        # np.clip takes five times as long as these two, and this runs 250 times a second.
        q = sensed.q
        if sensed.out_of_range:
            # That joint is not where it is measured; the others need a good guess of it to be carried well.
            q = np.minimum(np.maximum(q, LOWER), UPPER)
        torque = self._model.gravity_torque(q, waist, sensed.down)
        if sensed.out_of_range in NAMES:  # one that was meant for another angle may well pull it down
            torque[NAMES.index(sensed.out_of_range)] = 0.0
        np.minimum(torque, self._bound, out=torque)
        return np.maximum(torque, -self._bound, out=torque)


class Damping:
    """The torque of DAMPING, period by period.

    Attributes:
        kd: (14,), N·m·s/rad, for the motors in this period.
        is_firm: keep to the braking kd: the arms are being released, and the robot's own controller pulls at them.
    """

    def __init__(self, settings: JointSettings, gravity: GravityTorque) -> None:
        self._gravity = gravity
        self._stiffness = settings.friction_nm / _BRISTLE_RAD
        self._stiffness_share = settings.friction_share / _BRISTLE_RAD
        self._light, self._extra = settings.kd_damping, settings.kd_brake - settings.kd_damping
        self._bound = settings.feedforward_nm + settings.friction_nm
        self._tolerated = _TOLERATED_SHARE * settings.feedforward_nm
        self._since_s = 0.0
        self._anchor = np.zeros(COUNT)
        self._share = 1.0
        self.kd = settings.kd_damping
        self._carried = 1.0
        self.is_firm = False

    @property
    def is_faded(self) -> bool:
        """Whether nothing is left of the torque, after the robot's state was lost; until the next `enter`."""
        return self._share == 0.0

    def enter(self, sensed: Sensed) -> None:
        """DAMPING begins: no friction torque at first, it builds up as the joint moves."""
        self._anchor = sensed.q.copy()
        self._since_s = 0.0
        self._share = self._carried = 1.0

    def fade_at_once(self) -> None:
        """Nothing is sent until the next `enter`."""
        self._share = 0.0

    def torque(self, sensed: Sensed, *, is_lost: bool = False, let_down: bool = False) -> Joints:
        """Feed-forward torque of this period, (14,), N·m.

        Args:
            sensed: the newest reading.
            is_lost: it is too old; the torque fades within a second, and comes back as slowly if it was not gone.
            let_down: let the arms sink, slowly.
        """
        self._share = min(max(self._share + (-PERIOD_S if is_lost else PERIOD_S) / FADE_S, 0.0), 1.0)
        self._sink(sensed, let_down)
        self._ease(is_blind=is_lost or bool(sensed.out_of_range))
        bend = np.maximum(np.minimum(sensed.q - self._anchor, _BRISTLE_RAD), -_BRISTLE_RAD)
        # Bristles that push a joint back would make it rebound from a stop: they give way instead.
        bend[bend * sensed.dq < -_SPRING_BACK_RAD_S * np.abs(bend)] *= 1 - _RELAX_SHARE
        self._anchor = sensed.q - bend
        torque = self._gravity(sensed)
        bend *= self._stiffness + self._stiffness_share * np.abs(torque)
        torque *= self._carried
        torque -= bend
        np.minimum(torque, self._bound, out=torque)
        np.maximum(torque, -self._bound, out=torque)
        torque *= self._share
        return torque

    def mismatch(self, sensed: Sensed) -> str:
        """Where standing arms ask for a torque that the model does not know of; an empty string if nowhere."""
        if float(np.abs(sensed.dq).max()) > _STANDING_RAD_S:
            return ""
        model = self._gravity(sensed)
        excess = np.abs(sensed.tau_est - model) / self._tolerated
        worst = int(excess.argmax())
        if excess[worst] < 1.0:
            return ""
        measured, known = sensed.tau_est[worst], model[worst]
        return (
            f"{NAMES[worst]} carries {measured:.1f} N·m, the model says {known:.1f}: a payload? run 'arm_driver weigh'"
        )

    def _ease(self, *, is_blind: bool) -> None:
        """From the braking kd to the light one.

        The braking one it is while the state is lost, or a joint is not where it is measured: it is all that is left
        against gravity then, and against the robot's own controller, should that pull the arms to its pose once
        nothing is sent any more.
        """
        if self.is_firm or is_blind:
            self._since_s = 0.0
        if self._since_s > _BRAKE_S + _EASE_S:
            return
        self._since_s += PERIOD_S
        rest = min(max(1 - (self._since_s - _BRAKE_S) / _EASE_S, 0.0), 1.0)
        self.kd = self._light + rest * self._extra

    def _sink(self, sensed: Sensed, let_down: bool) -> None:
        """Carry less while the arms sink slowly enough, more when they get fast."""
        if not let_down and self._carried == 1.0:
            return
        fastest = float(np.abs(sensed.dq).max())
        if not let_down or fastest > _SINK_TO_RAD_S:
            self._carried = min(self._carried + PERIOD_S, 1.0)
        elif fastest < _SINK_FROM_RAD_S:
            self._carried = max(self._carried - PERIOD_S / _SINK_S, 0.0)
