# SPDX-License-Identifier: Apache-2.0
"""Loads an ALOHA export with the loaders of act, act-plus-plus, openvla-oft and openpi, and compares what they give.

    VENV/bin/python h1_recorder/bench/loaders/check_aloha.py LOADER CHECKOUT DATASET FOLDER_OF_EPISODES

LOADER is act, act-plus-plus, openvla-oft or openpi, CHECKOUT a copy of its repository. VENV has torch, torchvision,
h5py, IPython, OpenCV, Pillow and tqdm, and nothing of this project.
"""

from __future__ import annotations

import ast
import json
import sys
import types
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np

CAMERAS = {"cam_high": "ego_cam", "cam_left_wrist": "cam_left_wrist", "cam_right_wrist": "cam_right_wrist"}
ROWS = (0, 17, 60)


class Expected:
    """What the episode files say of a file of the export."""

    def __init__(self, dataset: Path, number: int, episodes: Path) -> None:
        self.path = dataset / f"episode_{number}.hdf5"
        with h5py.File(self.path) as file:
            name, self.first, self.last = json.loads(file.attrs["source"])
            self.padded = int(file.attrs["padded_rows"])
            self.labels = file["action"][:]
        self.file = h5py.File(episodes / name)
        self.length = self.last - self.first + self.padded

    def row(self, row: int) -> int:
        return min(self.first + row, self.last - 1)

    def values(self, name: str) -> np.ndarray:
        return np.stack([self.file[name][self.row(row)] for row in range(self.length)])

    def image(self, camera: str, row: int) -> np.ndarray:
        """(H, W, 3) BGR."""
        data = np.asarray(self.file[f"observations/images/{CAMERAS[camera]}"][self.row(row)], np.uint8)
        return cv2.imdecode(data, cv2.IMREAD_COLOR)


class Differences(list[str]):
    def same(self, what: str, found: Any, expected: Any, tolerance: float = 1e-5) -> None:
        found, expected = np.asarray(found), np.asarray(expected)
        if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=tolerance):
            self.append(f"{what}: {found.ravel()[:4]} {found.shape} instead of {expected.ravel()[:4]} {expected.shape}")


def check_labels(expected: Expected, wrong: Differences) -> None:
    """Actions of the file: the policy's own, or near to where the arms were."""
    policy, own = expected.values("phase") == b"policy", expected.values("action")
    wrong.same("policy's actions", expected.labels[policy], own[policy], 0)
    wrong.same("labels", expected.labels[~policy], expected.values("observations/qpos")[~policy], 0.1)


def check_act(utils: Any, expected: Expected, wrong: Differences, is_plus_plus: bool) -> str:
    """One item of the data set at each of ROWS, as its training loop gets it."""
    dataset_dir, number = str(expected.path.parent), int(expected.path.stem.split("_")[1])
    if is_plus_plus:
        stats, lengths = utils.get_norm_stats([str(expected.path)])
        dataset = utils.EpisodicDataset([str(expected.path)], list(CAMERAS), stats, [0], lengths, 40, "ACT")
    else:
        stats = utils.get_norm_stats(dataset_dir, len(list(expected.path.parent.glob("episode_*.hdf5"))))
        dataset = utils.EpisodicDataset([number], dataset_dir, list(CAMERAS), stats)
    qpos = expected.values("observations/qpos")
    for row in ROWS:
        utils.np.random.choice = lambda length, row=row: row  # act draws the row; here it is chosen
        images, state, action, is_pad = dataset[row if is_plus_plus else 0]
        chunk = 40 if is_plus_plus else expected.length
        ahead = expected.labels[row : row + chunk]
        found = np.asarray(action)[: len(ahead), :14] * stats["action_std"][:14] + stats["action_mean"][:14]
        wrong.same(f"row {row} action", found, ahead, 1e-4)
        wrong.same(f"row {row} is_pad", np.asarray(is_pad), np.arange(len(is_pad)) >= len(ahead))
        wrong.same(f"row {row} qpos", np.asarray(state) * stats["qpos_std"] + stats["qpos_mean"], qpos[row], 1e-4)
        for at, camera in enumerate(CAMERAS):
            with h5py.File(expected.path) as file:
                as_decoded = bool(file.attrs["compress"])
            image = expected.image(camera, row)
            image = image if as_decoded else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            wrong.same(f"row {row} {camera}", (np.asarray(images[at]) * 255).round().transpose(1, 2, 0), image)
    return f"items {tuple(images.shape)}, {tuple(state.shape)}, {tuple(action.shape)}"


def check_whole(loaded: dict[str, Any], expected: Expected, wrong: Differences) -> str:
    """A whole episode at once."""
    for name, theirs in (
        ("observations/qpos", "qpos"),
        ("observations/qvel", "qvel"),
        ("observations/effort", "effort"),
    ):
        wrong.same(theirs, loaded[theirs], expected.values(name))
    wrong.same("action", loaded["action"], expected.labels)
    for camera, images in loaded["images"].items():
        for row in ROWS:
            wrong.same(f"{camera} {row}", images[row], cv2.cvtColor(expected.image(camera, row), cv2.COLOR_BGR2RGB))
    return f"an episode of {loaded['action'].shape}, images {next(iter(loaded['images'].values())).shape}"


def functions(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """These functions of a script, without running or importing the rest of it."""
    import torch

    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    space: dict[str, Any] = {"h5py": h5py, "np": np, "torch": torch, "Path": Path, "os": __import__("os")}
    exec(
        compile(
            ast.fix_missing_locations(tree), str(path), "exec", flags=__import__("__future__").annotations.compiler_flag
        ),
        space,
    )
    return space


def main() -> int:
    loader, checkout, dataset, episodes = sys.argv[1], *map(Path, sys.argv[2:5])
    expected, wrong = Expected(dataset, 1, episodes), Differences()
    check_labels(expected, wrong)
    if loader in ("act", "act-plus-plus"):
        sys.path.insert(0, str(checkout))
        import utils

        assert isinstance(utils, types.ModuleType) and utils.__file__.startswith(str(checkout))
        said = check_act(utils, expected, wrong, loader == "act-plus-plus")
    elif loader == "openvla-oft":
        script = checkout / "experiments/robot/aloha/preprocess_split_aloha_data.py"
        qpos, qvel, effort, action, images, _ = functions(script, ("load_hdf5",))["load_hdf5"](str(expected.path))
        loaded = {"qpos": qpos, "qvel": qvel, "effort": effort, "action": action, "images": images}
        said = check_whole(loaded, expected, wrong)
    else:
        script = checkout / "examples/aloha_real/convert_aloha_data_to_lerobot.py"
        space = functions(script, ("load_raw_images_per_camera", "load_raw_episode_data"))
        images = space["load_raw_images_per_camera"]
        space["load_raw_images_per_camera"] = lambda ep, _: images(ep, list(CAMERAS))  # it asks for a cam_low too
        images, qpos, action, qvel, effort = space["load_raw_episode_data"](expected.path)
        loaded = {"qpos": qpos, "qvel": qvel, "effort": effort, "action": action, "images": images}
        said = check_whole(loaded, expected, wrong)
    print(f"{loader}: {expected.path.name}, {expected.length} rows ({expected.padded} held); {said}")
    print(*wrong[:10], f"{len(wrong)} differences", sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
