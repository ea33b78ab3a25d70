# SPDX-License-Identifier: Apache-2.0
"""What an export costs beside LeRobot's own writer, and what many episodes take (EXPORT_EPISODES, default 300).

    python h1_recorder/bench/bench_export.py [EPISODE...]

Recorded files; without one the two newest below data/episodes, and where there is none an image that moves under heavy
noise. LeRobot's writer runs in the same pass, both on all cores, if LEROBOT_PYTHON names the Python of an
environment with lerobot 0.6. Prints a line a figure and adds them to data/bench/h1_recorder.json.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import h5py
import numpy as np

from h1_recorder.episode.episode import read
from h1_recorder.episode.save import label_episode
from h1_recorder.export.export import export
from h1_recorder.export.folder import cores
from h1_recorder.export.labels import Labelling
from h1_recorder.export.plan import Options

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "h1_recorder/test/data/format_1.hdf5"
FIGURES = ROOT / "data/bench/h1_recorder.json"
ROWS, MANY = 150, int(os.environ.get("EXPORT_EPISODES", "300"))
_INTO_RANGE = np.float32(0.001)
"""The sample's joints are at hundreds of radians, which is no pose of the arms."""
OPTIONS = Options(labelling=Labelling("lookahead", 1))


def synthetic(path: Path) -> Path:
    """An episode of `ROWS` rows at 50 Hz with 480x640 images at 25 Hz, textured, moving and noisy."""
    rng = np.random.default_rng(1)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (700, 1000, 3), np.uint8), (0, 0), 4)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    jpegs = []
    for number in range(ROWS // 2):
        x, y = round(80 + 70 * np.sin(number / 25)), round(60 + 50 * np.cos(number / 31))
        image = texture[y : y + 480, x : x + 640] + rng.normal(0, 3, (480, 640, 3))
        jpegs.append(cv2.imencode(".jpg", np.clip(image, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])[1])
    with h5py.File(SAMPLE) as old, h5py.File(path, "w") as new:
        _lengthen(old, new)
        images = new.create_group("observations/images")
        for camera in ("ego_cam", "cam_left_wrist", "cam_right_wrist"):
            dataset = images.create_dataset(camera, (ROWS,), h5py.vlen_dtype(np.uint8))
            for row in range(ROWS):
                dataset[row] = jpegs[row // 2]
        for link in ("cam_head", "cam_high", "cam_low"):
            images[link] = h5py.SoftLink("/observations/images/ego_cam")
    return path


def _lengthen(old: h5py.File, new: h5py.File) -> None:
    """The sample's attributes and columns, stretched to `ROWS` rows of a policy."""
    for name, value in old.attrs.items():
        new.attrs[name] = value
    new.attrs["episode_length"] = new.attrs["policy_frames"] = ROWS
    new.attrs["human_frames"] = 0
    new.attrs["interventions"] = 0
    tick = int(old["stamps/tick"][0]) + np.arange(ROWS, dtype=np.int64) * 20_000_000

    def stretch(name: str, item: object) -> None:
        if not isinstance(item, h5py.Dataset) or "images" in name:
            return
        if name.startswith("stamps/"):
            new[name] = tick - (0 if name.endswith("tick") else 1_000_000)
        elif name in ("events", "gaps"):
            old.copy(item, new, name)
        elif name == "phase":
            new[name] = np.full(ROWS, b"policy", "S10")
        elif name == "segment":
            new[name] = np.zeros(ROWS, np.int32)
        else:
            moving = np.resize(item[0], (ROWS, item.shape[1])) + 0.01 * np.arange(ROWS)[:, None]
            new[name] = _INTO_RANGE * moving.astype(np.float32)

    old.visititems(stretch)


def jpegs(episodes: list[Path], camera: str) -> Iterator[np.ndarray]:
    """Every row's image of a camera."""
    for episode in episodes:
        with h5py.File(episode) as file:
            yield from file[f"observations/images/{camera}"]


def images_of(videos: list[Path]) -> Iterator[np.ndarray]:
    """Every image of videos that follow each other, (H, W, 3) uint8 RGB."""
    for video in videos:
        with av.open(str(video)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")


def psnr(videos: list[Path], episodes: list[Path], camera: str) -> float:
    """Of a camera's videos of all rows, dB."""
    errors = []
    for data, shown in zip(jpegs(episodes, camera), images_of(videos), strict=True):
        image = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        errors.append(((shown.astype(np.float32) - image) ** 2).mean())
    return float(10 * np.log10(255**2 / np.mean(errors)))


def quality(folder: Path, episodes: list[Path]) -> tuple[float, float]:
    """PSNR over all cameras, dB, and bytes an image."""
    videos: dict[str, list[Path]] = {}
    for path in sorted(path for path in folder.rglob("*.mp4") if ".export" not in path.parts):
        videos.setdefault(path.parts[-3].split(".")[-1], []).append(path)
    rows = sum(len(read(episode)) for episode in episodes) * len(videos)
    size = sum(path.stat().st_size for paths in videos.values() for path in paths)
    return float(np.mean([psnr(paths, episodes, camera) for camera, paths in videos.items()])), size / rows


def beside_lerobot(folder: Path, episodes: list[Path]) -> dict[str, float]:
    """Ours and LeRobot's writer on the same episodes, in one run."""
    rows = sum(len(read(episode)) for episode in episodes)
    begun, before = time.monotonic(), os.times()
    ours = export("lerobot", episodes, folder / "ours", OPTIONS, jobs=cores()).folder
    wall_s, used = time.monotonic() - begun, os.times()
    cpu_s = sum(used[:4]) - sum(before[:4])
    decibel, size = quality(ours, episodes)
    figures = {"export_psnr_db": decibel, "export_bytes_per_image": size, "export_rows_per_s": rows / wall_s}
    python = os.environ.get("LEROBOT_PYTHON", "")
    if not python:
        print("LEROBOT_PYTHON is not set: LeRobot's writer is not measured")
        return figures
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
    }
    writer = [python, str(Path(__file__).with_name("lerobot_writer.py")), str(folder / "theirs"), *map(str, episodes)]
    said = subprocess.run(writer, env=environment, check=True, capture_output=True, text=True).stdout.split()
    their_wall_s, their_cpu_s = float(said[-2]), float(said[-1])
    decibel, size = quality(folder / "theirs", episodes)
    return figures | {
        "lerobot_psnr_db": decibel,
        "lerobot_bytes_per_image": size,
        "lerobot_rows_per_s": rows / their_wall_s,
        "export_speed_over_lerobot": their_wall_s / wall_s,
        "export_cpu_speed_over_lerobot": their_cpu_s / cpu_s,
    }


def many(folder: Path) -> dict[str, float]:
    """`MANY` short episodes: memory, and what a new label costs."""
    paths = []
    (folder / "many").mkdir()
    for number in range(MANY):
        path = folder / f"many/episode_{number}.hdf5"
        shutil.copy(SAMPLE, path)
        with h5py.File(path, "r+") as file:
            file.attrs["episode_uuid"] = str(uuid.UUID(int=number))
            for column in ("observations/qpos", "action", "applied_action"):
                file[column][:] = file[column][:] * _INTO_RANGE
        paths.append(path)
    begun = time.monotonic()
    export("lerobot", paths, folder / "dataset", OPTIONS, jobs=cores())
    first_s = time.monotonic() - begun
    label_episode(paths[MANY // 2], "failure")
    begun = time.monotonic()
    made = export("lerobot", paths, folder / "dataset", OPTIONS, jobs=cores()).made
    again_s = time.monotonic() - begun
    begun = time.monotonic()
    removed = export("lerobot", paths[1:], folder / "dataset", OPTIONS, jobs=cores()).made
    return {
        "export_many_s": first_s,
        "export_many_relabel_s": again_s,
        "export_many_relabel_encoded": made["encoded"],
        "export_many_remove_s": time.monotonic() - begun,
        "export_many_remove_encoded": removed["encoded"],
        "export_many_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "export_many_worker_rss_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3,
    }


def main() -> int:
    """Measure, print, save."""
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=FIGURES.parent, prefix="export_") as name:
        folder = Path(name)
        figures |= many(folder)  # first: the peak of memory is to be its own
        recorded = sorted((ROOT / "data/episodes").rglob("episode_*.hdf5"), key=lambda path: path.stat().st_mtime)
        given = [Path(path) for path in sys.argv[1:]]
        episodes = given or recorded[-2:] or [synthetic(folder / "episode_0.hdf5")]
        print(f"beside LeRobot's writer: {', '.join(map(str, episodes))}", flush=True)
        figures |= beside_lerobot(folder, episodes)
    for key, value in figures.items():
        print(f"{key:36} {value:.2f}", flush=True)
    known = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    FIGURES.write_text(json.dumps(known | {key: round(value, 3) for key, value in figures.items()}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
