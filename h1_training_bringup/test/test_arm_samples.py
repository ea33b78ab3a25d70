# SPDX-License-Identifier: Apache-2.0
"""The arm driver's own reading and writing of this project's messages, against rclpy's."""

from __future__ import annotations

import numpy as np
import pytest
from arm_builders import joint_settings, reading, taken
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Header, String

from h1_training_bringup.arm_driver.command import ArmCommand
from h1_training_bringup.arm_driver.joints import COUNT, NAMES
from h1_training_bringup.arm_driver.samples import (
    SampleError,
    StatusEncoder,
    encode_joint_state,
    read_action,
    read_seq,
)
from h1_training_bringup.sim.rig import Rig
from h1_training_msgs.msg import ArmStatus, GuardStatus, PolicyAction, SessionState
from h1_training_node.message_numbers import ArmMode
from h1_training_node.stamps import to_ns, to_stamp

STAMP_NS = 1_795_000_000_123_456_789
F32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
F32S = st.lists(F32, min_size=COUNT, max_size=COUNT)
TIMES_NS = st.integers(0, 2**31 * 10**9 - 1)


@pytest.fixture(scope="module")
def rig() -> Rig:
    return taken()


def written(rig: Rig, encoder: StatusEncoder, command: ArmCommand | None, **measured: object) -> ArmStatus:
    """As whoever subscribes reads it. It is as long as rclpy would have made it, whose padding is not zero."""
    sample = encoder.encode(rig.now_ns, reading(STAMP_NS, **measured), command, rig.controller, rig.intake)
    message = deserialize_message(sample, ArmStatus)
    assert len(serialize_message(message)) == len(sample)
    return message


@given(q=F32S, dq=F32S, tau=F32S, weight=st.floats(0, 1, width=32), waist=F32)
def test_arm_status_says_what_is_measured_and_commanded(
    rig: Rig, q: list[float], dq: list[float], tau: list[float], weight: float, waist: float
) -> None:
    rig.controller.handover.weight = weight
    measured = {"q": np.array(q), "dq": np.array(dq), "tau_est": np.array(tau), "waist_q": waist}
    settings = joint_settings()
    command = ArmCommand(np.array(dq), np.array(q), np.array(q), settings.kp, settings.kd, weight, waist, 6)
    message = written(rig, StatusEncoder(), command, **measured)
    assert to_ns(message.header.stamp) == STAMP_NS and message.header.frame_id == ""
    assert list(message.q) == q and list(message.dq) == dq and list(message.tau_est) == tau
    assert list(message.q_command) == dq and list(message.tau_ff) == q
    assert np.array_equal(message.kp, settings.kp.astype("f4")) and np.array_equal(message.kd, settings.kd.astype("f4"))
    assert list(message.temperature) == [35] * COUNT
    assert message.weight == weight and message.waist_q == waist


def test_arm_status_says_what_the_driver_does() -> None:
    rig = taken()
    rig.ask(ArmMode.HOME)
    rig.controller.emergency_stop(rig.now_ns, "keyboard", "")
    rig.controller.stiff.limited = True
    rig.controller.gate.seq, rig.controller.gate.refused = 2**40, 7
    rig.intake.crc_errors = 3
    encoder = StatusEncoder()
    message = written(rig, encoder, None, q=0.1)
    assert (message.mode, message.reason, message.fault) == (ArmStatus.MODE_DAMPING, "emergency_stop", "emergency_stop")
    assert message.acknowledge_needed and to_ns(message.mode_since) == rig.controller.mode_since_ns
    assert (message.action_seq, message.refused_actions, message.crc_errors) == (2**40, 7, 3)
    assert message.execution == rig.controller.execution and message.state_rate == rig.intake.rate(rig.now_ns)
    assert np.allclose(message.q_command, 0.1) and not any(message.kp) and not any(message.tau_ff)
    assert 0 < message.clearance < 1 and ", " in message.closest
    assert message.limited and message.seq == 1
    again = written(rig, encoder, None, q=0.1)
    assert not again.limited and again.seq == 2 and again.closest == message.closest


@pytest.mark.parametrize("reason", ["", "a", "ab", "abc", "abcd", "session_lost", "bräunlich"])
def test_texts_of_any_length_leave_the_rest_in_its_place(rig: Rig, reason: str) -> None:
    rig.controller.reason = reason
    message = written(rig, StatusEncoder(), None)
    assert message.reason == reason and message.temperature[13] == 35
    assert message.execution == rig.controller.execution


def test_release_is_counted_down() -> None:
    rig = taken()
    rig.controller.release(rig.now_ns)
    assert written(rig, StatusEncoder(), None).release_countdown == pytest.approx(3.0)


@given(q=F32S, dq=F32S, tau=F32S)
def test_joint_states(q: list[float], dq: list[float], tau: list[float]) -> None:
    sample = encode_joint_state(reading(STAMP_NS, q=np.array(q), dq=np.array(dq), tau_est=np.array(tau)))
    expected = JointState(
        header=Header(stamp=to_stamp(STAMP_NS)), name=list(NAMES), position=q, velocity=dq, effort=tau
    )
    assert deserialize_message(sample, JointState) == expected
    assert len(sample) == len(serialize_message(expected))


@given(
    stamp_ns=TIMES_NS,
    observation_ns=TIMES_NS,
    seq=st.integers(0, 2**64 - 1),
    execution=st.integers(0, 2**64 - 1),
    positions=st.lists(st.floats(width=32), max_size=30),
    frame_id=st.text("abc_", max_size=9),
)
def test_actions(
    stamp_ns: int, observation_ns: int, seq: int, execution: int, positions: list[float], frame_id: str
) -> None:
    message = PolicyAction(
        header=Header(stamp=to_stamp(stamp_ns), frame_id=frame_id),
        seq=seq,
        chunk_id=5,
        step=-1,
        observation_stamp=to_stamp(observation_ns),
        holding=True,
        positions=positions,
        execution=execution,
    )
    action = read_action(serialize_message(message))
    assert (action.stamp_ns, action.observation_ns) == (stamp_ns, observation_ns)
    assert (action.seq, action.execution) == (seq, execution)
    assert np.array_equal(action.positions, np.array(positions, float), equal_nan=True)


@given(seq=st.integers(0, 2**64 - 1), frame_id=st.text("abc_", max_size=9))
def test_heartbeats(seq: int, frame_id: str) -> None:
    header = Header(stamp=to_stamp(STAMP_NS), frame_id=frame_id)
    for message in (GuardStatus(header=header, seq=seq), SessionState(header=header, seq=seq, state="READY")):
        assert read_seq(serialize_message(message)) == seq


@given(data=st.data())
def test_what_is_no_such_message_is_refused(data: st.DataObject) -> None:
    sample = serialize_message(PolicyAction(seq=3, positions=[0.0] * COUNT))
    cut = data.draw(st.integers(0, len(sample) - 1))
    with pytest.raises(SampleError, match="no PolicyAction"):
        read_action(sample[:cut])
    with pytest.raises(SampleError, match="no PolicyAction"):
        read_action(b"\x00\x00" + sample[2:])
    for broken in (sample[: min(cut, 20)], serialize_message(String(data=""))):
        with pytest.raises(SampleError, match="no number"):
            read_seq(broken)
