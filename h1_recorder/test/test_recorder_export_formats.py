# SPDX-License-Identifier: Apache-2.0
"""Exports for openpi's LeRobot (v2.1), robomimic and ALOHA's loaders: what their readers look for is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import h5py
import numpy as np
import pyarrow.parquet
import pytest
from export_builders import exported, make_file
from recorder_builders import ordinary

from h1_recorder.__main__ import main
from h1_recorder.episode.episode import Episode, read
from h1_recorder.episode.save import label_episode
from h1_training_node.cameras import CAMERAS

RUNS = ((0, 50), (50, 100))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_file(tmp_path / "episodes")


@pytest.fixture
def episode(path: Path) -> Episode:
    return read(path)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_v21_has_a_table_and_a_video_for_each_episode(tmp_path: Path, path: Path, episode: Episode) -> None:
    folder = exported("lerobot-v2.1", [path], tmp_path / "dataset").folder
    for index, (first, last) in enumerate(RUNS):
        rows = pyarrow.parquet.read_table(folder / f"data/chunk-000/episode_{index:06d}.parquet")
        assert np.array_equal(np.array(rows["observation.state"].to_pylist(), np.float32), episode.qpos[first:last])
        video = folder / f"videos/chunk-000/observation.images.ego_cam/episode_{index:06d}.mp4"
        with av.open(str(video)) as container:
            frames = [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
        assert [round(time * 50, 6) for time, _ in frames] == list(range(50)), "each begins at 0"
        for row in (0, 49):
            assert abs(frames[row][1].mean() - episode.image("ego_cam", first + row).mean()) < 3


def test_v21_metadata_is_what_lerobots_loader_reads(tmp_path: Path, path: Path) -> None:
    folder = exported("lerobot-v2.1", [path], tmp_path / "dataset").folder
    info = json.loads((folder / "meta/info.json").read_text())
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"]) == ("v2.1", 2, 100)
    assert (info["total_videos"], info["total_chunks"], info["total_tasks"]) == (6, 1, 1)
    assert lines(folder / "meta/tasks.jsonl") == [{"task_index": 0, "task": "pick up the block"}]
    found = lines(folder / "meta/episodes.jsonl")
    assert [(line["episode_index"], line["length"]) for line in found] == [(0, 50), (1, 50)]
    stats = [line["stats"] for line in lines(folder / "meta/episodes_stats.jsonl")]
    assert set(stats[0]) == set(info["features"])
    for name, values in stats[1].items():
        assert set(values) == {"min", "max", "mean", "std", "count"}
        assert np.shape(values["mean"]) == ((3, 1, 1) if "images" in name else tuple(info["features"][name]["shape"]))


def test_v21_relabelled_or_shortened_encodes_nothing(tmp_path: Path) -> None:
    paths = [make_file(tmp_path / "episodes", index=k) for k in range(2)]
    folder = exported("lerobot-v2.1", paths, tmp_path / "dataset").folder
    label_episode(paths[1], "failure")
    assert exported("lerobot-v2.1", paths, folder).made["encoded"] == 0
    assert exported("lerobot-v2.1", paths[1:], folder).made["encoded"] == 0
    assert len(list(folder.glob("videos/chunk-000/*/*.mp4"))) == 6
    assert not pyarrow.parquet.read_table(folder / "data/chunk-000/episode_000001.parquet")["next.success"].to_pylist()[
        -1
    ]


def test_v21_takes_its_videos_from_a_v3_export(tmp_path: Path, path: Path) -> None:
    first = exported("lerobot", [path], tmp_path / "v3").folder
    assert exported("lerobot-v2.1", [path], tmp_path / "v2", reuse=[first]).made["encoded"] == 0


def test_v21_cuts_runs_that_begin_with_the_first_valid_action(tmp_path: Path, path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["stamps/action"][:7] = -1
        file["action"][:7] = file["applied_action"][:7]
    folder = exported("lerobot-v2.1", [path], tmp_path / "dataset", only_valid=True).folder
    assert [line["length"] for line in lines(folder / "meta/episodes.jsonl")] == [43, 49]


def test_v21_cuts_runs_that_begin_where_both_hands_have_reported(tmp_path: Path) -> None:
    builder = ordinary()
    builder.messages = [entry for entry in builder.messages if entry[1] not in ("policy/action", *CAMERAS)]
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    for ms in range(0, 2600, 33):
        for camera in CAMERAS:  # nothing in them makes one a key frame
            builder.image(camera, ms, cv2.imencode(".jpg", noise)[1].tobytes())
    builder.actions(500, 1500, size=26)
    for ms in range(553, 2600, 50):  # from the third row on
        for side in ("left", "right"):
            builder.hand(side, ms, 0.25)
    path = make_file(tmp_path / "episodes", builder)
    folder = exported("lerobot-v2.1", [path], tmp_path / "dataset").folder
    assert [line["length"] for line in lines(folder / "meta/episodes.jsonl")] == [47, 50]
    again = exported("lerobot", [path], tmp_path / "v3", reuse=[folder])
    assert (again.made["encoded"], again.plan.rows) == (0, 97)


def test_robomimic_has_demonstrations_masks_and_the_next_observations(tmp_path: Path, episode: Episode) -> None:
    paths = [episode.path, make_file(tmp_path / "episodes", index=1)]
    folder = exported("robomimic", paths, tmp_path / "dataset", val_share=0.5).folder
    with h5py.File(folder / "dataset.hdf5") as file:
        data = file["data"]
        assert data.attrs["total"] == 200 and json.loads(data.attrs["env_args"])["type"] == 2
        masks = {name: {demo.decode() for demo in file[f"mask/{name}"]} for name in ("train", "valid")}
        assert masks["train"] | masks["valid"] == set(data) == {f"demo_{number}" for number in range(4)}
        assert len(masks["train"]) == len(masks["valid"]) == 2
        sources = [json.loads(data.attrs["h1_2_export"])["sources"][k]["episode_uuid"] for k in range(2)]
        first = 2 * sources.index(episode.attributes["episode_uuid"])
        for demo, (start, stop) in zip((data[f"demo_{first}"], data[f"demo_{first + 1}"]), RUNS, strict=True):
            assert demo.attrs["num_samples"] == 50
            assert np.array_equal(demo["obs/qpos"][:], episode.qpos[start:stop])
            assert np.array_equal(demo["next_obs/qpos"][:-1], episode.qpos[start + 1 : stop])
            assert np.array_equal(demo["next_obs/qpos"][-1], episode.qpos[stop - 1])
            assert demo["actions"].shape == (50, 14) and demo["dones"][:].tolist() == [0] * 49 + [1]
            image = cv2.cvtColor(episode.image("ego_cam", start + 3), cv2.COLOR_BGR2RGB)
            assert np.array_equal(demo["obs/ego_cam"][3], image)
            assert np.array_equal(demo["next_obs/ego_cam"][2], image)
        assert data[f"demo_{first + 1}"]["rewards"][-1] == 1.0 and not data[f"demo_{first}"]["rewards"][:].any()


def test_robomimics_images_can_be_made_smaller(tmp_path: Path, path: Path) -> None:
    folder = exported("robomimic", [path], tmp_path / "dataset", resize=(16, 12)).folder
    with h5py.File(folder / "dataset.hdf5") as file:
        assert file["data/demo_0/obs/ego_cam"].shape == (50, 12, 16, 3)


def test_aloha_raw_has_what_act_and_openvla_read(tmp_path: Path, path: Path, episode: Episode) -> None:
    folder = exported("aloha", [path], tmp_path / "dataset").folder
    assert sorted(found.name for found in folder.glob("*.hdf5")) == ["episode_0.hdf5", "episode_1.hdf5"]
    with h5py.File(folder / "episode_1.hdf5") as file:
        assert bool(file.attrs["sim"]) and not file.attrs["compress"]
        assert np.array_equal(file["observations/qpos"][:], episode.qpos[50:])
        assert file["observations/qvel"].shape == file["observations/effort"].shape == file["action"].shape == (50, 14)
        assert np.array_equal(file["action"][:49], episode.qpos[51:]), "a person's rows have actions"
        assert set(file["observations/images"]) == {"cam_high", "cam_left_wrist", "cam_right_wrist"}
        image = cv2.cvtColor(episode.image("ego_cam", 60), cv2.COLOR_BGR2RGB)
        assert np.array_equal(file["observations/images/cam_high"][10], image)


def test_aloha_compressed_has_the_recorded_jpegs_padded(tmp_path: Path, path: Path, episode: Episode) -> None:
    folder = exported("aloha", [path], tmp_path / "dataset", images="compressed").folder
    with h5py.File(folder / "episode_0.hdf5") as file:
        assert file.attrs["compress"] and file["compress_len"].shape == (3, 50)
        padded = file["observations/images/cam_high"][20]
        assert np.array_equal(cv2.imdecode(padded, 1), episode.image("ego_cam", 20))


def test_acts_loader_gets_episodes_of_equal_length_when_asked(tmp_path: Path, path: Path, episode: Episode) -> None:
    with h5py.File(path, "r+") as file:
        file["stamps/action"][:7] = -1
        file["action"][:7] = file["applied_action"][:7]
    folder = exported("aloha", [path], tmp_path / "dataset", only_valid=True, equal_length=True).folder
    with h5py.File(folder / "episode_0.hdf5") as short, h5py.File(folder / "episode_1.hdf5") as long:
        assert short["action"].shape == long["action"].shape == (49, 14)
        assert short.attrs["padded_rows"] == 6
        assert np.array_equal(short["observations/qpos"][42:], np.repeat(episode.qpos[49:50], 7, axis=0))


def test_aloha_with_validation_has_a_folder_for_each_split(tmp_path: Path) -> None:
    paths = [make_file(tmp_path / "episodes", index=k) for k in range(2)]
    folder = exported("aloha", paths, tmp_path / "dataset", val_share=0.5).folder
    for split in ("train", "val"):
        assert len(list((folder / split).glob("episode_?.hdf5"))) == 2


def test_a_dataset_below_its_episodes_is_no_source_of_its_own(
    tmp_path: Path, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", "aloha", str(tmp_path), str(tmp_path / "datasets/aloha"), "--lookahead", "1", "--jobs", "1"]
    assert [main(arguments), main(arguments)] == [0, 0]
    assert capsys.readouterr().out.count("1 files, 2 episodes") == 2
    assert main(["validate", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{path}: good\n"


def garbage(jpeg: np.ndarray) -> np.ndarray:
    return np.frombuffer(b"\xff\xd8\xffgarbage", np.uint8)


def with_its_middle_zeroed(jpeg: np.ndarray) -> np.ndarray:
    """OpenCV decodes it without a word, half of it grey."""
    damaged = jpeg.copy()
    damaged[-40:-2] = 0
    return damaged


@pytest.mark.parametrize("damage", [garbage, with_its_middle_zeroed])
@pytest.mark.parametrize("form", ["lerobot", "aloha"])
def test_an_image_that_does_not_decode_is_refused_with_its_row(
    tmp_path: Path, path: Path, form: str, damage: Callable[..., np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File(path, "r+") as file:
        images, stamps = file["observations/images/ego_cam"], file["stamps/ego_cam"][:]
        rows = np.flatnonzero(stamps == stamps[33])  # one image, in every row that has it
        damaged = damage(images[33])
        for row in rows:
            images[row] = damaged
    assert main(["export", form, str(path), str(tmp_path / "dataset"), "--jobs", "1"]) == 1
    assert f"{path}: image {rows[0]} of ego_cam does not decode" in capsys.readouterr().out


def test_a_dataset_has_a_card_whose_own_part_is_kept(tmp_path: Path, path: Path) -> None:
    folder = exported("lerobot", [path], tmp_path / "dataset").folder
    card = folder / "README.md"
    said = card.read_text()
    assert said.startswith("---\nlicense: unknown\n") and "configs:\n- config_name: default" in said
    for line in ("| files, episodes, rows | 1, 2, 100 at 50 Hz |", "| outcomes | 1 success |", "lookahead"):
        assert line in said, line
    assert cv2.imread(str(folder / "contact_sheet.jpg")) is not None
    card.write_text(said.replace("license: unknown", "license: mit"))
    label_episode(path, "failure")
    exported("lerobot", [path], folder)
    assert "license: mit" in card.read_text() and "| outcomes | 1 failure |" in card.read_text()
