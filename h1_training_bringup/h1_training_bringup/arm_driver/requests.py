# SPDX-License-Identifier: Apache-2.0
"""Which mode may be asked for in which, and what else may stand against it."""

from __future__ import annotations

from h1_training_bringup.arm_driver.arm_modes import ArmModes
from h1_training_bringup.arm_driver.conditions import NO_GUARD, Conditions
from h1_training_bringup.arm_driver.faults import FOREIGN_COMMANDER, UNSEEN
from h1_training_bringup.arm_driver.sensed import Sensed
from h1_training_node.message_numbers import ArmMode

_ENTERED_FROM = {
    ArmMode.HOLD: (ArmMode.RELEASED, ArmMode.HOLD, ArmMode.HOME, ArmMode.POLICY, ArmMode.DAMPING),
    ArmMode.HOME: (ArmMode.HOLD,),
    ArmMode.POLICY: (ArmMode.HOLD,),
}


def objection(now: ArmModes, mode: int, expected: int, *, is_releasing: bool) -> str:
    """Why `mode` is not granted, as `name: what is so, and what to do`; an empty string if nothing is against it.

    DAMPING is granted whatever mode was expected: a stop must not fail because the arms just left another mode.

    Args:
        now: what the arms are doing.
        mode: asked for, an `ArmMode`.
        expected: the mode that the caller means to leave.
        is_releasing: arm control is being released, or the process ends.
    """
    if mode not in [known.value for known in ArmMode]:
        return f"unknown_mode: {mode}; known are 0 to {max(ArmMode).value}, see ArmStatus"
    wanted = ArmMode(mode)
    if wanted is ArmMode.RELEASED:
        return "use_release: arm control is released by arm_driver/release, with warning and ramp"
    if wanted is ArmMode.DAMPING:
        return "not_acquired: the arms are not ours; nothing to damp" if now.mode is ArmMode.RELEASED else ""
    if is_releasing:
        return "releasing: arm control is being released; wait until they are RELEASED"
    if expected != now.mode:
        return f"mode_changed: the arms are in {now.mode.name} ({now.reason}); look at them before you go on"
    if now.handover.is_acquiring:
        return "acquiring: arm control is being acquired; wait until arm_status.transition is false"
    if now.faults:
        return f"acknowledge_needed: {now.faults.first} forced {now.mode.name}; call arm_driver/acknowledge first"
    if now.mode not in _ENTERED_FROM[wanted]:
        allowed = ", ".join(known.name for known in _ENTERED_FROM[wanted])
        return f"not_from_here: {wanted.name} is entered from {allowed}; the arms are in {now.mode.name}"
    return ""


def obstacle(now_ns: int, wanted: ArmMode, present_mode: ArmMode, sensed: Sensed | None, conditions: Conditions) -> str:
    """What about robot or session stands against entering a stiff mode now, said likewise.

    Args:
        now_ns: session time.
        wanted: HOLD, HOME or POLICY.
        present_mode: that is left.
        sensed: the newest good reading; None if there never was one.
        conditions: as of the last period.
    """
    if sensed is None:
        return f"no_robot_state: {conditions.no_state_yet('/lowstate')}"
    present = conditions.forcing(now_ns, sensed, 0, was_unseen="")
    if present_mode is ArmMode.RELEASED:
        for reason in UNSEEN:  # it has a moment to become good
            present.pop(reason, None)
    for reason, detail in present.items():
        return f"{reason}: {detail}"
    if present_mode is ArmMode.RELEASED and conditions.not_ours:
        return conditions.not_ours
    is_less = wanted is ArmMode.HOLD and present_mode in (ArmMode.HOME, ArmMode.POLICY)
    # Whoever asks to acquire the arms waits for the guard, as for the robot.
    if present_mode is not ArmMode.RELEASED and not is_less and not conditions.guard_is_there:
        return f"no_guard: {NO_GUARD}"
    if wanted is ArmMode.POLICY and conditions.foreign_actions:
        return f"{FOREIGN_COMMANDER}: {conditions.foreign_actions}"
    if wanted is ArmMode.POLICY and conditions.temperatures.forbids_policy:
        return f"motor_hot: {conditions.temperatures.text}; let it cool down"
    slow = not conditions.state_comes_fast if wanted is ArmMode.POLICY else conditions.state_is_slow
    if slow and wanted in (ArmMode.HOME, ArmMode.POLICY):
        return f"state_slow: {conditions.rate_text}"
    return ""
