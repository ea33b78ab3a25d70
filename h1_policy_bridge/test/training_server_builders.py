# SPDX-License-Identifier: Apache-2.0
"""Episodes as files, and servers as processes, for the tests of the training server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import requests

from h1_policy_bridge.training_server.lifecycle import LifeCycle, LifeParameters
from h1_policy_bridge.training_server.store import Store
from h1_policy_bridge.training_server.training import make_trainer
from h1_policy_bridge.training_server.uploads import Uploads
from h1_training_node.arm_joints import ARM_JOINT_NAMES
from h1_training_node.cameras import CAMERAS

OWN = ("--trainer", "own_trainer:Trainer")
QUICK = ("--calm-s", "0.3", "--retry-s", "0.5")
OWN_TRAINER = """
import os, time
from dataclasses import dataclass
import numpy as np
from h1_training_node.parameter import parameter
from h1_policy_bridge.training_server.policy import TrainingError

@dataclass(frozen=True)
class Settings:
    does: str = parameter("well", "what it does")

class Policy:
    def __init__(self, value): self.value = value
    def infer(self, observation): return {{"actions": np.full((50, 14), self.value, np.float32)}}
    def close(self): pass

class Trainer:
    settings_type = Settings
    def __init__(self, settings): self.does = settings.does
    def train(self, dataset, previous, out, report):
        does = open({does!r}).read().strip()
        if does == "fails": raise TrainingError("the loss is not finite")
        if does == "dies": os.kill(os.getpid(), 9)
        if does == "raises": raise RuntimeError("CUDA out of memory")
        if does == "hangs": time.sleep(600)
        if does == "writes nothing": return {{}}
        value = {{"writes nonsense": "x", "writes nan": "nan", "leaves the range": "5.0"}}.get(does, "0.05")
        if does == "is far worse": value = "1.5"
        if does == "writes much": (out / "much.bin").write_bytes(bytes(300_000))
        (out / "weights.txt").write_text(value)
        if does == "reports much": return {{"losses": [round(1 / (1 + step), 6) for step in range(50_000)]}}
        return {{"episodes": len(dataset.episodes)}}
    def load(self, checkpoint):
        if checkpoint is not None and open({does!r}).read().strip() == "loads slowly": time.sleep(600)
        return Policy(0.0 if checkpoint is None else float((checkpoint / "weights.txt").read_text()))
