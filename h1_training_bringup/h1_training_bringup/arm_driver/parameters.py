# SPDX-License-Identifier: Apache-2.0
"""How the arm driver is configured: joint by joint from a YAML file, everything else as parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
from ament_index_python.packages import get_package_share_directory

from h1_training_bringup.arm_driver.joints import COUNT, EFFORT, LOWER, NAMES, REMOTE_BUTTONS, UPPER, VELOCITY, Joints
from h1_training_bringup.arm_driver.robot_model import Payload
from h1_training_bringup.arm_driver.sensed import bits_of
from h1_training_node import strict_yaml
from h1_training_node.forms import check_path
from h1_training_node.parameter import ParameterError, parameter
from h1_training_node.strict_yaml import StrictYamlError

_KINDS = tuple(name.removeprefix("left_").removesuffix("_joint") for name in NAMES[: COUNT // 2])
_GREATEST = (
    ("speed", VELOCITY, "its motor's greatest speed is, in rad/s,"),
    ("spring_nm", EFFORT, "its motor's greatest torque is, in N·m,"),
    ("feedforward_nm", EFFORT, "its motor's greatest torque is, in N·m,"),
    ("margin", (UPPER - LOWER) / 4, "a quarter of its range is, in rad,"),
)
"""What no file may ask for, whatever it is for."""


class JointSettingsError(ValueError):
    """The file of joint settings cannot be used; the message names the entry."""


@dataclass(frozen=True)
class JointSettings:
    """Gains and limits of each arm joint, every field of shape (14,); see config/arms.yaml for their meaning."""

    kp: Joints
    kd: Joints
    kd_damping: Joints
    kd_brake: Joints
    friction_nm: Joints
    friction_share: Joints
    speed: Joints
    acceleration: Joints
    margin: Joints
    spring_nm: Joints
    feedforward_nm: Joints
    waist_kp: float
    waist_kd: float

    @property
    def lower(self) -> Joints:
        """rad, least position that is commanded."""
        return LOWER + self.margin

    @property
    def upper(self) -> Joints:
        """rad, greatest position that is commanded."""
        return UPPER - self.margin

    @classmethod
    def from_yaml(cls, text: str) -> JointSettings:
        """Settings from the text of a file like config/arms.yaml.

        Raises:
            JointSettingsError: an entry is missing, unknown, or not a positive number.
        """
        try:
            content = strict_yaml.load(text)
        except StrictYamlError as error:
            raise JointSettingsError(str(error)) from None
        _expect(content, "the file", {"joints", "overrides", "waist"})
        _expect(content["joints"], "joints", set(_KINDS))
        overrides = content["overrides"] or {}
        _expect_table(overrides, "overrides", NAMES)
        if unknown := sorted(set(map(str, overrides)) - set(NAMES)):
            raise JointSettingsError(f"overrides: unknown joint '{unknown[0]}'; known are {', '.join(NAMES)}")
        for name, override in overrides.items():
            _expect_table(override, f"overrides.{name}", _KEYS)
        rows = [_row(kind, content["joints"][kind], overrides.get(name, {})) for kind, name in _kinds_and_names()]
        columns = {key: np.array([row[key] for row in rows]) for key in _KEYS}
        for key, greatest, what in _GREATEST:
            if (beyond := columns[key] > greatest).any():
                joint = int(beyond.argmax())
                found = f"{key} of {NAMES[joint]} is {columns[key][joint]:g}"
                raise JointSettingsError(f"{found}; {what} {greatest[joint]:g}")
        for column in columns.values():
            column.setflags(write=False)
        waist = content["waist"]
        _expect(waist, "waist", {"kp", "kd"})
        return cls(**columns, waist_kp=_positive(waist["kp"], "waist.kp"), waist_kd=_positive(waist["kd"], "waist.kd"))


_KEYS = tuple(field.name for field in fields(JointSettings) if not field.name.startswith("waist"))
"""Of each joint in the file."""


def _kinds_and_names() -> list[tuple[str, str]]:
    return list(zip(_KINDS * 2, NAMES, strict=True))


def _expect_table(mapping: Any, where: str, keys: Iterable[str]) -> None:
    if not isinstance(mapping, Mapping):
        raise JointSettingsError(f"{where} is {mapping!r}; expected a table with {', '.join(sorted(keys))}")


def _expect(mapping: Any, where: str, keys: set[str]) -> None:
    _expect_table(mapping, where, keys)
    if unknown := sorted(set(map(str, mapping)) - keys):
        raise JointSettingsError(f"{where}: unknown '{unknown[0]}'; known are {', '.join(sorted(keys))}")
    if missing := sorted(keys - set(mapping)):
        raise JointSettingsError(f"{where}: '{missing[0]}' is missing")


def _row(kind: str, values: Any, override: Any) -> dict[str, float]:
    _expect(values, f"joints.{kind}", set(_KEYS))
    merged = {**values, **override}
    _expect(merged, f"overrides of {kind}", set(_KEYS))
    return {key: _positive(merged[key], f"joints.{kind}.{key}") for key in _KEYS}


def _positive(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e4:
        raise JointSettingsError(f"{where} is {value!r}; expected a positive number")
    return float(value)


_HAND_COM = (0.09, 0.0, 0.0)


@dataclass(frozen=True)
class BodyParameters:
    """Parameters that arm driver and arm guard share."""

    joint_settings: str = parameter(
        "", "file of gains and limits per joint; empty: config/arms.yaml of this package", check=check_path
    )
    robot_timeout_s: float = parameter(0.05, "without robot state, DAMPING that fades", unit="s", low=0.02, high=0.2)
    release_warning_s: float = parameter(3.0, "from warning to ramp when releasing", unit="s", low=3.0, high=5.0)
    release_ramp_s: float = parameter(3.0, "weight to 0, from whatever it is", unit="s", low=3.0, high=5.0)
    imu_frame: str = parameter("torso", "where the robot's IMU sits", choices=("torso", "pelvis"))
    payload_left_kg: float = parameter(0.0, "what the left wrist carries (hand, tool)", unit="kg", low=0.0, high=3.0)
    payload_right_kg: float = parameter(0.0, "what the right wrist carries", unit="kg", low=0.0, high=3.0)
    payload_left_com_m: tuple[float, ...] = parameter(
        _HAND_COM, "its centre in the frame of left_wrist_yaw_link", unit="m"
    )
    payload_right_com_m: tuple[float, ...] = parameter(_HAND_COM, "its centre in right_wrist_yaw_link", unit="m")

    def __post_init__(self) -> None:
        for side in ("left", "right"):
            if len(getattr(self, f"payload_{side}_com_m")) != 3:
                raise ValueError(f"parameter 'payload_{side}_com_m' needs three values: x, y, z")

    def payloads(self) -> dict[str, Payload]:
        """What each wrist carries, by side."""
        x, y, z = self.payload_left_com_m
        u, v, w = self.payload_right_com_m
        return {"left": Payload(self.payload_left_kg, (x, y, z)), "right": Payload(self.payload_right_kg, (u, v, w))}


@dataclass(frozen=True)
class ArmParameters(BodyParameters):
    """Parameters of the arm driver; the joints' own are in the file that `joint_settings` names."""

    speed_scale: float = parameter(1.0, "factor on the speed of POLICY and HOME, for first runs", low=0.05, high=1.0)
    weight_limit: float = parameter(1.0, "share of arm_sdk to take; below 1 for first runs", low=0.05, high=1.0)
    home_pose_rad: tuple[float, ...] = parameter((0.0,) * COUNT, "arm joints of HOME, left 7 then right 7", unit="rad")
    home_speed_rad_s: float = parameter(0.5, "greatest speed of HOME", unit="rad/s", low=0.05, high=1.0)
    home_tolerance_rad: float = parameter(0.05, "error at which home counts as reached", unit="rad", low=0.01, high=0.2)

    min_distance_m: float = parameter(
        0.03, "distance that commanded arms keep from each other and from the body", unit="m", low=0.01, high=0.1
    )
    slow_distance_m: float = parameter(
        0.08, "distance from which parts that approach each other slow down", unit="m", low=0.02, high=0.14
    )
    hand_length_m: float = parameter(
        0.29, "from the wrist_yaw_link's origin to the fingertips; 0.07 for bare wrists", unit="m", low=0.05, high=0.5
    )
    hand_radius_m: float = parameter(0.055, "around the palm, with what it holds", unit="m", low=0.03, high=0.2)
    table_m: tuple[float, ...] = parameter((), "a table's top: height and near edge's x, pelvis frame; empty: none")
    workspace_left_m: tuple[float, ...] = parameter(
        (), "box that the left hand keeps to: x, y, z from, x, y, z to, pelvis frame; empty: off", unit="m"
    )
    workspace_right_m: tuple[float, ...] = parameter((), "the same of the right hand", unit="m")

    good_state_s: float = parameter(
        0.5, "unbroken good robot state before arm control is acquired", unit="s", low=0.1, high=10.0
    )
    min_state_rate_hz: float = parameter(
        200.0, "rate of robot states below which arms are not acquired, nor moved", unit="Hz", low=20.0, high=500.0
    )
    acquire_timeout_s: float = parameter(
        3.0, "longest wait for good robot state when acquiring", unit="s", low=0.5, high=60.0
    )
    acquire_ramp_s: float = parameter(2.0, "weight 0 to weight_limit", unit="s", low=1.0, high=20.0)
    acquire_motion_limit_rad: float = parameter(
        0.05, "motion of a joint that aborts it", unit="rad", low=0.01, high=0.2
    )

    stale_action_s: float = parameter(0.1, "without a fresh action, POLICY becomes HOLD", unit="s", low=0.04, high=0.5)
    first_action_s: float = parameter(1.0, "POLICY without a first action becomes HOLD", unit="s", low=0.1, high=5.0)
    guard_timeout_s: float = parameter(
        0.4, "without the guard's heartbeat (10 Hz), POLICY and HOME become HOLD", unit="s", low=0.2, high=0.5
    )
    session_timeout_s: float = parameter(0.5, "without the session's heartbeat, DAMPING", unit="s", low=0.2, high=2.0)
    hung_s: float = parameter(
        1.0, "pause of this very process after which it leaves the arms to the guard", unit="s", low=0.2, high=5.0
    )
    blocked_s: float = parameter(
        0.3, "a joint held back this long makes HOLD at the measured pose", unit="s", low=0.1, high=1.0
    )
    tilt_limit_rad: float = parameter(0.5, "lean of the robot that counts as falling", unit="rad", low=0.1, high=1.0)
    temperature_warn_degc: int = parameter(70, "motor temperature that is reported", unit="degC", low=30, high=150)
    temperature_no_policy_degc: int = parameter(80, "POLICY is refused from here", unit="degC", low=30, high=150)
    temperature_damping_degc: int = parameter(90, "DAMPING from here", unit="degC", low=30, high=150)
    temperature_critical_degc: int = parameter(100, "the arms sink slowly from here", unit="degC", low=30, high=150)
    motorstate_ignored: tuple[str, ...] = parameter(
        (),
        "faults in the motors' motorstate that are known to be harmless on this robot, by their published names "
        "(abnormal reset) or as bits (0x4000): reported once, no motor_fault",
        check=bits_of,
    )
    stop_button: str = parameter("B", "button of the robot's remote that stops", choices=(*REMOTE_BUTTONS, "none"))
    guard_name: str = parameter("arm_guard", "node that may command the arms when this one has fallen silent")
    needs_guard: bool = parameter(True, "arm control is acquired, and the arms move, only while the guard is alive")
    arm_sdk_allowed: tuple[str, ...] = parameter(
        (), "node names, or GIDs as hex digits, of the robot's own that may publish on /arm_sdk, too"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.home_pose_rad) != COUNT:
            raise ValueError(f"parameter 'home_pose_rad' has {len(self.home_pose_rad)} values; expected {COUNT}")
        for name, value, low, high in zip(NAMES, self.home_pose_rad, LOWER, UPPER, strict=True):
            if not low <= value <= high:
                raise ValueError(
                    f"parameter 'home_pose_rad' has {value} rad for {name}; its range is {low} to {high} rad"
                )
        if not self.min_distance_m < self.slow_distance_m:
            raise ValueError(f"slow_distance_m is {self.slow_distance_m}; expected more than {self.min_distance_m}")
        if len(self.table_m) not in (0, 2):
            raise ValueError(f"parameter 'table_m' is {self.table_m}; expected height and near edge, or none")
        for side in ("left", "right"):
            box = getattr(self, f"workspace_{side}_m")
            if len(box) not in (0, 6) or any(low >= high for low, high in zip(box[:3], box[3:], strict=True)):
                raise ValueError(f"parameter 'workspace_{side}_m' is {box}; expected least x, y, z, then greatest")
        steps = (
            self.temperature_warn_degc,
            self.temperature_no_policy_degc,
            self.temperature_damping_degc,
            self.temperature_critical_degc,
        )
        if list(steps) != sorted(set(steps)):
            raise ValueError(f"temperatures must rise: warn, no_policy, damping, critical; they are {steps}")

    @property
    def harmless_bits(self) -> int:
        """Of `motorstate`, as `motorstate_ignored` names them."""
        return reduce(or_, map(bits_of, self.motorstate_ignored), 0)


@dataclass(frozen=True)
class GuardParameters(BodyParameters):
    """Parameters of the arm guard."""

    silence_s: float = parameter(0.1, "silence on /arm_sdk before the guard takes over", unit="s", low=0.05, high=0.4)


def load_joint_settings(parameters: BodyParameters) -> JointSettings:
    """The file that the parameter `joint_settings` names, or the package's own.

    Raises:
        ParameterError: it cannot be read, or is not what it should be; names file and entry.
    """
    own = f"{get_package_share_directory('h1_training_bringup')}/config/arms.yaml"
    path = Path(parameters.joint_settings or own).expanduser()
    try:
        return JointSettings.from_yaml(path.read_text())
    except (OSError, UnicodeDecodeError, JointSettingsError) as error:
        raise ParameterError(f"parameter 'joint_settings': {path}: {error}") from None
