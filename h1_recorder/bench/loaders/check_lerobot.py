# SPDX-License-Identifier: Apache-2.0
"""Loads an export with LeRobot's own loader and compares every frame and chunk with the episodes it was made of.

    VENV/bin/python h1_recorder/bench/loaders/check_lerobot.py DATASET FOLDER_OF_EPISODES

VENV has lerobot (0.4 and later for `lerobot`, 0.3.3 or the commit that openpi pins for `lerobot-v2.1`), h5py, OpenCV,
and nothing of this project: what is expected is read from the HDF5 files again, by the rules of datasets.md.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import cv2
import h5py
import numpy as np

CHUNK = 50
CAMERAS = ("ego_cam", "cam_left_wrist", "cam_right_wrist")
MODULES = ("lerobot.datasets.lerobot_dataset", "lerobot.common.datasets.lerobot_dataset")


def loader() -> Any:
    """LeRobot's module of datasets, where this version has it."""
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
    raise SystemExit("no lerobot in this environment")


def images(file: h5py.File, camera: str, row: int) -> np.ndarray:
    image = cv2.imdecode(np.asarray(file[f"observations/images/{camera}"][row], np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(((one.astype(float) - other) ** 2).mean(), 1e-9)))


class Checked:
    """What was compared, and what differed."""

    def __init__(self) -> None:
        self.frames = self.padded = self.images = 0
        self.psnr: list[float] = []
        self.wrong: list[str] = []

    def same(self, what: str, found: Any, expected: Any, tolerance: float = 0.0) -> None:
        found, expected = np.asarray(found), np.asarray(expected)
        if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=tolerance):
            self.wrong.append(f"{what}: {found} instead of {expected}")


def check_run(dataset: Any, start: int, run: tuple[int, int], file: h5py.File, every: int, checked: Checked) -> None:
    """All frames of one episode of the dataset; images of every `every`-th."""
    first, last = run
    phase = file["phase"][first:last]
    assert len(set(phase)) == 1, "a run has one phase"
    policy = phase[0] == b"policy"
    labels = np.stack([np.asarray(dataset.hf_dataset[start + at]["action"]) for at in range(last - first)])
    for at in range(last - first):
        row, name = first + at, f"episode {file.filename} row {first + at}"
        with_images = at % every == 0 or at in (0, last - first - 1)
        item = dataset[start + at] if with_images else dataset.hf_dataset[start + at]
        checked.frames += 1
        for ours, theirs in (("observations/qpos", "observation.state"), ("applied_action",) * 2):
            checked.same(f"{name} {theirs}", item[theirs], file[ours][row])
        for name_of in ("qvel", "effort"):
            checked.same(f"{name} {name_of}", item[name_of], file[f"observations/{name_of}"][row])
        checked.same(f"{name} stamp", item["stamps.tick"], file["stamps/tick"][row])
        if policy:
            checked.same(f"{name} action", labels[at], file["action"][row])
        else:
            checked.same(f"{name} label near the next rows", labels[at], file["observations/qpos"][row], 0.1)
        checked.same(f"{name} intervention", item["intervention"], not policy)
        checked.same(f"{name} done", item["next.done"], at == last - first - 1)
        if not with_images:
            continue
        ahead = np.minimum(np.arange(at, at + CHUNK), last - first - 1)
        checked.same(f"{name} chunk", item["action"], labels[ahead])
        checked.same(f"{name} is_pad", item["action_is_pad"], np.arange(at, at + CHUNK) >= last - first)
        checked.padded += int(np.asarray(item["action_is_pad"]).any())
        for camera in CAMERAS:
            found = (np.asarray(item[f"observation.images.{camera}"]).transpose(1, 2, 0) * 255).round()
            checked.psnr.append(psnr(images(file, camera, row), found))
            checked.images += 1
            if checked.psnr[-1] < 33:
                checked.wrong.append(f"{name} {camera}: {checked.psnr[-1]:.1f} dB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("episodes", type=Path)
    parser.add_argument("--every", type=int, default=10, help="images and chunks of every so many frames")
    parser.add_argument("--backend", default="pyav", help="decoder of videos: pyav or torchcodec")
    arguments = parser.parse_args()
    chunk = {"action": [step / 50 for step in range(CHUNK)]}
    module = loader()
    dataset = module.LeRobotDataset(
        "test/h1", root=arguments.dataset, delta_timestamps=chunk, video_backend=arguments.backend
    )
    sources = json.loads((arguments.dataset / "meta/h1_2_export.json").read_text())["sources"]
    checked, start = Checked(), 0
    for source in sources:
        with h5py.File(arguments.episodes / source["file"]) as file:
            for run in source["runs"]:
                check_run(dataset, start, tuple(run), file, arguments.every, checked)
                start += run[1] - run[0]
    checked.same("frames", len(dataset), start)
    checked.same("episodes", dataset.num_episodes, sum(len(source["runs"]) for source in sources))
    import torch

    batch = next(iter(torch.utils.data.DataLoader(dataset, batch_size=8, shuffle=True)))
    print(
        f"lerobot {importlib.metadata.version('lerobot')} ({module.__name__}): {dataset.num_episodes} episodes,"
        f" {checked.frames} frames, {checked.images} images ({np.mean(checked.psnr):.2f} dB, least"
        f" {min(checked.psnr):.2f}), {checked.padded} chunks reach an end; a batch: state"
        f" {tuple(batch['observation.state'].shape)}, action {tuple(batch['action'].shape)}, task {batch['task'][0]!r}"
    )
    print(*checked.wrong[:20], f"{len(checked.wrong)} differences", sep="\n")
    return int(bool(checked.wrong))


if __name__ == "__main__":
    sys.exit(main())
