# SPDX-License-Identifier: Apache-2.0
"""Writes episodes with LeRobot's own writer, its defaults; for bench_export.py, in an environment that has lerobot.

VENV/bin/python lerobot_writer.py TARGET EPISODE...      # prints seconds, wall and CPU
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import cv2
import h5py
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

CAMERAS = ("ego_cam", "cam_left_wrist", "cam_right_wrist")


def main() -> int:
    target, episodes = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    with h5py.File(episodes[0]) as file:
        height, width = cv2.imdecode(file["observations/images/ego_cam"][0], cv2.IMREAD_COLOR).shape[:2]
    names = ("observation.state", "action")
    features = {name: {"dtype": "float32", "shape": (14,), "names": None} for name in names}
    for camera in CAMERAS:
        shape = {"dtype": "video", "shape": (height, width, 3), "names": ["height", "width", "channels"]}
        features[f"observation.images.{camera}"] = shape
    begun, cpu = time.monotonic(), os.times()
    dataset = LeRobotDataset.create("bench/h1", 50, features=features, root=target, image_writer_threads=4)
    for episode in episodes:
        add(dataset, episode)
    dataset.finalize()
    wall_s, used = time.monotonic() - begun, os.times()
    print(wall_s, sum(used[:4]) - sum(cpu[:4]))
    return 0


def add(dataset: LeRobotDataset, path: Path) -> None:
    """One episode, row by row."""
    with h5py.File(path) as file:
        columns = {"observation.state": file["observations/qpos"][:], "action": file["action"][:]}
        jpegs = {camera: file[f"observations/images/{camera}"][:] for camera in CAMERAS}
    for row in range(len(columns["action"])):
        images = {
            f"observation.images.{camera}": cv2.cvtColor(cv2.imdecode(data[row], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            for camera, data in jpegs.items()
        }
        dataset.add_frame(
            {**{name: np.array(values[row]) for name, values in columns.items()}, **images, "task": "bench"}
        )
    dataset.save_episode()


if __name__ == "__main__":
    sys.exit(main())
