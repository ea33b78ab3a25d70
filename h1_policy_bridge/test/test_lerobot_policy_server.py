# SPDX-License-Identifier: Apache-2.0
"""The server for LeRobot's policies: its wire with openpi-client's codec and our client; LeRobot itself where it is.

`LEROBOT_PYTHON=/path/to/python` of an environment with LeRobot runs the last two as well: a small untrained ACT, and
LeRobot's own real-time chunking (`RTCProcessor`) in a policy that only knows where to go.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import msgpack
import numpy as np
import pytest
from openpi_client import msgpack_numpy as openpi_msgpack
from policy_builders import jpeg
from policy_protocol_builders import ACTIONS, asked, expected
from policy_wire import running
from websockets.sync.client import connect
from websockets.sync.server import serve

from h1_policy_bridge.connection import ServerAddress
from h1_policy_bridge.layout import PRESETS
from h1_policy_bridge.observation import LatestInputs, ObservationRules, Stamped, observe
from h1_policy_bridge.values import InferenceRequest
from h1_training_testing import wait_until

SCRIPT = Path(__file__).parents[1] / "scripts/lerobot_policy_server.py"
LEROBOT_PYTHON = os.environ.get("LEROBOT_PYTHON", "")


def script():
    spec = importlib.util.spec_from_file_location("lerobot_policy_server", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class StandIn:
    """What `PolicyServer` needs of a `LerobotPolicy`."""

    def __init__(self) -> None:
        self.seen: list[dict] = []

    def metadata(self) -> dict:
        return {"action_dim": 14, "action_horizon": 50, "policy_type": "act", "rtc": True}

    def infer(self, request: dict) -> np.ndarray:
        self.seen.append(request)
        if request.get("task") == "fail, Advantage=True":
            raise KeyError("observation.images.front; the observation has ego_cam")
        return ACTIONS.astype(np.float32)


@contextlib.contextmanager
def serving(policy):
    module = script()
    server = module.PolicyServer(policy, epoch=3, checkpoint="outputs/act/last")
    with serve(server.handle, "127.0.0.1", 0, compression=None, process_request=server.answer_http) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield ServerAddress("127.0.0.1", listening.socket.getsockname()[1])
        listening.shutdown()
        thread.join(5.0)


def test_the_bridge_asks_in_lerobots_names_and_plays_what_comes_back():
    policy = StandIn()
    with serving(policy) as address, running(address, expected=expected("lerobot")) as it:
        chunk = it.outcome(asked("lerobot")).chunk
        facts = it.client.state.facts
    assert chunk is not None
    np.testing.assert_allclose(chunk.actions, ACTIONS, atol=1e-6)
    assert (facts.checkpoint, facts.horizon, facts.takes_remainder) == ("outputs/act/last", 50, True)
    [request] = policy.seen
    assert set(request) == {
        "observation.state",
        "task",
        *(f"observation.images.{name}" for name in PRESETS["h1"].cameras),
    }
    assert request["observation.images.ego_cam"].shape == (224, 224, 3)
    assert request["observation.images.ego_cam"].dtype == np.uint8


def test_its_bytes_are_those_of_openpis_own_codec_in_both_directions():
    module = script()
    value = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": [1, "x", None, True],
        "c": np.zeros((2, 2), np.uint8),
    }
    assert module.pack(value) == openpi_msgpack.packb(value)
    read = module.unpack(openpi_msgpack.packb(value))
    np.testing.assert_array_equal(read["a"], value["a"])
    assert read["b"] == value["b"]


@pytest.mark.parametrize(
    "message",
    [
        msgpack.packb({"x": {b"__ndarray__": True, b"data": b"x" * 8, b"dtype": "|O", b"shape": [1]}}),
        msgpack.packb({"x": {b"__ndarray__": True, b"data": b"x" * 8, b"dtype": "<f8", b"shape": [1 << 40]}}),
        msgpack.packb([1, 2]),
        msgpack.packb({"x": msgpack.ExtType(1, b"x")})[:-1],
        b"\xc1",
    ],
)
def test_a_message_that_it_cannot_read_ends_that_connection_alone(message):
    policy = StandIn()
    with serving(policy) as address:
        with connect(f"ws://{address.host}:{address.port}") as hostile:
            hostile.recv(5.0)
            hostile.send(message)
            assert "Traceback" in hostile.recv(5.0)
        assert policy.seen == []
        with running(address, expected=expected("lerobot")) as it:
            assert it.outcome(asked("lerobot")).chunk is not None


def test_an_exception_of_the_policy_reaches_the_operator_and_the_next_request_is_answered():
    with serving(StandIn()) as address, running(address, expected=expected("lerobot")) as it:
        latest = LatestInputs(arms=Stamped(10, np.zeros(14)))
        rules = ObservationRules(PRESETS["lerobot"], allow_dummy_cameras=True)
        failing = observe(latest, rules, now_ns=20, task="fail")
        result = it.outcome(InferenceRequest(1, failing.message, failing.state, failing.stamp_ns))
        assert "observation.images.front; the observation has ego_cam" in result.reason
        assert it.outcome(asked("lerobot", 2)).chunk is not None


@pytest.mark.parametrize(
    ("left", "is_continued"),
    [
        (ACTIONS[20:], True),
        (ACTIONS[20:] + 1e-3, True),
        (ACTIONS, True),
        (ACTIONS[10:40], False),  # of a chunk that somebody else was sent
        (ACTIONS[20:, :7], False),
        (np.concatenate([ACTIONS, ACTIONS]), False),
        (ACTIONS[:0], False),
        (ACTIONS[20:].tolist(), False),
        (None, False),
    ],
)
def test_only_the_end_of_the_chunk_that_was_sent_last_is_continued(left, is_continued):
    assert script().continues(left, ACTIONS) is is_continued
    assert script().continues(left, None) is False


def test_it_reports_its_epoch_as_the_session_polls_it():
    with serving(StandIn()) as address:
        base = f"http://{address.host}:{address.port}"
        with urllib.request.urlopen(f"{base}/training_status", timeout=5) as answer:
            assert answer.read() == b'{"ready": true, "epoch": 3, "checkpoint": "outputs/act/last"}\n'
        with urllib.request.urlopen(f"{base}/healthz", timeout=5) as answer:
            assert answer.read() == b"OK\n"


MAKE_CHECKPOINT = """
import sys, torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies import make_pre_post_processors
cameras = {f"observation.images.{name}": PolicyFeature(FeatureType.VISUAL, (3, 96, 96))
           for name in ("ego_cam", "cam_left_wrist", "cam_right_wrist")}
