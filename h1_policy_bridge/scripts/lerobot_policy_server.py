#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Serves a LeRobot policy over openpi's WebSocket protocol: for the GPU host, in the environment that has LeRobot.

    pip install lerobot websockets msgpack
    python lerobot_policy_server.py outputs/train/act_h1/checkpoints/last/pretrained_model --port 8000 --epoch 1

LeRobot's own asynchronous inference (`lerobot.async_inference`, gRPC) sends Python pickles in both directions, so
whoever reaches its port runs code on the GPU host, and whoever answers there runs code at the robot (CVE-2026-25874).
The messages here are msgpack with plain arrays in openpi's format, which is written out below: openpi-client itself
wants numpy 1, LeRobot 0.6 numpy 2. The policy is loaded with LeRobot's own functions: `get_policy_class`,
`make_pre_post_processors`, `predict_action_chunk` (0.6.1).

An observation has LeRobot's own names, `observation.state`, `observation.images.CAMERA` (H, W, 3) and `task`: the
bridge's preset `lerobot`; those of its preset `h1` are taken, too. This file needs nothing else of the project.
"""

from __future__ import annotations

import argparse
import http
import json
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

_PREFIX = "observation."
_MOST_BYTES = 16 * 1024 * 1024
_CAMERAS = {"cam_head": "ego_cam", "cam_left_wrist": "cam_left_wrist", "cam_right_wrist": "cam_right_wrist"}


def pack(value: Any) -> bytes:
    """As openpi's `msgpack_numpy`: an array is a map with bytes keys."""

    def encoded(array: Any) -> dict[bytes, Any]:
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            raise TypeError(f"{type(array).__name__} cannot be encoded")
        return {b"__ndarray__": True, b"data": array.tobytes(), b"dtype": array.dtype.str, b"shape": array.shape}

    packed: bytes = msgpack.packb(value, default=encoded)
    return packed


def unpack(message: bytes) -> dict[str, Any]:
    """Maps, lists, text, numbers and arrays of plain numbers; anything else raises ValueError."""

    def decoded(fields: dict[Any, Any]) -> Any:
        if b"__ndarray__" not in fields:
            return fields
        dtype = np.dtype(str(fields[b"dtype"]))
        if dtype.kind not in "biuf":
            raise ValueError(f"array of {dtype}; only plain numbers are accepted")
        return np.ndarray(tuple(fields[b"shape"]), dtype, fields[b"data"])

    value = msgpack.unpackb(message, object_hook=decoded)
    if not isinstance(value, dict):
        raise ValueError(f"an observation is a map, not {type(value).__name__}")
    return value


def in_lerobots_names(request: dict[str, Any]) -> dict[str, Any]:
    """An observation with `state`, `images` and `prompt`, the bridge's preset `h1` and the training server's check."""
    if "state" not in request:
        return request
    named = {f"{_PREFIX}images.{_CAMERAS.get(name, name)}": image for name, image in request["images"].items()}
    rest = {name: value for name, value in request.items() if name not in ("state", "images", "prompt")}
    return {**rest, **named, f"{_PREFIX}state": request["state"], "task": request["prompt"]}


def continues(left: Any, sent: Any) -> bool:
    """Whether `left` is the end of the chunk sent last; of another, the model's own units are not known."""
    if not isinstance(left, np.ndarray) or sent is None or left.ndim != 2 or left.shape[1:] != sent.shape[1:]:
        return False
    return 0 < len(left) <= len(sent) and np.allclose(left, sent[-len(left) :], atol=1e-2)


