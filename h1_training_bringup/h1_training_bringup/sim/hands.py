# SPDX-License-Identifier: Apache-2.0
"""Both Inspire hands behind their real wire: two Modbus TCP servers with the register map and moving fingers.

sim_hands --left-port 6000 --right-port 6001
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from pymodbus.server import ModbusTcpServer

from h1_training_bringup.sim.hand_registers import Fingers, HandDevice
from h1_training_node.process import StopSignal, take_priority

_POLL_S = 0.05
_ROS_ARGUMENTS = "--ros-args"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    stop = StopSignal(late=True)
    if not stop.end_with_parent():
        return 1
    take_priority()
    options = _parsed(sys.argv[1:] if arguments is None else arguments)
    try:
        asyncio.run(_serve(options, stop))
    except RuntimeError as error:
        print(f"[ERROR] sim_hands: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


async def _serve(options: argparse.Namespace, stop: StopSignal) -> None:
    """Serve both hands until asked to end.

    Raises:
        RuntimeError: a port is taken.
    """
    servers = [await serve_hand(options.host, port, options.object) for port in (options.left_port, options.right_port)]
    print(f"simulated hands: {options.host}, left {options.left_port}, right {options.right_port}", file=sys.stderr)
    while stop.received is None:
        await asyncio.sleep(_POLL_S)
    for server in servers:
        await server.shutdown()  # type: ignore[no-untyped-call]


async def serve_hand(host: str, port: int, contact: float | None) -> ModbusTcpServer:
    """One hand on `host:port`, serving in the running loop.

    Args:
        host: address to listen on.
        port: TCP port.
        contact: angle (0 closed .. 1000 open) at which the fingers meet an object, or None.

    Raises:
        RuntimeError: the port is taken.
    """
    hand = HandDevice(Fingers(contact), time.monotonic_ns)
    server = ModbusTcpServer(hand.device(), address=(host, port))
    try:
        await server.serve_forever(background=True)
    except RuntimeError:
        raise RuntimeError(
            f"cannot listen on {host}:{port}; is another simulation running? Choose another port"
        ) from None
    return server


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; everything from `--ros-args` on is for ROS 2 nodes, which this is not."""
    own = list(arguments)
    if _ROS_ARGUMENTS in own:
        own = own[: own.index(_ROS_ARGUMENTS)]
    parser = argparse.ArgumentParser(prog="sim_hands", description="Two simulated Inspire hands over Modbus TCP.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--left-port", type=int, default=6000, help="TCP port of the left hand (default %(default)s)")
    parser.add_argument("--right-port", type=int, default=6001, help="TCP port of the right hand (default %(default)s)")
    parser.add_argument(
        "--object",
        type=float,
        default=None,
        metavar="ANGLE",
        help="angle (0 closed .. 1000 open) at which the fingers meet an object (default: nothing to grasp)",
    )
    return parser.parse_args(own)


if __name__ == "__main__":
    sys.exit(main())
