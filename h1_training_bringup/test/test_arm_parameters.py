# SPDX-License-Identifier: Apache-2.0
"""Gains and limits per joint, and the parameters: what is wrong is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml
from arm_builders import CONFIG, joint_settings

from h1_training_bringup.arm_driver.joints import COUNT, EFFORT, LOWER, UPPER, VELOCITY
from h1_training_bringup.arm_driver.parameters import (
    ArmParameters,
    JointSettings,
    JointSettingsError,
    load_joint_settings,
)
from h1_training_bringup.arm_driver.stiff import StiffArms
from h1_training_node.parameter import ParameterError, from_values


def changed(**changes: Any) -> str:
    content = yaml.safe_load(CONFIG.read_text())
    content.update(changes)
    return yaml.safe_dump(content)


def test_the_packages_own_file_is_found_and_keeps_the_motors_limits() -> None:
    joints = load_joint_settings(ArmParameters())
    assert (joints.speed < VELOCITY).all() and (joints.speed[[0, 3, 6]] == [1.5, 1.5, 2.5]).all()
    assert (joints.spring_nm < EFFORT).all() and (joints.feedforward_nm < EFFORT).all()
    assert (joints.lower > LOWER).all() and (joints.upper < UPPER).all() and (joints.kd_damping > 0).all()


def test_both_arms_have_the_same_gains() -> None:
    joints = joint_settings()
    for column in (joints.kp, joints.kd, joints.kd_damping, joints.speed, joints.acceleration):
        np.testing.assert_array_equal(column[:7], column[7:])


def test_an_override_changes_one_joint() -> None:
    joints = JointSettings.from_yaml(changed(overrides={"right_elbow_joint": {"kp": 90.0}}))
    assert joints.kp[10] == 90.0 and joints.kp[3] == 140.0


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"overrides": {"left_knee_joint": {"kp": 1.0}}}, "unknown joint 'left_knee_joint'"),
        ({"overrides": {"left_elbow_joint": {"pk": 1.0}}}, "unknown 'pk'"),
        ({"waist": {"kp": 200.0}}, "waist: 'kd' is missing"),
        ({"waist": {"kp": -1, "kd": 2.0}}, "waist.kp is -1"),
        ({"waste": 1}, "unknown 'waste'"),
        ({"joints": {}}, "joints: 'elbow' is missing"),
        ({"overrides": {"left_elbow_joint": {"speed": 40.0}}}, "speed of left_elbow_joint is 40; .* rad/s, 20"),
        (
            {"overrides": {"left_elbow_joint": {"spring_nm": 19.0}}},
            "spring_nm of left_elbow_joint is 19; .* 18",
        ),
        ({"overrides": {"right_elbow_joint": {"feedforward_nm": 90.0}}}, "feedforward_nm of right_elbow_joint is 90"),
        ({"overrides": {"left_wrist_pitch_joint": {"margin": 0.4}}}, "margin of left_wrist_pitch_joint is 0.4"),
        ({"overrides": {"left_elbow_joint": 100.0}}, r"overrides.left_elbow_joint is 100.0; expected a table"),
        ({"overrides": {"left_elbow_joint": None}}, r"overrides.left_elbow_joint is None; expected a table"),
        ({"overrides": ["left_elbow_joint"]}, r"overrides is \['left_elbow_joint'\]; expected a table"),
        ({"overrides": "left_elbow_joint"}, r"overrides is 'left_elbow_joint'; expected a table"),
        ({"overrides": {1: {}, "left_knee_joint": {}}}, "unknown joint '1'"),
    ],
)
def test_a_wrong_entry_is_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(JointSettingsError, match=text):
        JointSettings.from_yaml(changed(**changes))


@pytest.mark.parametrize("value", ["fast", None, True, 0, float("nan"), float("inf")])
def test_a_gain_that_is_no_positive_number_is_refused(value: Any) -> None:
    content = yaml.safe_load(CONFIG.read_text())
    content["joints"]["elbow"]["kp"] = value
    with pytest.raises(JointSettingsError, match=r"joints\.elbow\.kp"):
        JointSettings.from_yaml(yaml.safe_dump(content))


def test_a_missing_file_is_named_with_its_parameter() -> None:
    with pytest.raises(ParameterError, match=r"joint_settings.*/nowhere/arms\.yaml"):
        load_joint_settings(ArmParameters(joint_settings="/nowhere/arms.yaml"))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"home_pose_rad": (0.0,) * 13}, "home_pose_rad' has 13 values"),
        ({"home_pose_rad": (9.0,) + (0.0,) * 13}, "left_shoulder_pitch_joint"),
        ({"payload_left_com_m": (0.0,)}, "payload_left_com_m"),
        ({"temperature_damping_degc": 60}, "temperatures must rise"),
        ({"release_ramp_s": 1.0}, "release_ramp_s"),
        ({"stop_button": "Z"}, "stop_button"),
        ({"speed_scale": 1.5}, "speed_scale"),
    ],
)
def test_a_wrong_parameter_is_named(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ParameterError, match=text):
        from_values(ArmParameters, values, owner="/arm_driver")


def test_home_is_the_zero_pose_unless_configured_otherwise() -> None:
    assert ArmParameters().home_pose_rad == (0.0,) * COUNT


@pytest.mark.parametrize("entry", ["", "0", "0x", "0x0", "0x100000000", "4000", "abnormal", "-0x1"])
def test_an_entry_that_names_no_bit_of_motorstate_is_refused_with_the_names_that_there_are(entry: str) -> None:
    with pytest.raises(ParameterError, match=r"'motorstate_ignored' has '.*'; expected bits as 0x4000, or one of: ov"):
        from_values(ArmParameters, {"motorstate_ignored": [entry]})


def test_names_and_bits_of_motorstate_are_put_together_and_none_is_ignored_by_itself() -> None:
    named = from_values(ArmParameters, {"motorstate_ignored": ["abnormal reset", "0x80000", "over-current"]})
    assert named.harmless_bits == 0x84001 and ArmParameters().harmless_bits == 0


def test_a_home_that_no_command_would_reach_is_refused_and_not_another_one_gone_to() -> None:
    home = [0.0] * COUNT
    home[5] = 0.45  # within the joint's range, beyond its margin
    with pytest.raises(ParameterError, match=r"home_pose_rad' has 0.45 rad for left_wrist_pitch_joint; .* 0.4325 rad"):
        StiffArms(joint_settings(), from_values(ArmParameters, {"home_pose_rad": home}))
