# SPDX-License-Identifier: Apache-2.0
"""Loads an export with robomimic's own SequenceDataset and compares it with the episodes it was made of.

    VENV/bin/python h1_recorder/bench/loaders/check_robomimic.py DATASET FOLDER_OF_EPISODES

VENV has robomimic and OpenCV, and nothing of this project. The images are compared where the export did not resize.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import robomimic.utils.file_utils as file_utils
import robomimic.utils.obs_utils as obs_utils
import torch
from robomimic.utils.dataset import SequenceDataset

CHUNK = 10
LOW_DIM = ["qpos", "qvel", "effort", "applied_action"]


def main() -> int:
    dataset_path, episodes = Path(sys.argv[1]) / "dataset.hdf5", Path(sys.argv[2])
    obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": LOW_DIM, "rgb": ["ego_cam"]}})
    shapes = file_utils.get_shape_metadata_from_dataset(str(dataset_path), all_obs_keys=[*LOW_DIM, "ego_cam"])
    dataset = SequenceDataset(
        hdf5_path=str(dataset_path),
        obs_keys=[*LOW_DIM, "ego_cam"],
        dataset_keys=["actions", "rewards", "dones"],
        seq_length=CHUNK,
        hdf5_cache_mode=None,
        load_next_obs=True,
        filter_by_attribute="train",
    )
    with h5py.File(dataset_path) as file:
        sources = json.loads(file["data"].attrs["h1_2_export"])["sources"]
    wrong, frames, images = 0, 0, 0
    by_demo = {demo: dataset._demo_id_to_start_indices[demo] for demo in dataset.demos}
    number = 0
    for source in sources:
        with h5py.File(episodes / source["file"]) as episode:
            qpos, action = episode["observations/qpos"][:], episode["action"][:]
            policy = episode["phase"][:] == b"policy"
            for first, last in source["runs"]:
                start = by_demo.get(f"demo_{number}")
                number += 1
                for row in range(first, last, 5) if start is not None else ():
                    item = dataset[start + row - first]
                    ahead = np.minimum(np.arange(row, row + CHUNK), last - 1)
                    frames += 1
                    wrong += not np.array_equal(item["obs"]["qpos"], qpos[ahead])
                    wrong += not np.array_equal(item["next_obs"]["qpos"][0], qpos[min(row + 1, last - 1)])
                    if policy[row]:
                        wrong += not np.array_equal(item["actions"], action[ahead])
                    else:
                        wrong += not np.allclose(item["actions"], qpos[ahead], atol=0.1)
                    data = np.asarray(episode["observations/images/ego_cam"][row], np.uint8)
                    image = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
                    if item["obs"]["ego_cam"].shape[1:] == image.shape:
                        images += 1
                        wrong += not np.array_equal(item["obs"]["ego_cam"][0], image)
    batch = next(iter(torch.utils.data.DataLoader(dataset, batch_size=4, shuffle=True)))
    print(
        f"robomimic {importlib.metadata.version('robomimic')}: action dimension {shapes['ac_dim']}, image"
        f" {shapes['all_shapes']['ego_cam']}; {frames} sequences of {CHUNK}, {images} images compared; a batch: qpos"
        f" {tuple(batch['obs']['qpos'].shape)}, images {tuple(batch['obs']['ego_cam'].shape)}; {wrong} differences"
    )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
