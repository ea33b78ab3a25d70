# SPDX-License-Identifier: Apache-2.0
"""The policy bridge as a node: topics to `bridge.py`, its actions and its status to topics."""

from __future__ import annotations

import array
import dataclasses

from h1_policy_bridge.bridge import PolicyBridge
from h1_policy_bridge.chunk import ARM_JOINTS
from h1_policy_bridge.inputs_node import ObservationInputs
from h1_policy_bridge.observation import HANDS
from h1_policy_bridge.parameters import BridgeParameters
from h1_policy_bridge.policy_client import PolicyClient
from h1_policy_bridge.strategies import TICK_NS, TICKS_PER_S
from h1_policy_bridge.values import ArmReading, BridgeStatus, OutgoingAction, SessionReading
from h1_policy_bridge.warm_up import WarmUp
from h1_training_msgs.msg import (
    ArmStatus,
    HandCommand,
    PolicyAction,
    PolicyStatus,
    SessionState,
)
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.message_numbers import ArmMode, Level
from h1_training_node.node_main import run_node
from h1_training_node.parameter import ParameterError
from h1_training_node.report_once import ReportOnce
from h1_training_node.server_access import key_file_warning
from h1_training_node.stamps import to_ns, to_stamp

_ARM_MODES = frozenset(ArmMode)
_SAME = tuple(field.name for field in dataclasses.fields(BridgeStatus) if field.name != "client")
"""What `policy/status` has from the bridge by the same name."""

STATUS_TICKS = TICKS_PER_S // 5
"""policy/status goes out at 5 Hz, and at once on a change."""


class PolicyBridgeNode(BaseNode):
    """Asks the policy server while the arms hold, and streams its actions at 50 Hz while they follow.

    See `bridge.py` for who may move when, `policy_client.py` for the connection.
    """

    def __init__(self) -> None:
        super().__init__("policy_bridge")
        self._config = parameters = self.parameters(BridgeParameters)
        try:
            config = parameters.client_config()
        except ValueError as error:
            raise ParameterError(f"{self.get_fully_qualified_name()}: {error}") from None
        if warning := key_file_warning(parameters.api_key_file):
            self.event(Level.WARN, "api_key_readable", warning)
        self._server = config.link.address.url
        self._actions = self.create_publisher(PolicyAction, "policy/action", qos.STATE)
        self._statuses = self.create_publisher(PolicyStatus, "policy/status", qos.STATE)
        self._hands = {
            side: self.create_publisher(HandCommand, f"hands/{side}/command", qos.STATE)
            for side in (HANDS if parameters.with_hands else ())
        }
        self._client = PolicyClient(config, now_ns=self.now_ns, log=self.get_logger().error)
        warm_up = WarmUp(parameters.max_first_action_distance_rad)
        self._bridge = PolicyBridge(
            self._client, parameters.observation_rules(), parameters.make_strategy, self._on_event, warm_up
        )
        self._subscribe()
        self._unknown_mode_report = ReportOnce()
        self._status_seq = 0
        self._published: BridgeStatus | None = None
        self._ticks_since_status = 0
        self._client.start()
        self.every(TICK_NS * 1e-9, self._on_tick)

    def destroy_node(self) -> None:
        self._client.stop()
        super().destroy_node()

    def _subscribe(self) -> None:
        self.create_subscription(ArmStatus, "arm_status", self._on_arm_status, qos.LATEST)
        self.create_subscription(SessionState, "session/state", self._on_session_state, qos.LATCHED)
        self._inputs = ObservationInputs(self, self._bridge.latest, self._config)

    # -- in ------------------------------------------------------------------------------------------------------

    def _on_arm_status(self, message: ArmStatus) -> None:
        if message.mode not in _ARM_MODES:
            if self._unknown_mode_report.is_due():
                detail = f"arm_status says mode {message.mode}, which this bridge does not know: update both together"
                self.event(Level.ERROR, "arm_mode_unknown", detail)
            return  # arms in an unknown mode count as silent
        self._bridge.on_arms(
            ArmReading(
                stamp_ns=to_ns(message.header.stamp),
                mode=ArmMode(message.mode),
                mode_since_ns=to_ns(message.mode_since),
                transition=message.transition,
                q=message.q.astype(float),
                execution=message.execution,
            )
        )

    def _on_session_state(self, message: SessionState) -> None:
        self._bridge.on_session(SessionReading(message.state, message.epoch, message.task))

    # -- out -----------------------------------------------------------------------------------------------------

    def _on_tick(self) -> None:
        action = self._bridge.tick(self.now_ns())
        if action is not None:
            self._publish_action(action)
        self._ticks_since_status += 1
        status = self._bridge.status
        if self._ticks_since_status >= STATUS_TICKS or self._is_changed(status):
            self._publish_status(status)

    def _publish_action(self, action: OutgoingAction) -> None:
        step, header = action.step, self.header()
        chunk, positions = step.chunk, step.positions
        self._actions.publish(
            PolicyAction(
                header=header,
                seq=action.seq,
                chunk_id=chunk.chunk_id,
                step=step.index,
                observation_stamp=to_stamp(chunk.observation_ns),
                inference_ms=chunk.inference_ms,
                holding=step.holding,
                positions=array.array("f", positions),
                execution=action.execution,
            )
        )
        for index, publisher in enumerate(self._hands.values()):
            first = ARM_JOINTS + 6 * index
            angle = positions[first : first + 6].astype("f4")
            publisher.publish(HandCommand(header=header, seq=action.seq, angle=angle))

    def _is_changed(self, status: BridgeStatus) -> bool:
        names = ("client", "chunk_ready", "done", "reason", "failures", "horizon", "warm", "warm_up_reason")
        before = self._published
        return before is None or any(getattr(status, name) != getattr(before, name) for name in names)

    def _publish_status(self, status: BridgeStatus) -> None:
        self._published, self._ticks_since_status = status, 0
        self._status_seq += 1
        client = status.client
        self._statuses.publish(
            PolicyStatus(
                header=self.header(),
                seq=self._status_seq,
                connection=client.connection.value,
                server=self._server,
                connected_since=to_stamp(client.since_ns),
                epoch=client.epoch,
                **{name: getattr(status, name) for name in _SAME},
            )
        )

    def _on_event(self, level: Level, reason: str, detail: str) -> None:
        self.event(level.value, reason, detail)


def main() -> int:
    """Entry point of the executable `policy_bridge`."""
    return run_node(PolicyBridgeNode)


if __name__ == "__main__":
    raise SystemExit(main())
