"""Where a simulated session reaches its peers: keys of the configuration, over what a file says of the real ones."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from h1_training_bringup.session.configuration import Configuration

LOOPBACK = "127.0.0.1"
_HOSTS = ("policy_server.host", "robot.head_camera_server_ip", "robot.left_hand_ip", "robot.right_hand_ip")
_PORTS = (
    *("policy_server.port", "robot.head_camera_server_port"),
    *("robot.left_hand_port", "robot.right_hand_port"),
)


def simulated_endpoints(policy_port: int = 0) -> dict[str, Any]:
    """Peers on this machine, each on a port that is free now.

    Args:
        policy_port: of a policy server that runs already; 0: a free one, for the session's own.
    """
    with contextlib.ExitStack() as stack:
        # All are held at once, so that no two get the same.
        sockets = [stack.enter_context(socket.create_server((LOOPBACK, 0))) for _ in _PORTS]
        ports = dict(zip(_PORTS, (int(held.getsockname()[1]) for held in sockets), strict=True))
    return dict.fromkeys(_HOSTS, LOOPBACK) | ports | ({"policy_server.port": policy_port} if policy_port else {})


def local_endpoints(configuration: Configuration) -> dict[str, Any]:
    """Peers on this machine, each on the port that the configuration names: for parts that are started one by one."""
    left, right = configuration["robot.left_hand_port"], configuration["robot.right_hand_port"]
    # On one machine the hands cannot share a port, as they do on two addresses of their own.
    return dict.fromkeys(_HOSTS, LOOPBACK) | {"robot.right_hand_port": right + (right == left)}
