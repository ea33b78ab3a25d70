# SPDX-License-Identifier: Apache-2.0
"""What the session has observed of the others: the newest of each, and how old it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from h1_session_manager.host_health import HostHealth
from h1_session_manager.values import Arm, Guard, Hand, Policy, Polled, Reached, Recorder, Synced, SyncProgress
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import ArmMode

GUARD_TOOK_OVER = "guard_took_over"
"""The driver's reason once the arm guard commands the arms; it stays so until the session is started again."""
DRIVER_HUNG = "driver_hung"
"""The driver's reason once it has stood still for too long: it is silent for good, as above."""

_NODES = (("arm_driver", "arm"), ("arm_guard", "guard"), ("recorder", "recorder"), ("policy_bridge", "policy"))
"""Nodes that a session cannot do without, and what of theirs is heard."""

Observation = Arm | Guard | Recorder | Policy | Polled | SyncProgress | Reached | HostHealth


@dataclass
class Arrivals:
    """How often something is heard. `count`: messages so far."""

    count: int = 0
    _since_ns: int = 0
    _since_count: int = 0
    _last_ns: int = 0
    _rate: float = 0.0

    def note(self, now_ns: int) -> None:
        """One message."""
        self.count += 1
        self._last_ns = now_ns
        if not self._since_ns:
            self._since_ns, self._since_count = now_ns, self.count
        elif now_ns - self._since_ns >= NS_PER_S:
            self._rate = (self.count - self._since_count) * NS_PER_S / (now_ns - self._since_ns)
            self._since_ns, self._since_count = now_ns, self.count

    def rate(self, now_ns: int) -> float:
        """Hz over the last second or so; 0 once it is silent for longer."""
        return self._rate if now_ns - self._last_ns < 2 * NS_PER_S else 0.0


@dataclass
class Observed:
    """Newest observations with the time of their reception, ns. None: never heard.

    Attributes:
        lost: nodes that whoever started the session has seen end.
    """

    arm: Arm | None = None
    recorder: Recorder | None = None
    policy: Policy | None = None
    hands: dict[str, Hand] = field(default_factory=dict)
    polled: Polled | None = None
    synced: Synced | None = None
    host: HostHealth | None = None
    throttled_ns: int | None = None
    target: Reached | None = None
    sync_progress: SyncProgress | None = None
    guard_took_over: bool = False
    driver_hung: bool = False
    lost: set[str] = field(default_factory=set)
    now_ns: int = 0
    heard_ns: dict[str, int] = field(default_factory=dict)
    arrivals: dict[str, Arrivals] = field(default_factory=dict)

    def update(self, what: Observation) -> None:
        """Something was heard now."""
        if isinstance(what, Arm):
            self.arm = what
            self.guard_took_over |= GUARD_TOOK_OVER in (what.fault, what.reason)
            self.driver_hung |= DRIVER_HUNG in (what.fault, what.reason)
            self.hear("arm")
        elif isinstance(what, Guard):
            self.guard_took_over |= what.active
            self.hear("guard")
        elif isinstance(what, Recorder):
            self.recorder = what
            self.hear("recorder")
        elif isinstance(what, Policy):
            self.policy = what
            self.hear("policy")
        elif isinstance(what, Polled):
            self.polled = what
        elif isinstance(what, HostHealth):
            self.update_host(what)
        elif isinstance(what, Reached):
            self.target = what
        else:
            self.sync_progress = what

    def hear(self, name: str) -> None:
        """`name` was heard now."""
        self.heard_ns[name] = self.now_ns
        self.arrivals.setdefault(name, Arrivals()).note(self.now_ns)

    def excuse(self, duration_ns: int) -> None:
        """Nothing could be heard for so long: nobody was silent meanwhile."""
        self.heard_ns = {name: heard_ns + duration_ns for name, heard_ns in self.heard_ns.items()}

    def missing_nodes(self) -> tuple[str, ...]:
        """The nodes that a session cannot do without and that have not been heard yet."""
        return tuple(node for node, name in _NODES if name not in self.heard_ns)

    def age_s(self, name: str) -> float:
        """Seconds since `arm`, `recorder`, `policy`, `left hand` or `right hand` was heard; infinite if never."""
        heard = self.heard_ns.get(name)
        return float("inf") if heard is None else max(0.0, (self.now_ns - heard) / NS_PER_S)

    def update_host(self, host: HostHealth) -> None:
        """The computer was looked at; more throttlings than before are a slow processor now."""
        if self.host is not None and host.throttled > self.host.throttled:
            self.throttled_ns = self.now_ns
        self.host = host

    def host_problems(self) -> list[str]:
        """What is wrong with the computer so that no episode may start."""
        return self.host.problems() if self.host is not None else []

    def host_warnings(self) -> list[str]:
        """What a person should know about it, but may leave as it is."""
        return self.host.warnings(self.throttled_ns, self.now_ns) if self.host is not None else []

    @property
    def arm_mode(self) -> ArmMode | None:
        """The arms' mode as last heard; None if the driver was never heard."""
        return None if self.arm is None else self.arm.mode

    @property
    def arms_since_ns(self) -> int:
        """When the arms' present mode was entered; -1 if the driver was never heard."""
        return -1 if self.arm is None else self.arm.since_ns

    @property
    def fault(self) -> str:
        """Name of the fault that a person must acknowledge; empty if there is none."""
        if self.arm is None or not self.arm.acknowledge_needed:
            return ""
        return self.arm.fault or self.arm.reason or "fault"

    @property
    def arms_are_released(self) -> bool:
        """Whether the robot's own controller has the arms."""
        return self.arm is not None and self.arm.mode is ArmMode.RELEASED and not self.arm.transition