class LerobotPolicy:
    """A checkpoint, from LeRobot's names to absolute actions.

    Args:
        checkpoint: folder with `config.json` and `model.safetensors`.
        device: of torch; None takes the checkpoint's own.
    """

    def __init__(self, checkpoint: Path, device: str | None = None) -> None:
        import torch
        from lerobot.configs import PreTrainedConfig
        from lerobot.policies import get_policy_class, make_pre_post_processors

        config = PreTrainedConfig.from_pretrained(checkpoint)
        config.device = device or config.device
        self.config = config
        self._device = torch.device(config.device)
        self._policy = get_policy_class(config.type).from_pretrained(checkpoint, config=config).to(self._device).eval()
        self._before, self._after = make_pre_post_processors(
            config,
            pretrained_path=str(checkpoint),
            preprocessor_overrides={"device_processor": {"device": config.device}},
        )
        supports = getattr(self._policy, "supports_rtc", None)
        self.does_rtc = bool(supports is not None and supports())
        if self.does_rtc:
            self._enable_rtc()
        self._last: Any = None  # (H, A) of the last answer, in the model's own units
        self._sent: Any = None  # the same as it was sent

    def _enable_rtc(self) -> None:
        from lerobot.policies.rtc.configuration_rtc import RTCConfig

        if getattr(self.config, "rtc_config", None) is None:
            self._policy.config.rtc_config = RTCConfig()
        if (init := getattr(self._policy, "init_rtc_processor", None)) is not None:
            init()

    def metadata(self) -> dict[str, Any]:
        """What a client may check before it asks."""
        horizon = getattr(self.config, "chunk_size", None) or getattr(self.config, "horizon", 0)
        return {
            "action_dim": int(self.config.output_features["action"].shape[0]),
            **({"action_horizon": int(horizon)} if horizon else {}),
            "policy_type": self.config.type,
            "rtc": self.does_rtc,
        }

    def infer(self, request: dict[str, Any]) -> np.ndarray:
        """(H, A) float32."""
        import torch
        from lerobot.policies.utils import prepare_observation_for_inference

        request = in_lerobots_names(request)
        frame = {name: np.array(value) for name, value in request.items() if name.startswith(_PREFIX)}
        names = ", ".join(sorted(frame))
        batch = prepare_observation_for_inference(frame, self._device, str(request.get("task", "")))
        for name, feature in self.config.image_features.items():
            if name not in batch:
                raise KeyError(f"{name}; the observation has {names}")
            if tuple(batch[name].shape[-2:]) != tuple(feature.shape[-2:]):
                batch[name] = torch.nn.functional.interpolate(
                    batch[name], size=tuple(feature.shape[-2:]), mode="bilinear", align_corners=False
                )
        with torch.no_grad():  # not inference_mode: in it real-time chunking could not turn gradients on
            chunk = self._policy.predict_action_chunk(self._before(batch), **self._rtc_arguments(request))
            self._last = chunk[0].clone()
            actions = torch.stack([self._after(chunk[:, step]) for step in range(chunk.shape[1])], dim=1)
        self._sent = actions[0].float().cpu().numpy()
        return self._sent

    def _rtc_arguments(self, request: dict[str, Any]) -> dict[str, Any]:
        """What is left is the end of the last chunk; the policy wants it in its own units, which are kept here."""
        left = request.get("prev_action_chunk")
        if not self.does_rtc or not continues(left, self._sent):
            return {}
        return {
            "prev_chunk_left_over": self._last[-len(left) :].unsqueeze(0),
            "inference_delay": int(request.get("inference_delay", 0)),
        }


class PolicyServer:
    """openpi's side of the connection; one inference at a time, whoever asks. `policy` is as `LerobotPolicy`."""

    def __init__(self, policy: Any, *, epoch: int, checkpoint: str) -> None:
        self._policy = policy
        self._epoch, self._checkpoint = epoch, checkpoint
        self._lock = threading.Lock()

    def handle(self, connection: ServerConnection) -> None:
        metadata = {**self._policy.metadata(), "epoch": self._epoch, "checkpoint": self._checkpoint}
        connection.send(pack(metadata))
        try:
            for message in connection:
                began = time.monotonic()
                with self._lock:
                    actions = self._policy.infer(unpack(message))
                timing = {"infer_ms": (time.monotonic() - began) * 1e3}
                connection.send(pack({"actions": actions, "server_timing": timing}))
        except ConnectionClosed:
            pass
        except Exception:
            traceback.print_exc()
            connection.send(traceback.format_exc())
            connection.close(1011, "Internal server error. Traceback included in previous frame.")

    def answer_http(self, connection: ServerConnection, request: Any) -> Any:
        """`/training_status` and `/healthz`; everything else is the WebSocket."""
        if request.path == "/training_status":
            status = {"ready": True, "epoch": self._epoch, "checkpoint": self._checkpoint}
            return connection.respond(http.HTTPStatus.OK, json.dumps(status) + "\n")
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="the folder pretrained_model of a LeRobot checkpoint")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--device", help="of torch, e.g. cuda or cpu (default: the checkpoint's)")
    parser.add_argument("--epoch", type=int, default=0, help="shown by /training_status; raise it with new weights")
    options = parser.parse_args()
    policy = LerobotPolicy(options.checkpoint, options.device)
    server = PolicyServer(policy, epoch=options.epoch, checkpoint=str(options.checkpoint))
    with serve(
        server.handle,
        options.host,
        options.port,
        compression=None,
        max_size=_MOST_BYTES,
        process_request=server.answer_http,
    ) as listening:
        print(f"serving {policy.config.type} at ws://{options.host}:{options.port}", flush=True)
        listening.serve_forever()


if __name__ == "__main__":
    main()
