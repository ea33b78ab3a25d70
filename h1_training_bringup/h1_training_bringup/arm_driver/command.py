# SPDX-License-Identifier: Apache-2.0
"""What is sent to the arms in one period, how it becomes a LowCmd, and who else sends any.

Others are seen by the writers that the graph names, and sooner by what is written: the graph's word comes late
(discovery, and a look every half second). A command that was received on /arm_sdk and that this process has not sent is
somebody else's, whatever its writer is called. The middleware gives no writer with a message here, so it is known by
its bytes, the checksum among them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from h1_training_bringup.arm_driver.joints import ARM_MOTORS, MOTOR_ENABLED, WAIST_MOTOR, WEIGHT_MOTOR, Joints
from h1_training_bringup.arm_driver.wire import encode_low_cmd, new_low_cmd


class ArmCommand(NamedTuple):
    """One command; the motors do `kp (q - q_m) + kd (dq - dq_m) + tau` with it.

    Attributes:
        q, dq, tau, kp, kd: (14,), rad, rad/s, N·m, N·m/rad, N·m·s/rad.
        weight: 0..1, share of arm_sdk in the arms' command.
        waist_q: rad, where the waist is held.
        mode_machine: as the robot reported it.
    """

    q: Joints
    dq: Joints
    tau: Joints
    kp: Joints
    kd: Joints
    weight: float
    waist_q: float
    mode_machine: int


class CommandEncoder:
    """Writes commands into one LowCmd record, whose constant parts are filled in once.

    Args:
        waist_kp, waist_kd: of the waist's motor.
    """

    def __init__(self, waist_kp: float, waist_kd: float) -> None:
        self._record = new_low_cmd()
        motors = self._record["motor_cmd"]
        motors["mode"][WAIST_MOTOR : ARM_MOTORS.stop] = MOTOR_ENABLED
        motors["kp"][WAIST_MOTOR] = waist_kp
        motors["kd"][WAIST_MOTOR] = waist_kd
        self._mode_machine, self._motors_q = self._record["mode_machine"], motors["q"]
        self._q, self._dq, self._tau = (motors[name][ARM_MOTORS] for name in ("q", "dq", "tau"))
        self._kp, self._kd = motors["kp"][ARM_MOTORS], motors["kd"][ARM_MOTORS]
        self._gains: tuple[Joints, Joints] | None = None

    def encode(self, command: ArmCommand) -> bytes:
        """`command` as a CDR sample for /arm_sdk."""
        self._mode_machine[()] = command.mode_machine
        self._q[:] = command.q
        self._dq[:] = command.dq
        self._tau[:] = command.tau
        if self._gains is None or self._gains[0] is not command.kp or self._gains[1] is not command.kd:
            self._kp[:], self._kd[:] = command.kp, command.kd
            self._gains = command.kp, command.kd
        self._motors_q[WAIST_MOTOR] = command.waist_q
        self._motors_q[WEIGHT_MOTOR] = command.weight
        return encode_low_cmd(self._record)


_NO_NAME = "_NODE_NAME_UNKNOWN_"
_KEPT = 250
"""Commands, a second's worth: none takes longer to come back to its own sender."""


class Writer(NamedTuple):
    """A publisher as the graph names it: its node's name, and its GID as hex digits."""

    node: str
    gid: str


class SentCommands:
    """Distinguishes own commands from others'."""

    def __init__(self) -> None:
        self._order: deque[bytes] = deque()
        self._known: Counter[bytes] = Counter()  # arms that are held may be sent the very same again and again

    def add(self, sample: bytes) -> None:
        """This process sends `sample`."""
        self._order.append(sample)
        self._known[sample] += 1
        if len(self._order) > _KEPT:
            oldest = self._order.popleft()
            self._known[oldest] -= 1
            if self._known[oldest] == 0:
                del self._known[oldest]

    def count_foreign(self, samples: Iterable[bytes]) -> int:
        """How many of the received `samples` it did not send."""
        return sum(sample not in self._known for sample in samples)


class NamedWriters:
    """Leaves out writers that the graph has no name for yet: a name comes after its writer, by a second at most.

    One that had none at the look before has none at all: it is no ROS node, and may be anybody.
    """

    def __init__(self) -> None:
        self._unnamed: set[str] = set()

    def of(self, writers: Sequence[Writer]) -> list[Writer]:
        """Those of `writers` that have a name, or had none the last time either."""
        before, self._unnamed = self._unnamed, {writer.gid for writer in writers if writer.node == _NO_NAME}
        return [writer for writer in writers if writer.node != _NO_NAME or writer.gid in before]


def is_allowed(writer: Writer, allowed: Sequence[str]) -> bool:
    """Whether a writer is one that `allowed` names, by node name or by the beginning of its GID."""
    return any(writer.node == entry or (entry and writer.gid.startswith(entry.lower())) for entry in allowed)


def others(writers: Iterable[Writer], expected: Iterable[str], allowed: Sequence[str]) -> list[str]:
    """Names of the writers that are neither `expected`, each once, nor `allowed`."""
    still_expected = list(expected)
    found = []
    for writer in writers:
        if writer.node in still_expected:
            still_expected.remove(writer.node)
        elif not is_allowed(writer, allowed):
            found.append(f"{writer.node} (GID {writer.gid})")
    return sorted(found)