"""
"""What a user might write; what it does stands in a file."""
MODULE = "h1_policy_bridge.training_server.main"
POLICY_ROWS, HUMAN_ROWS = 30, 60
_TICK_NS = 20_000_000


def episode(
    folder: Path, number: int = 0, *, epoch: int = 0, outcome: str = "success", moves: bool = True, **attributes: Any
) -> Path:
    """A valid episode: the policy stands still, then a person moves both shoulders towards a coloured spot, or not."""
    target = folder / f"training_session_epoch{epoch}"
    target.mkdir(parents=True, exist_ok=True)
    path, part = target / f"episode_{number}.hdf5", target / f".episode_{number}.hdf5.part"
    rows, random = POLICY_ROWS + HUMAN_ROWS, np.random.default_rng([epoch, number])
    goal = random.uniform(0.1, 0.3) * random.choice([-1, 1]) if moves else 0.0
    share = np.clip((np.arange(rows) - POLICY_ROWS) / HUMAN_ROWS, 0.0, 1.0)[:, None]
    still = 1e-6 * np.arange(rows)[:, None] * np.eye(14)[1]  # what is measured differs from row to row
    qpos = (still + share * goal * np.eye(14)[[0, 7]].sum(axis=0)).astype(np.float32)
    human = np.arange(rows) >= POLICY_ROWS
    tick = 10**18 + _TICK_NS * np.arange(rows)
    with h5py.File(part, "w") as file:
        _write_rows(file, qpos, human, tick)
        images = np.empty(rows, h5py.vlen_dtype(np.uint8))
        images[:] = [_jpeg(goal)] * rows
        for camera in CAMERAS:
            dataset = file.create_dataset(f"observations/images/{camera}", (rows,), dtype=h5py.vlen_dtype(np.uint8))
            dataset.write_direct(images)
            file.attrs[f"stale_frames_{camera}"], file.attrs[f"jpeg_source_{camera}"] = 0, "passthrough"
        for name in ("cam_head", "cam_high", "cam_low"):
            file[f"observations/images/{name}"] = h5py.SoftLink("/observations/images/ego_cam")
        file.attrs.update(_attributes(rows, human, epoch, number, outcome) | attributes)
    part.rename(path)
    return path


def _write_rows(file: h5py.File, qpos: np.ndarray, human: np.ndarray, tick: np.ndarray) -> None:
    rows = len(qpos)
    file["observations/qpos"] = file["applied_action"] = qpos
    file["observations/qvel"] = file["observations/effort"] = np.zeros((rows, 14), np.float32)
    file["action"] = np.where(human[:, None], np.float32(0), qpos)
    file["phase"] = np.where(human, b"human", b"policy").astype("S10")
    file["segment"] = human.astype(np.int32)
    file["stamps/tick"], file["stamps/qpos"] = tick + human * _TICK_NS, tick
    file["stamps/action"] = np.where(human, -1, tick)
    for camera in CAMERAS:
        file[f"stamps/{camera}"] = tick
    for name in ("events", "gaps"):
        file.create_dataset(name, (0,), dtype=h5py.string_dtype())


def _attributes(rows: int, human: np.ndarray, epoch: int, number: int, outcome: str) -> dict[str, Any]:
    empty = dict.fromkeys(("gains", "payload", "serials", "versions", "config_sha256", "timestamp"), "{}")
    limits = {"lower_rad": [-3.0] * 14, "upper_rad": [3.0] * 14}
    return empty | {
        "episode_uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{epoch}/{number}")),
        "joint_names": json.dumps(ARM_JOINT_NAMES),
        "limits": json.dumps(limits),
        "episode_length": rows,
        "fps": 50,
        "policy_frames": int((~human).sum()),
        "human_frames": int(human.sum()),
        "outcome": outcome,
        "advantage": outcome == "success",
        "end_reason": "operator",
        "epoch": epoch,
        "episode": number,
        "task": "reach",
        "prompt": "reach, Advantage=True",
        "interventions": 1,
        "gap_count": 0,
        "event_count": 0,
        "duplicate_rows": 0,
        "measured_fps": 50.0,
        "format_version": 2,
    }


def _jpeg(goal: float) -> np.ndarray:
    image = np.full((48, 64, 3), 128, np.uint8)
    cv2.circle(image, (round(32 + 80 * goal), 24), 5, (0, 0, 255), -1)
    return cv2.imencode(".jpg", image)[1].ravel()


def observation(dim: int = 14, *, aloha: bool = False, **changes: object) -> dict[str, Any]:
    image = np.zeros((3, 224, 224) if aloha else (224, 224, 3), np.uint8)
    names = ("cam_high" if aloha else "cam_head", "cam_left_wrist", "cam_right_wrist")
    full = {"state": np.zeros(dim, np.float32), "images": dict.fromkeys(names, image), "prompt": "reach"}
    return {**full, **changes}


def own_trainer(folder: Path) -> Callable[[str], None]:
    """Write a trainer of one's own into the folder; what is returned says what it does from now on, e.g. `hangs`."""
    does = folder / "does"
    (folder / "own_trainer.py").write_text(textwrap.dedent(OWN_TRAINER.format(does=str(does))))
    does.write_text("well")
    return lambda what: does.write_text(what) and None


def own_path(folder: Path) -> str:
    """`PYTHONPATH` with which a server finds the trainer in the folder."""
    return f"{folder}:{os.environ.get('PYTHONPATH', '')}"


class Served:
    """A server as a process."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        command = [sys.executable, "-m", MODULE, "--port", "0", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | variables
        )
        assert self.process.stdout is not None
        self.said = ""
        while not (match := re.search(r"listening on wss?://127.0.0.1:(\d+)", self.said)):
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"ended with status {self.process.wait()}: {self.said}")
            self.said += line
        self.port = int(match[1])

    def status(self, **options: Any) -> dict[str, Any]:
        reply: dict[str, Any] = requests.get(
            f"http://127.0.0.1:{self.port}/training_status", timeout=5, **options
        ).json()
        return reply

    def until(self, what: str, timeout_s: float = 60.0, **expected: Any) -> dict[str, Any]:
        """Wait for a status with these values; a value that can be called has to be true of it."""
        deadline = time.monotonic() + timeout_s
        while True:
            status = self.status()
            if all(
                wanted(status.get(name)) if callable(wanted) else status.get(name) == wanted
                for name, wanted in expected.items()
            ):
                return status
            assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}; last {status}"
            time.sleep(0.05)


class Life:
    """A life cycle in this process, stepped by hand."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.store = Store(folder / "checkpoints")
        self.uploads = Uploads(folder)
        parameters = LifeParameters(calm_s=2.0, retry_s=60.0, **options)
        settings = {"training_s": 0.0}
        self.life = LifeCycle(
            self.store, self.uploads, make_trainer("scripted", settings), ("scripted", settings), parameters
        )


@contextlib.contextmanager
def serving(*arguments: str, **variables: str) -> Iterator[Served]:
    """A server that is ended with the block."""
    served = Served(*arguments, **variables)
    try:
        yield served
    finally:
        served.process.terminate()
        try:
            served.process.communicate(timeout=20)
        finally:
            served.process.kill()