config = ACTConfig(input_features={"observation.state": PolicyFeature(FeatureType.STATE, (14,)), **cameras},
                   output_features={"action": PolicyFeature(FeatureType.ACTION, (14,))}, chunk_size=20,
                   n_action_steps=20, dim_model=64, n_heads=2, dim_feedforward=64, n_encoder_layers=1,
                   n_decoder_layers=1, use_vae=False, pretrained_backbone_weights=None, device="cpu")
torch.manual_seed(0)
policy = ACTPolicy(config)
policy.save_pretrained(sys.argv[1])
stats = {"observation.state": {"mean": torch.zeros(14), "std": torch.ones(14)},
         "action": {"mean": torch.zeros(14), "std": torch.full((14,), 0.01)},
         **{name: {"mean": torch.zeros(3, 1, 1), "std": torch.ones(3, 1, 1)} for name in cameras}}
for processor in make_pre_post_processors(config, dataset_stats=stats):
    processor.save_pretrained(sys.argv[1])
"""


FLOW_CONFIG = """
from dataclasses import dataclass, field
from lerobot.configs import NormalizationMode, PreTrainedConfig
from lerobot.policies.rtc.configuration_rtc import RTCConfig

@PreTrainedConfig.register_subclass("flow")
@dataclass
class FlowConfig(PreTrainedConfig):
    chunk_size: int = 50
    rtc_config: RTCConfig | None = None
    normalization_mapping: dict = field(
        default_factory=lambda: {"STATE": NormalizationMode.MEAN_STD, "ACTION": NormalizationMode.MEAN_STD})
    observation_delta_indices = reward_delta_indices = action_delta_indices = None
    def get_optimizer_preset(self): raise NotImplementedError
    def get_scheduler_preset(self): return None
    def validate_features(self): pass
"""
FLOW_POLICY = """
import torch
from configuration_flow import FlowConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.policies.rtc.modeling_rtc import RTCProcessor

class FlowPolicy(PreTrainedPolicy):
    config_class, name = FlowConfig, "flow"
    def __init__(self, config, **_):
        super().__init__(config)
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.chunks = 0
    def supports_rtc(self): return True
    def init_rtc_processor(self): self.rtc = RTCProcessor(self.config.rtc_config)
    def forward(self, batch): raise NotImplementedError
    def select_action(self, batch): raise NotImplementedError
    def get_optim_params(self): return []
    def reset(self): pass
    def predict_action_chunk(self, batch, prev_chunk_left_over=None, inference_delay=0):
        self.chunks += 1  # each chunk aims 0.2 rad beyond the one before: only guidance makes them agree
        goal = torch.full((1, 50, 14), 0.2 * self.chunks)
        x = torch.zeros(1, 50, 14)
        for step in range(10):
            time = 1.0 - step / 10
            field = lambda x: (x - goal) / time
            x = x - 0.1 * self.rtc.denoise_step(x_t=x, prev_chunk_left_over=prev_chunk_left_over,
                inference_delay=inference_delay, time=time, original_denoise_step_partial=field)
        return x
