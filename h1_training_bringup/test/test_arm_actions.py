# SPDX-License-Identifier: Apache-2.0
"""Whatever the policy sends: what goes on the wire is finite, within the limits and continuous."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arm_builders import MS, Rig, joint_settings, outward, reading
from hypothesis import given, settings
from hypothesis import strategies as st

from h1_training_bringup.arm_driver.actions import ActionGate, ReceivedAction
from h1_training_bringup.arm_driver.command import CommandEncoder
from h1_training_bringup.arm_driver.controller import ArmController
from h1_training_bringup.arm_driver.joints import COUNT, VELOCITY
from h1_training_bringup.arm_driver.parameters import ArmParameters
from h1_training_bringup.arm_driver.wire import decode_low_cmd
from h1_training_node.message_numbers import ArmMode

TOKEN = 7
VALUES = st.one_of(st.floats(-4, 4), st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -1e30]))
ACTIONS = st.fixed_dictionaries(
    {
        "length": st.sampled_from([14, 14, 14, 14, 26, 0, 13, 15, 40]),
        "value": VALUES,
        "odd": VALUES,
        "seq_step": st.integers(-3, 3),
        "age_ms": st.sampled_from([0, 5, 50, 200, -500]),
        "observed_ms": st.sampled_from([30, 80, 400, 5000]),
        "periods": st.integers(0, 30),
    }
)


def gate() -> ActionGate:
    result = ActionGate(stale_ns=100 * MS, first_ns=1000 * MS)
    result.enter(10_000 * MS, hold_since_ns=9_000 * MS)
    return result


def action(now_ns: int = 10_010 * MS, **changes: Any) -> ReceivedAction:
    values = {"seq": 1, "stamp_ns": now_ns, "observation_ns": 9_500 * MS, "positions": np.zeros(COUNT)}
    values["execution"] = TOKEN
    return ReceivedAction(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"positions": np.zeros(13)}, "action_length"),
        ({"positions": np.zeros(0)}, "action_length"),
        ({"positions": np.full(COUNT, np.nan)}, "action_not_finite"),
        ({"positions": np.r_[np.zeros(25), np.inf]}, "action_not_finite"),
        ({"observation_ns": 8_999 * MS}, "action_too_old"),
        ({"stamp_ns": 9_800 * MS}, "action_late"),
        ({"stamp_ns": 10_500 * MS}, "action_late"),
        ({"seq": 0}, "action_replayed"),
        ({"execution": 8}, "action_of_another_execution"),
        ({"execution": 0, "seq": 10**9}, "action_of_another_execution"),
        ({"positions": np.full(COUNT, 1e30)}, "action_out_of_range"),
        ({"positions": np.r_[np.zeros(13), 1.58]}, "action_out_of_range"),
    ],
)
def test_a_bad_action_is_refused_whole_and_counted(changes: dict[str, Any], name: str) -> None:
    subject = gate()
    positions, reason = subject.offer(10_010 * MS, action(**changes), TOKEN)
    assert positions is None and reason.startswith(f"{name}:")
    assert subject.refused == 1 and subject.seq == 0


def test_an_action_is_followed_once_only() -> None:
    subject = gate()
    assert subject.offer(10_010 * MS, action(seq=5), TOKEN)[0] is not None
    assert subject.offer(10_012 * MS, action(seq=5), TOKEN)[1].startswith("action_replayed")
    assert subject.offer(10_014 * MS, action(seq=4), TOKEN)[1].startswith("action_replayed")


def test_a_refused_action_does_not_keep_the_stream_fresh() -> None:
    subject = gate()
    subject.offer(10_010 * MS, action(seq=1), TOKEN)
    subject.offer(10_100 * MS, action(seq=2, stamp_ns=10_100 * MS, positions=np.full(COUNT, np.nan)), TOKEN)
    assert subject.stale_for_ns(10_111 * MS) > 0


def test_numbers_count_from_the_start_again_in_each_entry() -> None:
    subject = gate()
    subject.offer(10_010 * MS, action(seq=500), TOKEN)
    subject.leave()
    subject.enter(11_000 * MS, hold_since_ns=10_500 * MS)
    late = action(seq=1, stamp_ns=11_010 * MS, observation_ns=10_600 * MS)
    assert subject.offer(11_010 * MS, late, TOKEN)[0] is not None


def test_an_action_observed_before_the_arms_were_held_is_refused() -> None:
    rig = Rig()
    rig.take()
    rig.ask(ArmMode.DAMPING)
    rig.run(0.5)
    seen_ns = rig.now_ns
    rig.run(0.1)
    rig.ask(ArmMode.HOLD)
    rig.run(0.3)
    rig.ask(ArmMode.POLICY)
    rig.act(outward(0.5), observation_ns=seen_ns)
    rig.run(0.02)
    assert rig.controller.gate.refused == 1 and "action_too_old" in rig.notices
    np.testing.assert_allclose(rig.sent[-1][1].dq, 0.0, atol=1e-9)


def test_bad_actions_are_reported_once_and_the_arms_end_up_holding() -> None:
    rig = Rig()
    rig.take()
    rig.enter_policy()
    rig.follow(lambda n: rig.q, 0.2)
    rig.follow(lambda n: np.full(COUNT, np.nan), 0.3)
    assert rig.mode is ArmMode.HOLD and rig.controller.reason == "stale_action"
    assert rig.notices.count("action_not_finite") == 1 and rig.controller.gate.refused >= 5


def test_an_action_that_arrives_outside_of_policy_is_ignored_without_complaint() -> None:
    rig = Rig()
    rig.take()
    rig.act(outward(0.6))
    rig.run(0.1)
    assert rig.controller.gate.refused == 0 and not rig.sent[-1][1].dq.any()


class Followed:
    """The controller with arms that follow, and everything that it sends, decoded from the wire.

    Args:
        share: of the way to the command that the arms go in a period; 0 is an arm that is held fast.
    """

    def __init__(self, share: float = 1.0) -> None:
        self.share = share
        self.measured: list[np.ndarray] = []
        joints = joint_settings()
        self.controller = ArmController(joints, ArmParameters(needs_guard=False))
        self.encoder = CommandEncoder(joints.waist_kp, joints.waist_kd)
        self.now_ns = 10**12
        self.q = np.zeros(COUNT)
        self.rows: list[np.ndarray] = []
        self.heartbeat_seq = 0

    def tick(self) -> None:
        self.now_ns += 4 * MS
        self.heartbeat_seq += 1
        self.controller.conditions.heartbeat.receive(self.now_ns, self.heartbeat_seq)
        command = self.controller.step(self.now_ns, reading(self.now_ns, self.q), 10**9, 500.0)
        if command is not None:
            motors = decode_low_cmd(self.encoder.encode(command))["motor_cmd"][12:28]
            self.rows.append(np.array([motors[name] for name in ("q", "dq", "tau", "kp", "kd")], float))
            self.measured.append(self.q)
            self.q = self.q + self.share * (command.q - self.q)

    def offer(self, seq: int, stamp_ns: int, observation_ns: int, positions: np.ndarray) -> None:
        action = ReceivedAction(seq, stamp_ns, observation_ns, positions, self.controller.execution)
        self.controller.offer_action(self.now_ns, action)

    def into_policy(self) -> None:
        for _ in range(3):
            self.tick()
        assert self.controller.set_mode(self.now_ns, "", ArmMode.HOLD, ArmMode.RELEASED).accepted
        while self.controller.transition:
            self.tick()
        assert self.controller.set_mode(self.now_ns, "", ArmMode.POLICY, ArmMode.HOLD).accepted


@settings(max_examples=40, deadline=None)
@given(st.lists(ACTIONS, max_size=25))
def test_for_any_stream_the_wire_is_finite_within_limits_and_continuous(stream: list[dict[str, Any]]) -> None:
    arms = Followed()
    arms.into_policy()
    begin, seq = len(arms.rows), 0
    for item in stream:
        positions = np.full(item["length"], item["value"])
        positions[3:4] = item["odd"]
        seq += item["seq_step"]
        stamp_ns = arms.now_ns - item["age_ms"] * MS
        observed_ns = arms.now_ns - item["observed_ms"] * MS
        arms.controller.offer_action(
            arms.now_ns, ReceivedAction(seq, stamp_ns, observed_ns, positions, arms.controller.execution)
        )
        for _ in range(item["periods"]):
            arms.tick()
    arms.tick()
    joints = joint_settings()
    rows = np.array(arms.rows[begin:])
    assert np.isfinite(rows).all()
    q, dq, tau = rows[:, 0, 1:15], rows[:, 1, 1:15], rows[:, 2, 1:15]
    assert (q >= joints.lower - 1e-6).all() and (q <= joints.upper + 1e-6).all()
    assert (np.abs(dq) <= joints.speed * 1.001).all()
    assert (np.abs(tau) <= joints.feedforward_nm + 1e-3).all()
    step = np.diff(q, axis=0)
    assert (np.abs(step) <= joints.speed * 0.004 + 1e-5).all()
    assert (np.abs(np.diff(step, axis=0)) <= joints.acceleration * 0.004**2 + 1e-5).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(ACTIONS, max_size=15), st.sampled_from([0.0, 0.02, 0.2]))
def test_an_arm_that_is_held_back_is_never_asked_for_more_than_its_spring(
    stream: list[dict[str, Any]], share: float
) -> None:
    arms = Followed(share)
    arms.into_policy()
    begin = len(arms.rows)
    for seq, item in enumerate(stream, 1):
        positions = np.full(item["length"], item["value"])
        positions[3:4] = item["odd"]
        arms.offer(seq, arms.now_ns, arms.now_ns - 30 * MS, positions)
        for _ in range(item["periods"]):
            arms.tick()
    arms.tick()
    joints = joint_settings()
    rows, measured = np.array(arms.rows[begin:]), np.array(arms.measured[begin:])
    assert np.isfinite(rows).all()
    q = rows[:, 0, 1:15]
    assert (q >= joints.lower - 1e-6).all() and (q <= joints.upper + 1e-6).all()
    stiff = rows[:, 3, 1:15] > 0
    assert (np.abs(q - measured) * stiff <= joints.spring_nm / joints.kp + 1e-5).all()
    assert (np.abs(np.diff(q, axis=0)) <= (VELOCITY + joints.speed) * 0.004 + 1e-5).all()


def test_a_blocked_arm_is_held_where_it_is_and_the_command_does_not_jump_there() -> None:
    arms = Followed(0.0)
    arms.into_policy()
    begin = len(arms.rows)
    for seq in range(1, 40):
        arms.offer(seq, arms.now_ns, arms.now_ns - 30 * MS, outward(0.6))
        for _ in range(5):
            arms.tick()
    assert arms.controller.reason == "blocked"
    q, measured = np.array(arms.rows[begin:])[:, 0, 1:15], np.array(arms.measured[begin:])
    assert np.abs(q - measured).max() > 0.1
    np.testing.assert_allclose(q[-1], measured[-1], atol=1e-5)
    assert (np.abs(np.diff(q, axis=0)) <= VELOCITY * 0.004 + 1e-5).all()
