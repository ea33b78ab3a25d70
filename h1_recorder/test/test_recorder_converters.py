# SPDX-License-Identifier: Apache-2.0
"""Converters of openpi and its fork find in our files what they look for.

The readers below follow the documented way of those programs, without them: which names they try, how they know JPEG
from raw images, and what they take from the attributes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from recorder_builders import JournalBuilder, jpeg, ordinary

from h1_recorder.episode.save import label_episode, save_journal
from h1_training_node.cameras import CAMERAS

SHADES = {"ego_cam": 40, "cam_left_wrist": 120, "cam_right_wrist": 200}


def shaded() -> JournalBuilder:
    """An ordinary episode whose cameras are distinguished by their shade."""
    builder = ordinary()
    builder.messages = [entry for entry in builder.messages if entry[1] not in CAMERAS]
    for camera, shade in SHADES.items():
        for ms in np.arange(0, 2600, 1000 / 30):
            builder.image(camera, float(ms), jpeg(shade))
    return builder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(save_journal(shaded().write(tmp_path / ".episode_0.mcap")).path)


def fork_camera(images: Any) -> tuple[str, bool]:
    """Head camera of the fork's later converters, and whether it is read as JPEG: `cam_head` first, by its type;
    `ego_cam` otherwise, always as raw images."""
    if "cam_head" in images:
        dataset = images["cam_head"]
        return "cam_head", dataset.dtype == object or dataset.ndim == 1
    return "ego_cam", False


def fork_images(dataset: Any) -> np.ndarray:
    """JPEG to RGB, row by row."""
    decoded = [cv2.imdecode(np.frombuffer(bytes(row), np.uint8), cv2.IMREAD_COLOR) for row in dataset]
    return np.stack([cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in decoded])


def openpi_raw_episode(path: Path) -> dict[str, Any]:
    """As openpi's converter for ALOHA loads an episode: four fixed cameras, raw if of four dimensions, else JPEG."""
    found: dict[str, Any] = {}
    with h5py.File(path, "r") as file:
        for camera in ("cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist"):
            dataset = file[f"/observations/images/{camera}"]
            if dataset.ndim == 4:
                found[camera] = dataset[:]
            else:
                found[camera] = np.array([cv2.cvtColor(cv2.imdecode(r, 1), cv2.COLOR_BGR2RGB) for r in dataset])
        found["state"], found["action"] = file["/observations/qpos"][:], file["/action"][:]
        for name in ("qvel", "effort"):
            found[name] = file[f"/observations/{name}"][:] if f"/observations/{name}" in file else None
    return found


def test_the_forks_later_converter_takes_the_head_camera_as_jpeg(path: Path) -> None:
    with h5py.File(path, "r") as file:
        name, is_jpeg = fork_camera(file["observations/images"])
        assert (name, is_jpeg) == ("cam_head", True), "it would read vlen JPEG as raw images"
        images = fork_images(file[f"observations/images/{name}"])
    assert images.shape == (100, 24, 32, 3)
    assert abs(images.mean() - SHADES["ego_cam"]) < 2


def test_the_forks_converter_finds_both_wrists_as_jpeg(path: Path) -> None:
    with h5py.File(path, "r") as file:
        for camera in ("cam_left_wrist", "cam_right_wrist"):
            dataset = file["observations/images"][camera]
            assert dataset.dtype == object and dataset.ndim == 1
            assert abs(fork_images(dataset).mean() - SHADES[camera]) < 2


def test_without_the_link_the_fork_would_read_jpeg_as_raw_images(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["observations/images/cam_head"]
        assert fork_camera(file["observations/images"]) == ("ego_cam", False)


@pytest.mark.parametrize(("outcome", "expected"), [("success", True), ("failure", False), ("unlabeled", False)])
def test_the_forks_prompt_takes_its_advantage_from_the_outcome(path: Path, outcome: str, expected: bool) -> None:
    label_episode(path, outcome)
    with h5py.File(path, "r") as file:
        advantage = file.attrs["advantage"]
        assert f"{file.attrs['task']}, Advantage={bool(advantage)}" == f"pick up the block, Advantage={expected}"
        assert file["action"][:, :14].shape == file["observations/qpos"][:, :14].shape == (100, 14)


def test_openpis_converter_for_aloha_loads_an_episode_whole(path: Path) -> None:
    found = openpi_raw_episode(path)
    for name in ("state", "action", "qvel", "effort"):
        assert found[name].shape == (100, 14) and found[name].dtype == np.float32, name
    shades = {"cam_high": "ego_cam", "cam_low": "ego_cam", "cam_left_wrist": "cam_left_wrist"}
    for camera, ours in {**shades, "cam_right_wrist": "cam_right_wrist"}.items():
        assert found[camera].shape == (100, 24, 32, 3), camera
        assert abs(found[camera].mean() - SHADES[ours]) < 2, camera


def test_colours_come_out_as_red_green_blue(tmp_path: Path) -> None:
    builder = ordinary()
    builder.messages = [entry for entry in builder.messages if entry[1] != "ego_cam"]
    red = np.zeros((24, 32, 3), np.uint8)
    red[:, :, 2] = 255  # OpenCV's order is blue, green, red
    for ms in np.arange(0, 2600, 1000 / 30):
        builder.image("ego_cam", float(ms), bytes(cv2.imencode(".jpg", red)[1]))
    path = Path(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    assert openpi_raw_episode(path)["cam_high"][0, 12, 16].tolist() == pytest.approx([254, 0, 0], abs=2)
    with h5py.File(path, "r") as file:
        assert fork_images(file["observations/images/cam_head"])[0, 12, 16].tolist() == pytest.approx(
            [254, 0, 0], abs=2
        )


def test_our_own_reader_sees_each_camera_once(path: Path) -> None:
    from h1_recorder.episode.episode import read

    assert set(read(path).cameras) == set(CAMERAS)
