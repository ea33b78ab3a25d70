# SPDX-License-Identifier: Apache-2.0
"""This project's messages in the arm driver's loop, as CDR samples: read and written in one step each.

rclpy makes hundreds of objects of each message first, fifty times a second and out of cold caches. The layouts are
those of the .msg files in plain CDR, little-endian: each value is aligned to its own size, counted from behind the
encapsulation. The tests hold them against rclpy's own.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np

from h1_training_bringup.arm_driver.actions import ReceivedAction
from h1_training_bringup.arm_driver.clearance import nearest
from h1_training_bringup.arm_driver.command import ArmCommand
from h1_training_bringup.arm_driver.controller import ArmController
from h1_training_bringup.arm_driver.intake import StateIntake
from h1_training_bringup.arm_driver.joints import COUNT, NAMES
from h1_training_bringup.arm_driver.sensed import Sensed
from h1_training_node.clock import NS_PER_S

_ENCAPSULATION = b"\x00\x01\x00\x00"
_HEADER = "<iII4x"
"""Stamp, and an empty frame_id whose length is 1."""
_ZEROS = [0.0] * COUNT
_CLEARANCE_EVERY = 5
"""Messages of arm_status, 10 Hz: how near the arms are to the body is for people to read."""


class SampleError(ValueError):
    """A sample that is not the message that it should be."""


def _layout(first: str, *parts: tuple[int, str]) -> str:
    """A struct's format: each of `parts` is its alignment, and what follows it without a gap."""
    for alignment, part in parts:
        first += "x" * (-struct.calcsize(first) % alignment) + part
    return first


@lru_cache(maxsize=256)
def _arm_status(reason: int, fault: int, closest: int) -> struct.Struct:
    """Of an ArmStatus whose strings have these lengths, their closing zero included."""
    parts = ((8, "QB"), (4, f"iII{reason}s?"), (4, f"I{fault}s?"), (4, f"f{7 * COUNT}f{COUNT}hf"), (8, "Q?"),
             (4, "fII"), (8, f"QffI{closest}s"))  # fmt: skip
    return struct.Struct(_layout(_HEADER, *parts))


def _joint_names() -> bytes:
    names = b""
    for name in NAMES:
        names += b"\0" * (-len(names) % 4) + struct.pack("<I", len(name) + 1) + name.encode() + b"\0"
    return names


_JOINT_NAMES = _joint_names()
_JOINT_STATE = struct.Struct(
    _layout(_HEADER, (4, f"I{len(_JOINT_NAMES)}s"), *((4, "I"), (8, f"{COUNT}d")) * 3)
)  # position, velocity, effort, each behind its length
_HEAD, _SEQ = struct.Struct("<iII"), struct.Struct("<Q")
_ACTION = struct.Struct("<QQiiIf?3xI")
"""`seq` to the length of `positions`; then those, and the token."""


class StatusEncoder:
    """Writes arm_status: what the driver measures, what it commands, and why it is in its mode."""

    def __init__(self) -> None:
        self._seq = 0
        self._clearance, self._closest = float("nan"), b""

    def encode(
        self, now_ns: int, sensed: Sensed, command: ArmCommand | None, controller: ArmController, intake: StateIntake
    ) -> bytes:
        """The next message. It says that a limit was met, once.

        Args:
            now_ns: session time.
            sensed: the newest good reading.
            command: the newest that was sent; without one, what the arms are at is what is reported as commanded.
        """
        self._seq += 1
        if self._seq % _CLEARANCE_EVERY == 1:
            self._clearance, parts = nearest(controller.stiff.collisions, sensed.q, sensed.waist_q)
            self._closest = parts.encode()
        q = sensed.q.tolist()
        q_command, kp, kd, tau = q, _ZEROS, _ZEROS, _ZEROS
        if command is not None:
            q_command, tau = command.q.tolist(), command.tau.tolist()
            kp, kd = command.kp.tolist(), command.kd.tolist()
        reason, fault = controller.reason.encode(), controller.faults.first.encode()
        lengths = len(reason) + 1, len(fault) + 1, len(self._closest) + 1
        limited, controller.stiff.limited = controller.stiff.limited, False
        return _ENCAPSULATION + _arm_status(*lengths).pack(
            *_stamp(sensed.stamp_ns), 1, self._seq, controller.mode, *_stamp(controller.mode_since_ns),
            lengths[0], reason, bool(controller.faults), lengths[1], fault, controller.transition,
            controller.handover.weight, *q, *sensed.dq.tolist(), *sensed.tau_est.tolist(), *q_command, *kp, *kd, *tau,
            *sensed.temperature, sensed.waist_q, controller.gate.seq, limited, intake.rate(now_ns), intake.crc_errors,
            controller.gate.refused, controller.execution, controller.handover.release_countdown_s(now_ns),
            self._clearance, lengths[2], self._closest,
        )  # fmt: skip


def encode_joint_state(sensed: Sensed) -> bytes:
    """`sensed` as a JointState, whose stamp is that of its arm_status."""
    values = sensed.q.tolist(), sensed.dq.tolist(), sensed.tau_est.tolist()
    counted = (value for array in values for value in (COUNT, *array))
    return _ENCAPSULATION + _JOINT_STATE.pack(*_stamp(sensed.stamp_ns), 1, COUNT, _JOINT_NAMES, *counted)


def read_seq(sample: bytes) -> int:
    """`seq` of a message that begins with header and seq, as all heartbeats do.

    Raises:
        SampleError: there is none.
    """
    try:
        return int(_SEQ.unpack_from(sample, _behind_header(sample))[0])
    except struct.error:
        raise SampleError(f"{len(sample)} bytes that hold no number of a message") from None


def read_action(sample: bytes) -> ReceivedAction:
    """A PolicyAction.

    Raises:
        SampleError: it is none.
    """
    try:
        at = _behind_header(sample)
        sec, nanosec, _ = _HEAD.unpack_from(sample, len(_ENCAPSULATION))
        seq, _, _, observed_s, observed_ns, _, _, count = _ACTION.unpack_from(sample, at)
        at += _ACTION.size
        positions = np.frombuffer(sample, "<f4", count, at).astype(float)
        at += positions.nbytes // 2
        (execution,) = _SEQ.unpack_from(sample, at + -(at - len(_ENCAPSULATION)) % 8)
    except (struct.error, ValueError):
        raise SampleError(f"{len(sample)} bytes that are no PolicyAction") from None
    return ReceivedAction(
        seq=seq,
        stamp_ns=sec * NS_PER_S + nanosec,
        observation_ns=observed_s * NS_PER_S + observed_ns,
        positions=positions,
        execution=execution,
    )


def _behind_header(sample: bytes) -> int:
    """Where a value of eight bytes is that follows the header."""
    if sample[:2] != _ENCAPSULATION[:2]:
        raise struct.error("not little-endian")
    end = _HEAD.size + _HEAD.unpack_from(sample, len(_ENCAPSULATION))[2]
    at: int = len(_ENCAPSULATION) + end + -end % 8
    return at


def _stamp(time_ns: int) -> tuple[int, int]:
    return divmod(time_ns, NS_PER_S)
