# SPDX-License-Identifier: Apache-2.0
"""What is a pose of these arms, and what is not."""

import numpy as np
import pytest

from h1_training_node.arm_joints import (
    ACTION_TOLERANCE_RAD,
    ARM_JOINT_NAMES,
    LOWER_RAD,
    UPPER_RAD,
    beyond_range,
    is_within_range,
)


def test_the_arms_mirror_each_other() -> None:
    mirrored = np.array([1, -1, -1, 1, -1, 1, 1])
    assert np.array_equal(np.sort([LOWER_RAD[:7] * mirrored, UPPER_RAD[:7] * mirrored], axis=0)[0], LOWER_RAD[7:])
    assert np.array_equal(np.sort([LOWER_RAD[:7] * mirrored, UPPER_RAD[:7] * mirrored], axis=0)[1], UPPER_RAD[7:])
    assert [name.replace("left", "right") for name in ARM_JOINT_NAMES[:7]] == list(ARM_JOINT_NAMES[7:])


@pytest.mark.parametrize("end", [LOWER_RAD - ACTION_TOLERANCE_RAD, UPPER_RAD + ACTION_TOLERANCE_RAD])
def test_a_little_beyond_the_range_is_within_the_tolerance(end: np.ndarray) -> None:
    assert is_within_range(end).all()
    assert beyond_range(end) == ""


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 45.0])
def test_what_is_no_angle_is_named_with_joint_step_and_range(value: float) -> None:
    actions = np.zeros((3, 14))
    actions[1, 5] = value
    assert (
        beyond_range(actions)
        == f"left_wrist_pitch_joint is {value:.4g} rad at step 1; its range is -0.4625 to 0.4625 rad"
    )
    assert beyond_range(actions[1]).startswith(f"left_wrist_pitch_joint is {value:.4g} rad; ")
    assert is_within_range(actions).sum() == 3 * 14 - 1
