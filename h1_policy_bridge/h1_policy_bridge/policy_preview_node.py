# SPDX-License-Identifier: Apache-2.0
"""Asks the policy once with the live observation and draws what it would do. No action is published, nothing moves.

    policy_preview --output preview.png

It takes the parameters of the policy bridge that runs, so that it asks the same server in the same way, over a
connection of its own. Exit status 0: the policy answered with a pose of these arms.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import rclpy
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from rclpy.signals import SignalHandlerOptions

from h1_policy_bridge.chunk import Chunk
from h1_policy_bridge.inputs_node import ObservationInputs
from h1_policy_bridge.observation import LatestInputs, Observation, Stamped, observe
from h1_policy_bridge.parameters import BridgeParameters
from h1_policy_bridge.policy_check import CheckError, ask, connect, until
from h1_policy_bridge.policy_client import PolicyClient
from h1_policy_bridge.preview_figure import draw, headline, table
from h1_policy_bridge.values import ObservationError
from h1_training_msgs.msg import ArmStatus, SessionState
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.parameter import from_values
from h1_training_node.spinner import Spinner
from h1_training_node.stamps import to_ns

_SPIN_S = 0.02


class PolicyPreviewNode(BaseNode):
    """Observes what the bridge observes, and asks once.

    Args:
        spin: handles what has come, for a moment.
        timeout_s: for each of: the bridge's parameters, an observation, a connection.
    """

    def __init__(self, spin: Callable[[], None], timeout_s: float) -> None:
        super().__init__("policy_preview")
        self._spin, self._timeout_s = spin, timeout_s
        self._latest = LatestInputs()
        self._task = ""
        self.create_subscription(ArmStatus, "arm_status", self._on_arm_status, qos.LATEST)
        self.create_subscription(SessionState, "session/state", self._on_session_state, qos.LATCHED)

    def preview(self) -> tuple[Chunk, str]:
        """The chunk, and the server's address.

        Raises:
            CheckError: no bridge, nothing to observe, or no usable answer.
        """
        parameters = self._bridge_parameters()
        inputs = ObservationInputs(self, self._latest, parameters)
        client = PolicyClient(parameters.client_config(), now_ns=self.now_ns, log=self.get_logger().error)
        client.start()
        try:
            connect(client, self._timeout_s, self._spin)
            observation = self._observation(parameters)
            chunk = ask(client, parameters, observation, timeout_s=self._timeout_s, pause=self._spin)
            return chunk, client.state.facts.checkpoint or parameters.client_config().link.address.url
        finally:
            client.stop()
            del inputs

    def _bridge_parameters(self) -> BridgeParameters:
        names = [field.name for field in dataclasses.fields(BridgeParameters)]
        service = self.create_client(GetParameters, "policy_bridge/get_parameters")
        self._until(service.service_is_ready, lambda: "no policy bridge on this graph; is a session running?")
        future = service.call_async(GetParameters.Request(names=names))
        self._until(future.done, lambda: "the policy bridge does not give its parameters")
        values = [parameter_value_to_python(value) for value in future.result().values]
        return from_values(
            BridgeParameters, {name: value for name, value in zip(names, values, strict=True) if value is not None}
        )

    def _observation(self, parameters: BridgeParameters) -> Observation:
        found: list[Observation] = []
        reasons = [""]

        def observed() -> bool:
            try:
                rules = parameters.observation_rules()
                found.append(observe(self._latest, rules, now_ns=self.now_ns(), task=self._task))
            except ObservationError as error:
                reasons[0] = str(error)
            return bool(found)

        self._until(observed, lambda: reasons[0])
        return found[0]

    def _until(self, condition: Callable[[], object], why_not: Callable[[], str]) -> None:
        until(condition, why_not, self._timeout_s, self._spin)

    def _on_arm_status(self, message: ArmStatus) -> None:
        self._latest.arms = Stamped(to_ns(message.header.stamp), message.q.astype(float))

    def _on_session_state(self, message: SessionState) -> None:
        self._task = message.task


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the executable `policy_preview`."""
    parser = argparse.ArgumentParser(prog="policy_preview", description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("policy_preview.png"), help="PNG (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds to wait for bridge, cameras and server")
    options, ros_arguments = parser.parse_known_args(arguments)
    rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    spinner = Spinner()
    try:
        node = PolicyPreviewNode(lambda: spinner.spin_once(_SPIN_S), options.timeout)
        spinner.add(node)
        chunk, server = node.preview()
        draw(chunk, options.output, f"{server}\n{headline(chunk)}")
    except (CheckError, ValueError, OSError) as error:
        print(f"no preview: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        spinner.close()
        rclpy.try_shutdown()
    print(f"{table(chunk)}\n{options.output}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
