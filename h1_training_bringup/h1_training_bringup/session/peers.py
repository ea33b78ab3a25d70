"""Where the session reaches robot, hands, head camera and policy server; in the simulation, free ports of 127.0.0.1."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, replace

from h1_training_bringup.session.configuration import Configuration

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Peers:
    """Hosts and ports of the peers that are reached over sockets of their own."""

    policy_host: str
    policy_port: int
    head_camera_host: str
    head_camera_port: int
    left_hand_host: str
    left_hand_port: int
    right_hand_host: str
    right_hand_port: int


def configured_peers(configuration: Configuration) -> Peers:
    """The real peers, as the configuration names them."""
    return Peers(
        policy_host=configuration["policy_server.host"],
        policy_port=configuration["policy_server.port"],
        head_camera_host=configuration["robot.head_camera_server_ip"],
        head_camera_port=configuration["robot.head_camera_server_port"],
        left_hand_host=configuration["robot.left_hand_ip"],
        left_hand_port=configuration["robot.left_hand_port"],
        right_hand_host=configuration["robot.right_hand_ip"],
        right_hand_port=configuration["robot.right_hand_port"],
    )


def local_peers(configuration: Configuration) -> Peers:
    """Peers on this machine, each on the port that the configuration names: for parts that are started one by one."""
    there = configured_peers(configuration)
    return replace(
        there,
        policy_host=LOOPBACK,
        head_camera_host=LOOPBACK,
        left_hand_host=LOOPBACK,
        right_hand_host=LOOPBACK,
        # On one machine the hands cannot share a port, as they do on two addresses of their own.
        right_hand_port=there.right_hand_port + (there.right_hand_port == there.left_hand_port),
    )


def simulated_peers(policy_port: int = 0) -> Peers:
    """Peers on this machine, each on a port that is free now.

    Args:
        policy_port: of a policy server that runs already; 0: a free one, for the session's own.
    """
    with contextlib.ExitStack() as stack:
        # All are held at once, so that no two get the same.
        sockets = [stack.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(4)]
        ports = [int(held.getsockname()[1]) for held in sockets]
    return Peers(LOOPBACK, policy_port or ports[0], LOOPBACK, ports[1], LOOPBACK, ports[2], LOOPBACK, ports[3])
