# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking over the wire: a server that checks each field, and continues what it is given."""

from __future__ import annotations

import time

import numpy as np
import pytest
from policy_builders import ramp
from policy_servers import openpi_server
from policy_stage import STATE_ONLY
from policy_wire import running

from h1_policy_bridge.bridge import PolicyBridge
from h1_policy_bridge.chunk import Expectation
from h1_policy_bridge.parameters import BridgeParameters
from h1_policy_bridge.strategies import TICK_NS
from h1_policy_bridge.values import ArmReading, SessionReading
from h1_training_node.message_numbers import ArmMode

SLOPE = 0.002
INFERENCE_S = 0.1
START = 8
"""Steps over which the stream leaves the pose in which the arms stood."""


class ContinuingServer:
    """Continues `remainder`, and keeps what was wrong with a request."""

    def __init__(self, remainder: str = "prev_action_chunk", delay: str = "inference_delay") -> None:
        self._names = (remainder, delay)
        self._given: np.ndarray | None = None
        self.continued = 0
        self.keys: set[str] = set()
        self.wrong: list[str] = []

    def infer(self, request: dict) -> dict:
        time.sleep(INFERENCE_S)
        self.keys |= set(request)
        left, delay = (request.get(name) for name in self._names)
        if left is None or self._given is None:
            self._given = request["state"].astype(float) + ramp(SLOPE, SLOPE)
        else:
            self.continued += 1
            self._check(request["state"], left, delay)
            self._given = np.concatenate([left, left[-1] + ramp(SLOPE, SLOPE, steps=50 - len(left))])
        return {"actions": self._given}

    def _check(self, state: np.ndarray, left: np.ndarray, delay: object) -> None:
        assert self._given is not None
        found = {
            "dtype": left.dtype == np.float32,
            "shape": left.ndim == 2 and left.shape[1] == 14 and 1 <= len(left) <= 50,
            "delay": isinstance(delay, int) and INFERENCE_S * 50 <= delay <= len(left),
            "end of the chunk before": np.allclose(left, self._given[-len(left) :], atol=1e-5),
            "planned from the observation on": np.abs(left[0] - state).max() <= 3 * SLOPE,
        }
        self.wrong += [name for name, is_right in found.items() if not is_right]


def played(metadata: dict, server: ContinuingServer, seconds: float = 2.5, **parameters: object) -> np.ndarray:
    """(T, 14) that went out, in real time, by the strategy that the parameters choose for such a server."""
    config = BridgeParameters(**parameters)
    rules = config.observation_rules()
    rules = type(rules)(**{**rules.__dict__, "layout": STATE_ONLY})
    positions: list[np.ndarray] = []
    with openpi_server(server.infer, metadata) as address, running(address, expected=Expectation()) as it:
        it.until_connected()
        bridge = PolicyBridge(it.client, rules, config.make_strategy, lambda *_: None)
        bridge.on_session(SessionReading("EXECUTING", -1, "stack"))
        mode, since_ns, q = ArmMode.HOLD, time.monotonic_ns(), np.zeros(14)
        next_ns = since_ns
        while next_ns - since_ns < seconds * 1e9 or mode is ArmMode.HOLD:
            next_ns += TICK_NS
            time.sleep(max(0.0, (next_ns - time.monotonic_ns()) * 1e-9))
            if mode is ArmMode.HOLD and bridge.status.chunk_ready:
                mode, since_ns = ArmMode.POLICY, next_ns
            bridge.on_arms(ArmReading(time.monotonic_ns(), mode, since_ns, transition=False, q=q))
            if (action := bridge.tick(time.monotonic_ns())) is not None:
                q = action.step.positions
                positions.append(q)
    return np.array(positions)


def test_a_server_that_says_rtc_gets_the_end_of_its_own_chunk_and_the_delay_and_is_followed_without_a_seam():
    server = ContinuingServer()
    positions = played({"rtc": True}, server)
    assert server.continued >= 3
    assert server.wrong == []
    np.testing.assert_allclose(np.diff(positions[START:], axis=0), SLOPE, atol=1e-4)


@pytest.mark.parametrize("metadata", [{}, {"rtc": False}, {"rtc": "true"}])
def test_a_server_that_does_not_say_so_gets_neither(metadata):
    server = ContinuingServer()
    played(metadata, server, seconds=1.0)
    assert server.keys == {"state", "prompt"}


def test_a_fork_with_other_names_gets_these():
    server = ContinuingServer("prev_chunk_left_over", "delay")
    played({}, server, strategy="rtc", rtc_remainder_field="prev_chunk_left_over", rtc_delay_field="delay")
    assert server.keys == {"state", "prompt", "prev_chunk_left_over", "delay"}
    assert server.continued >= 3
    assert server.wrong == []


def test_a_server_that_takes_the_delay_alone_gets_it_alone():
    server = ContinuingServer()
    played({}, server, seconds=1.5, strategy="rtc", rtc_remainder_field="")
    assert server.keys == {"state", "prompt", "inference_delay"}