"""
MAKE_FLOW = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from configuration_flow import FlowConfig
from modeling_flow import FlowPolicy
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.act.processor_act import make_act_pre_post_processors
config = FlowConfig(input_features={"observation.state": PolicyFeature(FeatureType.STATE, (14,))},
                    output_features={"action": PolicyFeature(FeatureType.ACTION, (14,))}, device="cpu")
FlowPolicy(config).save_pretrained(sys.argv[2])
stats = {name: {"mean": torch.zeros(14), "std": torch.ones(14)} for name in ("observation.state", "action")}
for processor in make_act_pre_post_processors(config, dataset_stats=stats):
    processor.save_pretrained(sys.argv[2])
"""
SERVE_FLOW = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
import configuration_flow
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@contextlib.contextmanager
def lerobot_serving(folder: Path, make: list, serve_with: list):
    """A checkpoint made, and served by LeRobot's Python; the address."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "_ROS", "LD_"))}
    run = {"env": {**environment, "HF_HUB_OFFLINE": "1"}, "cwd": folder}
    subprocess.run([LEROBOT_PYTHON, "-c", *make], check=True, **run)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([LEROBOT_PYTHON, *serve_with, "--port", str(port), "--epoch", "1"], **run) as process:
        try:
            yield ServerAddress("127.0.0.1", port)
        finally:
            process.terminate()


@pytest.mark.skipif(not LEROBOT_PYTHON, reason="LEROBOT_PYTHON names no Python with LeRobot")
@pytest.mark.timeout(300)
def test_a_policy_of_lerobot_itself_is_served(tmp_path):
    images = {camera: Stamped(time.monotonic_ns(), jpeg()) for camera in PRESETS["lerobot"].cameras}
    with (
        lerobot_serving(tmp_path, [MAKE_CHECKPOINT, tmp_path / "act"], [SCRIPT, tmp_path / "act"]) as address,
        running(address, expected=expected("lerobot")) as it,
    ):
        wait_until(lambda: it.client.is_idle, "it is connected", 120.0)
        now_ns = time.monotonic_ns()
        latest = LatestInputs(arms=Stamped(now_ns, np.linspace(-0.1, 0.1, 14)), images=dict(images))
        rules = ObservationRules(PRESETS["lerobot"], max_age_ns=10**12)
        seen = observe(latest, rules, now_ns=now_ns, task="stack")
        chunks = [it.outcome(InferenceRequest(tag, seen.message, seen.state, seen.stamp_ns)) for tag in (1, 2)]
        facts = it.client.state.facts
    assert (facts.action_dim, facts.horizon, facts.takes_remainder) == (14, 20, False)
    assert [result.reason for result in chunks] == ["", ""]
    np.testing.assert_allclose(chunks[0].chunk.actions, chunks[1].chunk.actions, atol=1e-5)
    assert chunks[0].chunk.actions.shape == (20, 14)
    assert np.ptp(chunks[0].chunk.actions) > 0


@pytest.mark.skipif(not LEROBOT_PYTHON, reason="LEROBOT_PYTHON names no Python with LeRobot")
@pytest.mark.timeout(300)
def test_lerobots_own_real_time_chunking_continues_what_the_bridge_has_left(tmp_path):
    (tmp_path / "configuration_flow.py").write_text(FLOW_CONFIG)
    (tmp_path / "modeling_flow.py").write_text(FLOW_POLICY)
    plain = asked("lerobot", 1)
    with (
        lerobot_serving(
            tmp_path, [MAKE_FLOW, tmp_path, tmp_path / "flow"], ["-c", SERVE_FLOW, tmp_path, SCRIPT, tmp_path / "flow"]
        ) as address,
        running(address, expected=expected("lerobot")) as it,
    ):
        wait_until(lambda: it.client.is_idle, "it is connected", 120.0)
        first = it.outcome(plain).chunk
        left = first.actions[10:].astype(np.float32)

        def continuing(facts):
            return {**plain.build(facts), "prev_action_chunk": left, "inference_delay": 6}

        second = it.outcome(InferenceRequest(2, continuing, plain.state, plain.observation_ns)).chunk
        third = it.outcome(asked("lerobot", 3)).chunk
        facts = it.client.state.facts
    assert facts.takes_remainder
    np.testing.assert_allclose(first.actions, 0.2, atol=1e-3)
    np.testing.assert_allclose(second.actions[:6], left[:6], atol=0.02)  # frozen while the answer is under way
    np.testing.assert_allclose(second.actions[-1], 0.4, atol=1e-3)  # and its own beyond what was left
    np.testing.assert_allclose(third.actions, 0.6, atol=1e-3)  # not asked to continue, it does not
