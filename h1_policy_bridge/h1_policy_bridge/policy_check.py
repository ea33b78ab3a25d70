# SPDX-License-Identifier: Apache-2.0
"""Asks a policy server as the session will, with grey images and arms at zero, and says whether it fits. No ROS.

    policy_check wss://gpu.example/policy --port 0 --ca-file ca.pem --count 5

Its first request also makes a server compile, which then need not happen while the arms hold. `--draw` draws the first
chunk from arms at zero; from where the arms really are, `session preflight --policy` does.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from h1_policy_bridge.chunk import ARM_JOINTS, Chunk
from h1_policy_bridge.layout import PRESETS
from h1_policy_bridge.observation import HANDS, LatestInputs, Observation, Stamped, observe
from h1_policy_bridge.parameters import BridgeParameters
from h1_policy_bridge.policy_client import PolicyClient
from h1_policy_bridge.protocols import PROTOCOLS
from h1_policy_bridge.values import InferenceRequest, InferenceResult
from h1_training_node.message_numbers import Connection
from h1_training_node.parameter import ParameterError, from_values
from h1_training_node.server_access import API_KEY_VARIABLE

_FITS, _DOES_NOT, _USAGE = 0, 1, 2
_POLL_S = 0.002


class CheckError(Exception):
    """The server does not fit; the message says why."""


def main() -> int:
    """Entry point of the executable `policy_check`."""
    options = parse(sys.argv[1:])
    try:
        parameters = from_values(BridgeParameters, values(options), owner="policy_check")
        client = PolicyClient(parameters.client_config(), now_ns=time.monotonic_ns, log=_log)
    except (ParameterError, ValueError, OSError) as error:
        print(f"[ERROR] {error}", file=sys.stderr)
        return _USAGE
    client.start()
    try:
        first = check(client, parameters, options.count, options.timeout)
        if options.draw is not None:
            _draw(first, options.draw, client)
        return _FITS
    except CheckError as error:
        print(f"does not fit: {error}", flush=True)
        return _DOES_NOT
    except OSError as error:
        print(f"[ERROR] {error}", file=sys.stderr)
        return _USAGE
    except KeyboardInterrupt:
        return _DOES_NOT
    finally:
        client.stop()


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="policy_check", description=__doc__.partition("\n")[0])
    parser.add_argument("host", help="host of the policy server, or its whole URL")
    parser.add_argument("--protocol", choices=tuple(PROTOCOLS), default="openpi", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8000, help="0 if the URL says it (default: %(default)s)")
    parser.add_argument("--action-dim", type=int, choices=(14, 26), default=14, help="26 with hands")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="h1", help="names of the observation")
    parser.add_argument("--mapping", type=Path, help="YAML file with an observation mapping instead")
    parser.add_argument("--api-key-file", default="", help=f"else the variable {API_KEY_VARIABLE}, if set")
    parser.add_argument("--ca-file", default="", help="PEM file of the authority of a wss:// server")
    parser.add_argument("--count", type=_count, default=5, help="requests to make (default: %(default)s)")
    parser.add_argument("--draw", type=Path, metavar="PNG", help="draw what the first chunk would make the arms do")
    parser.add_argument("--timeout", type=float, default=10.0, help="until connected, s (default: %(default)s)")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}'; expected 1 or more")
    return int(text)


def values(options: argparse.Namespace) -> dict[str, object]:
    """The options as parameters of the bridge.

    Raises:
        OSError: the mapping's file cannot be read.
    """
    return {
        "host": options.host,
        "port": options.port,
        "protocol": options.protocol,
        "action_dim": options.action_dim,
        "preset": options.preset,
        "observation_mapping": options.mapping.read_text() if options.mapping else "",
        "api_key_file": options.api_key_file,
        "ca_file": options.ca_file,
        "allow_dummy_cameras": True,
    }


def check(client: PolicyClient, parameters: BridgeParameters, count: int, timeout_s: float) -> Chunk:
    """Connect, ask `count` times, and print what was found; the first chunk.

    Raises:
        CheckError: the server is not there, is refused, or its reply is.
    """
    connect(client, timeout_s)
    facts = client.state.facts
    stated = f"action_dim {facts.action_dim or 'not stated'}, horizon {facts.horizon or 'not stated'}"
    print(f"connected to {parameters.client_config().link.address.url}; its metadata: {stated}", flush=True)
    chunks = [_asked(client, parameters, number) for number in range(1, count + 1)]
    later = [chunk.inference_ms for chunk in chunks[1:] or chunks]
    print(f"fits: chunks of {chunks[0].horizon} x {parameters.action_dim}, {statistics.median(later):.0f} ms (median)")
    return chunks[0]


def _draw(chunk: Chunk, path: Path, client: PolicyClient) -> None:
    from h1_policy_bridge.preview_figure import draw, headline  # Matplotlib takes a second

    draw(chunk, path, f"{client.state.facts.checkpoint or 'policy'}, arms at zero\n{headline(chunk)}")
    print(path, flush=True)


def _asked(client: PolicyClient, parameters: BridgeParameters, number: int) -> Chunk:
    rules = replace(parameters.observation_rules(), allow_dummy_cameras=True)
    now_ns = time.monotonic_ns()
    latest = LatestInputs(
        Stamped(now_ns, np.zeros(ARM_JOINTS)), {}, {side: Stamped(now_ns, np.full(6, 0.5)) for side in HANDS}
    )
    observation = observe(latest, rules, now_ns=now_ns, task="check the policy")
    chunk = ask(client, parameters, observation, number=number)
    arms = np.abs(chunk.actions[:, :ARM_JOINTS]).max()
    print(
        f"{number}: {chunk.inference_ms:.0f} ms ({_server_time(chunk)}), arms up to {arms:.2f} rad",
        flush=True,
    )
    return chunk


def _server_time(chunk: Chunk) -> str:
    return "server not stated" if math.isnan(chunk.server_ms) else f"server {chunk.server_ms:.0f} ms"


def _pause() -> None:
    time.sleep(_POLL_S)


def connect(client: PolicyClient, timeout_s: float, pause: Callable[[], None] = _pause) -> None:
    """Wait until `client`, which was started, has read the server's metadata.

    Raises:
        CheckError: nobody is there, or the server is refused.
    """
    until(lambda: client.state.connections > 0, lambda: client.state.reason, timeout_s, pause)
    if client.state.connection is Connection.REFUSED:
        raise CheckError(client.state.reason)


def ask(
    client: PolicyClient,
    parameters: BridgeParameters,
    observation: Observation,
    *,
    number: int = 1,
    timeout_s: float = 10.0,
    pause: Callable[[], None] = _pause,
) -> Chunk:
    """Ask once.

    Raises:
        CheckError: the server does not answer, or its reply is refused.
    """
    request = InferenceRequest(number, observation.message, observation.state, observation.stamp_ns)
    until(lambda: client.submit(request), lambda: client.state.reason, timeout_s, pause)
    results: list[InferenceResult] = []

    def is_answered() -> bool:
        results.extend(client.take_results())
        return bool(results)

    # The client's own time-outs come first.
    until(is_answered, lambda: "no answer", parameters.first_request_timeout_s + 10.0, pause)
    if (chunk := results[0].chunk) is None:
        raise CheckError(results[0].reason)
    return chunk


def until(
    condition: Callable[[], object], why_not: Callable[[], str], timeout_s: float, pause: Callable[[], None] = _pause
) -> None:
    """Wait for `condition`, pausing between two looks.

    Raises:
        CheckError: it does not come true in time; says `why_not`.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise CheckError(why_not())
        pause()


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
