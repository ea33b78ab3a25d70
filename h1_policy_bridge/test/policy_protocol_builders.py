# SPDX-License-Identifier: Apache-2.0
"""What the tests of all protocols ask, and what GR00T's endpoints answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import json_numpy
import numpy as np
from openpi_client import msgpack_numpy as openpi_msgpack
from policy_builders import ramp
from policy_servers import groot_packed, groot_unpacked

from h1_policy_bridge.chunk import Expectation
from h1_policy_bridge.connection import ServerAddress
from h1_policy_bridge.layout import PRESETS
from h1_policy_bridge.observation import LatestInputs, ObservationRules, Stamped, observe
from h1_policy_bridge.protocols import PROTOCOLS
from h1_policy_bridge.protocols.link import LinkConfig
from h1_policy_bridge.values import InferenceRequest

ACTIONS = ramp(slope=0.005)
LIMBS = {"left_arm": slice(0, 7), "right_arm": slice(7, 14)}
MODALITIES = {
    "video": {"__ModalityConfig_class__": True, "as_json": {"modality_keys": ["ego_view"], "delta_indices": [0]}},
    "state": {"__ModalityConfig_class__": True, "as_json": {"modality_keys": ["left_arm", "right_arm"]}},
    "action": {"__ModalityConfig_class__": True, "as_json": {"modality_keys": ["left_arm", "right_arm"]}},
}


def asked(preset: str, tag: int = 1) -> InferenceRequest:
    """A request of three grey images and a state that is recognised again."""
    latest = LatestInputs(arms=Stamped(10, np.linspace(0.0, 0.3, 14)))
    rules = ObservationRules(PRESETS[preset], allow_dummy_cameras=True)
    observation = observe(latest, rules, now_ns=20, task="stack")
    return InferenceRequest(tag, observation.message, observation.state, observation.stamp_ns)


def expected(preset: str) -> Expectation:
    return Expectation(layout=PRESETS[preset])


def groot_answers(seen: list[dict], *, modalities: object = MODALITIES, flat: bool = False):
    """GR00T's endpoints, with actions by limb."""

    def answer(request: dict) -> bytes:
        seen.append(request)
        if request["endpoint"] == "ping":
            return groot_packed({"status": "ok", "message": "Server is running"})
        if request["endpoint"] == "get_modality_config":
            return groot_packed(modalities)
        if flat:
            return groot_packed({f"action.{limb}": ACTIONS[:, where] for limb, where in LIMBS.items()})
        limbs = {limb: ACTIONS[None, :, where].astype(np.float32) for limb, where in LIMBS.items()}
        return groot_packed([limbs, {}])

    return answer


def encoded(protocol: str, observation: Mapping[str, Any]) -> bytes:
    """A request of `protocol`; encoding needs no connection."""
    link = object.__new__(PROTOCOLS[protocol])
    link._config = LinkConfig(ServerAddress("127.0.0.1", 1))
    return link.encode(observation)


def as_its_server_reads_it(protocol: str, request: bytes) -> Any:
    """The observation in a request, by the codec of that protocol's own project."""
    if protocol == "openpi":
        return openpi_msgpack.unpackb(request)
    if protocol == "http":
        return json_numpy.loads(request.decode())
    data = groot_unpacked(request)["data"]
    return data.get("observation", data)
