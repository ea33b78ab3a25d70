"""A policy server behind openpi's real wire: WebSocket inference, `/training_status` and `/healthz` on one port.

Like the real one (`Physical-Intelligence/openpi:src/openpi/serving/websocket_policy_server.py`, with the fork's
`/training_status`) it stands on `websockets`, sends its metadata first, infers synchronously inside its handler, so
that nothing else is answered meanwhile, and puts a traceback on the wire before it closes with 1011.
"""

from __future__ import annotations

import argparse
import asyncio
import http
import json
import random
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import websockets.asyncio.server
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from h1_policy_bridge import msgpack_numpy
from h1_training_bringup.sim.policy_server_policy import SimulatedPolicy
from h1_training_bringup.sim.policy_server_training import Training
from h1_training_node.process import StopSignal, take_priority

_LOOK_PERIOD_S = 0.1
_CLOSE_REASON = "Internal server error. Traceback included in previous frame."


class PolicyServer:
    """One simulated server.

    Args:
        policy: answers observations.
        training: says which epoch is served.
        inference_s: mean time of an inference.
        first_inference_s: time of the very first one, in which a real server compiles; 0: like any other.
        jitter: its spread, as a share: 0.3 is 70 to 130 %.
        metadata: sent first.
        seed: of the jitter.
    """

    def __init__(
        self,
        policy: SimulatedPolicy,
        training: Training,
        *,
        inference_s: float,
        first_inference_s: float,
        jitter: float,
        metadata: dict[str, object],
        seed: int,
    ) -> None:
        self._policy = policy
        self._training = training
        self._inference_s = inference_s
        self._first_inference_s = first_inference_s
        self._jitter = jitter
        self._metadata = metadata
        self._random = random.Random(seed)
        self._inferences = 0
        self._largest_step = 0.0

    async def serve(self, host: str, port: int, stop: StopSignal) -> None:
        """Serve until reported to stop."""
        async with websockets.asyncio.server.serve(
            self._converse, host, port, compression=None, max_size=None, process_request=self._answer_http
        ) as server:
            bound = server.sockets[0].getsockname()[1]
            _say(f"listening on ws://{host}:{bound}, epoch {self._training.epoch}")
            while stop.received is None:
                if self._training.look(time.monotonic()):
                    self._policy.set_epoch(self._training.epoch)
                    _say(f"epoch {self._training.epoch}: trained on {self._training.episodes} episodes")
                await asyncio.sleep(_LOOK_PERIOD_S)
        _say(f"{self._inferences} inferences, largest step inside their chunks {self._largest_step:.6f}")

    async def _converse(self, connection: ServerConnection) -> None:
        """Metadata, then replies to requests, until either side has enough."""
        await connection.send(msgpack_numpy.pack(self._metadata))
        previous_ms: float | None = None
        while True:
            try:
                message = await connection.recv()
                began = time.monotonic()
                reply = self._inferred(message)
                if previous_ms is not None:
                    reply["server_timing"]["prev_total_ms"] = previous_ms
                await connection.send(msgpack_numpy.pack(reply))
                previous_ms = (time.monotonic() - began) * 1e3
            except ConnectionClosed:
                return
            except Exception:
                _say(traceback.format_exc())
                await connection.send(traceback.format_exc())
                await connection.close(code=CloseCode.INTERNAL_ERROR, reason=_CLOSE_REASON)
                return

    def _inferred(self, message: str | bytes) -> dict[str, dict[str, float]]:
        if isinstance(message, str):
            raise TypeError("a request must be a binary frame")
        began = time.monotonic()
        reply = self._policy.infer(msgpack_numpy.unpack(message, max_bytes=1 << 26), began)
        jittered_s = self._inference_s * self._random.uniform(1.0 - self._jitter, 1.0 + self._jitter)
        wanted_s, self._first_inference_s = self._first_inference_s or jittered_s, 0.0
        # In the handler and not beside it, as the real server does: its event loop stands still meanwhile.
        time.sleep(max(0.0, wanted_s - (time.monotonic() - began)))
        self._inferences += 1
        self._largest_step = max(self._largest_step, float(np.abs(np.diff(reply["actions"], axis=0)).max(initial=0.0)))
        infer_ms = (time.monotonic() - began) * 1e3
        return {**reply, "policy_timing": {"infer_ms": infer_ms}, "server_timing": {"infer_ms": infer_ms}}

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        """Exact paths only; what is left to the library becomes 426 Upgrade Required."""
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if request.path == "/training_status":
            status = {"ready": self._training.ready, "epoch": self._training.epoch}
            return connection.respond(http.HTTPStatus.OK, json.dumps(status) + "\n")
        return None


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; whatever follows `--ros-args` is not for this process."""
    own = list(arguments)
    if "--ros-args" in own:
        own = own[: own.index("--ros-args")]
    parser = argparse.ArgumentParser(prog="sim_policy_server", description="Simulated openpi policy server.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port; 0 takes a free one (default: %(default)s)")
    parser.add_argument("--inference-ms", type=float, default=120.0, help="mean inference time (default: %(default)s)")
    parser.add_argument(
        "--first-inference-ms", type=float, default=0.0, help="of the very first one, which compiles; 0: like any other"
    )
    parser.add_argument("--jitter", type=float, default=0.3, help="its spread, as a share (default: %(default)s)")
    parser.add_argument("--action-dim", type=int, choices=(14, 26), default=14, help="values per action")
    parser.add_argument("--horizon", type=int, default=50, help="actions per chunk (default: %(default)s)")
    parser.add_argument("--first-epoch", type=int, default=0, help="epoch at the start (default: %(default)s)")
    parser.add_argument("--watch-dir", type=Path, help="upload target; new episodes there raise the epoch")
    parser.add_argument("--training-s", type=float, default=2.0, help="time of a training (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of scene and jitter (default: %(default)s)")
    options = parser.parse_args(own)
    times_ms = (options.inference_ms, options.first_inference_ms)
    if not (0.0 <= options.jitter <= 1.0 and min(times_ms) >= 0.0 and options.horizon >= 1):
        parser.error("--jitter must be 0 to 1, --inference-ms and --first-inference-ms 0 or more, --horizon 1 or more")
    return options


def make_server(options: argparse.Namespace) -> PolicyServer:
    """A server as the command line asks for it."""
    training = Training(options.watch_dir, first_epoch=options.first_epoch, training_s=options.training_s)
    policy = SimulatedPolicy(options.action_dim, options.horizon, options.seed)
    policy.set_epoch(options.first_epoch)
    return PolicyServer(
        policy,
        training,
        inference_s=options.inference_ms / 1e3,
        first_inference_s=options.first_inference_ms / 1e3,
        jitter=options.jitter,
        metadata={"action_dim": options.action_dim, "action_horizon": options.horizon},
        seed=options.seed,
    )


def main() -> int:
    """Entry point of the executable `sim_policy_server`."""
    stop = StopSignal(late=True)
    if not stop.end_with_parent():
        return 1
    take_priority()
    options = parse(sys.argv[1:])
    try:
        asyncio.run(make_server(options).serve(options.host, options.port, stop))
    except OSError as error:
        print(f"[ERROR] cannot listen on {options.host}:{options.port}: {error.strerror}", file=sys.stderr, flush=True)
        return 1
    return 0


def _say(line: str) -> None:
    print(f"[policy server] {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
