# SPDX-License-Identifier: Apache-2.0
"""How the node begins and ends: parameters that cannot work, a signal at any moment."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest
from policy_scene import arguments

from h1_policy_bridge.policy_bridge_node import PolicyBridgeNode
from h1_training_node.parameter import ParameterError


def test_a_mapping_with_an_unknown_camera_is_refused_at_the_start(graph):
    mapping = "images: {third_eye: a}"
    with arguments({"observation_mapping": mapping}), pytest.raises(ParameterError, match="unknown camera 'third_eye'"):
        PolicyBridgeNode()


def bridge_process(*parameters: str) -> subprocess.Popen:
    arguments = [part for parameter in parameters for part in ("-p", parameter)]
    command = [sys.executable, "-m", "h1_policy_bridge.policy_bridge_node", "--ros-args", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_the_process_ends_with_a_signal_in_the_middle_of_a_connection_attempt():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        process = bridge_process(f"port:={mute.getsockname()[1]}")
        mute.accept()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        process.communicate()


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ("action_dim:=15", "/policy_bridge: parameter 'action_dim' is 15; expected 14 (arms) or 26 (arms and hands)"),
        ("api_key_file:=/nowhere/key", "/policy_bridge: parameter 'api_key_file': cannot read /nowhere/key"),
        ("resize:=crop", "parameter 'resize' is 'crop'; expected one of stretch, pad"),
    ],
)
def test_a_parameter_that_cannot_work_ends_the_process_with_one_line(parameter, words):
    process = bridge_process(parameter)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert words in errors
    assert "Traceback" not in errors
