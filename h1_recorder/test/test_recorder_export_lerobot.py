# SPDX-License-Identifier: Apache-2.0
"""Export as a LeRobotDataset v3.0: what tables, videos and metadata say, and growing without making videos again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import pyarrow.parquet
import pytest
from export_builders import LIMITS, exported, make_file
from recorder_builders import JournalBuilder, jpeg, ordinary

from h1_recorder.__main__ import main
from h1_recorder.episode.episode import read
from h1_recorder.episode.save import label_episode
from h1_recorder.export import video_store
from h1_recorder.export.folder import claimed
from h1_recorder.export.rows import ExportError
from h1_recorder.export.statistics import statistics
from h1_recorder.export.video_file import VideoSettings

DATA = "data/chunk-000/file-{:03d}.parquet"
VIDEO = "videos/observation.images.{}/chunk-000/file-{:03d}.mp4"
CAMERAS = ("ego_cam", "cam_left_wrist", "cam_right_wrist")


def table(folder: Path, name: str) -> dict[str, Any]:
    """Columns of a Parquet file, arrays where they are numbers."""
    found = pyarrow.parquet.read_table(folder / name)
    return {column: np.array(found[column].to_pylist()) for column in found.column_names}


def info(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "meta/info.json").read_text()))


def files(folder: Path) -> dict[str, bytes]:
    """Of the dataset, without what the export remembers."""
    paths = (path for path in folder.rglob("*") if path.is_file() and ".export" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Videos that are encoded, by camera and episode."""
    found: list[str] = []
    encode = video_store._encode

    def counted(target: Path, episode: Any, camera: str, settings: VideoSettings) -> Any:
        found.append(f"{episode.path.stem} {camera}")
        return encode(target, episode, camera, settings)

    monkeypatch.setattr(video_store, "_encode", counted)
    return found


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    return [make_file(tmp_path / "episodes", index=k, task=f"task {k}") for k in range(2)]


def test_each_run_of_a_file_is_an_episode_of_the_dataset(tmp_path: Path, two: list[Path]) -> None:
    folder = exported("lerobot", two, tmp_path / "dataset").folder
    meta = table(folder, "meta/episodes/chunk-000/file-000.parquet")
    assert meta["length"].tolist() == [50, 50, 50, 50]
    assert meta["dataset_from_index"].tolist() == [0, 50, 100, 150]
    assert meta["data/file_index"].tolist() == [0, 0, 1, 1]
    for edge, expected in (("from", [0.0, 1.0, 0.0, 1.0]), ("to", [1.0, 2.0, 1.0, 2.0])):
        assert meta[f"videos/observation.images.ego_cam/{edge}_timestamp"].tolist() == expected
    rows = table(folder, DATA.format(0))
    assert np.flatnonzero(rows["next.done"]).tolist() == [49, 99]
    assert np.flatnonzero(rows["next.truncated"]).tolist() == [49], "the policy's run did not end the attempt"
    assert np.flatnonzero(rows["next.success"]).tolist() == [99] == np.flatnonzero(rows["next.reward"]).tolist()
    assert rows["frame_index"].tolist() == [*range(50), *range(50)]
    assert np.allclose(rows["timestamp"], rows["frame_index"] / 50)
    assert rows["episode_index"].tolist() == [0] * 50 + [1] * 50
    assert table(folder, DATA.format(1))["index"].tolist() == list(range(100, 200))
    assert set(table(folder, DATA.format(1))["task_index"]) == {1}


def test_all_that_was_recorded_is_there(tmp_path: Path, two: list[Path]) -> None:
    folder, episode = exported("lerobot", two[:1], tmp_path / "dataset").folder, read(two[0])
    rows, human = table(folder, DATA.format(0)), episode.phase == "human"
    assert np.array_equal(rows["observation.state"], episode.qpos)
    for name in ("applied_action", "qvel", "effort", "segment"):
        assert np.array_equal(rows[name], getattr(episode, name)), name
    assert np.array_equal(rows["action"][~human], episode.action[~human])
    assert np.array_equal(rows["action"][50:99], episode.qpos[51:])
    assert np.array_equal(rows["intervention"], human)
    assert np.flatnonzero(~rows["valid_action"]).tolist() == [99]
    assert rows["pre_intervention"].tolist() == (~human).tolist(), "its one second of policy came before a person"
    for name in ("tick", "qpos", "action", *CAMERAS):
        assert np.array_equal(rows[f"stamps.{name}"], episode.stamps[name]), name
    age = (episode.stamps["tick"] - episode.stamps["ego_cam"]) / 1e9
    assert np.allclose(rows["age_s.ego_cam"], age)
    assert np.allclose(rows["age_s.action"][human], -1.0)
    assert set(rows["epoch"]) == {1} and set(rows["outcome"]) == {1}
    meta = table(folder, "meta/episodes/chunk-000/file-000.parquet")
    assert set(meta["source/episode_uuid"]) == {episode.attributes["episode_uuid"]}
    assert set(meta["source/config_sha256"]) == {"abc"}


def test_no_column_is_taken_for_an_observation_or_an_action_by_its_name(tmp_path: Path, two: list[Path]) -> None:
    features = info(exported("lerobot", two, tmp_path / "dataset").folder)["features"]
    images = {f"observation.images.{camera}" for camera in CAMERAS}
    assert {name for name in features if name.startswith(("observation", "action"))} == {
        "observation.state",
        "action",
        *images,
    }
    rows = table(tmp_path / "dataset", DATA.format(0))
    assert set(rows) == set(features) - images
    for name, column in rows.items():
        assert column.shape[1:] in ((), tuple(features[name]["shape"])), name


def test_statistics_are_exact_over_all_rows(tmp_path: Path, two: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("h1_recorder.export.statistics._VALUES_AT_ONCE", 900)  # a few values of a row at a time
    folder = exported("lerobot", two, tmp_path / "dataset").folder
    found = json.loads((folder / "meta/stats.json").read_text())
    assert set(found) == set(info(folder)["features"])
    for name in ("action", "effort", "sample_weight", "next.done", "observation.state"):
        both = np.concatenate([table(folder, DATA.format(k))[name] for k in range(2)])
        for kind, value in statistics(both).items():
            assert np.allclose(found[name][kind], value), (name, kind)
    assert np.shape(found["observation.images.ego_cam"]["q50"]) == (3, 1, 1)


def test_a_video_has_every_row_at_its_time_and_a_key_frame_where_a_run_begins(tmp_path: Path, two: list[Path]) -> None:
    folder, episode = exported("lerobot", two[:1], tmp_path / "dataset").folder, read(two[0])
    with av.open(str(folder / VIDEO.format("ego_cam", 0))) as container:
        frames = [(float(frame.time), frame) for frame in container.decode(video=0)]
    assert [round(time * 50, 6) for time, _ in frames] == list(range(100))
    assert frames[50][1].key_frame
    for row in (0, 37, 99):
        assert abs(frames[row][1].to_ndarray(format="rgb24").mean() - episode.image("ego_cam", row).mean()) < 3


def test_relabelling_an_episode_makes_no_video_again(tmp_path: Path, two: list[Path], encoded: list[str]) -> None:
    folder = exported("lerobot", two, tmp_path / "dataset").folder
    assert len(encoded) == 6
    label_episode(two[0], "failure")
    done = exported("lerobot", two, folder)
    assert len(encoded) == 6 and done.made == {"encoded": 0, "rewritten": 1}
    assert not table(folder, DATA.format(0))["next.success"].any() and set(
        table(folder, DATA.format(0))["outcome"]
    ) == {0}


def test_removing_an_early_episode_makes_no_video_again(tmp_path: Path, two: list[Path], encoded: list[str]) -> None:
    folder = exported("lerobot", two, tmp_path / "dataset").folder
    del encoded[:]
    exported("lerobot", two[1:], folder)
    exported("lerobot", two[1:], tmp_path / "fresh", reuse=[folder])
    assert encoded == []
    assert files(folder) == files(tmp_path / "fresh")
    assert len(list((folder / ".export/videos").glob("*.mp4"))) == 3, "videos of removed episodes are removed"


def test_a_folder_that_comes_later_is_appended(tmp_path: Path, two: list[Path], encoded: list[str]) -> None:
    folder = exported("lerobot", two[:1], tmp_path / "dataset").folder
    del encoded[:]
    done = exported("lerobot", two, folder)
    assert done.made["encoded"] == 3 and {name.split()[0] for name in encoded} == {"episode_1"}
    exported("lerobot", two, tmp_path / "at_once", reuse=[folder])
    assert files(folder) == files(tmp_path / "at_once")


@pytest.mark.parametrize("at", range(0, 16, 3))
def test_an_export_that_is_interrupted_anywhere_goes_on(
    tmp_path: Path, two: list[Path], encoded: list[str], at: int
) -> None:
    class InterruptedExportError(Exception):
        pass

    seen = 0

    def interrupt(what: str, done: int, of: int) -> None:
        nonlocal seen
        seen += 1
        if seen == at + 1:
            raise InterruptedExportError

    folder = tmp_path / "dataset"
    try:
        exported("lerobot", two, folder, progress=interrupt)
        finished = True
    except InterruptedExportError:
        finished = False
    assert (folder / "meta/info.json").exists() == finished, "half a dataset looked like a whole one"
    exported("lerobot", two, folder)
    assert len(encoded) == 6 == len(set(encoded)), "a video was made twice"
    exported("lerobot", two, tmp_path / "at_once", reuse=[folder])
    assert files(folder) == files(tmp_path / "at_once")
    assert not list(folder.rglob("*.part"))


def test_three_shards_join_to_the_dataset_of_one_run(tmp_path: Path, encoded: list[str]) -> None:
    paths = [make_file(tmp_path / "episodes", index=k) for k in range(5)]
    shards = [exported("lerobot", paths, tmp_path / f"shard{k}", shard=(k, 3)) for k in (1, 2, 3)]
    assert sum(done.plan.rows for done in shards) == 500
    assert len({source.path for done in shards for source in done.plan.sources}) == 5, "shards share nothing"
    del encoded[:]
    exported("lerobot", paths, tmp_path / "joined", reuse=[done.folder for done in shards])
    assert encoded == []
    exported("lerobot", paths, tmp_path / "at_once")
    assert files(tmp_path / "joined") == files(tmp_path / "at_once")


def test_processes_make_the_same_dataset_as_one(tmp_path: Path, two: list[Path]) -> None:
    exported("lerobot", two, tmp_path / "one", jobs=1)
    exported("lerobot", two, tmp_path / "two", jobs=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_the_same_images_always_become_the_same_video(tmp_path: Path, two: list[Path]) -> None:
    """Whatever the memory holds that an encoder takes from the system."""
    episode, rng = read(two[0]), np.random.default_rng(0)
    videos, memory = set(), [b""]
    for number in range(150):
        target = tmp_path / f"{number % 2}.mp4"
        video_store._encode(target, episode, "ego_cam", VideoSettings())
        videos.add(target.read_bytes())
        memory[: len(memory) // 4] = [rng.bytes(int(rng.integers(1, 3_000_000)))] * 2
    assert len(videos) == 1


def test_validation_episodes_come_last_and_are_named_in_splits(tmp_path: Path) -> None:
    paths = [make_file(tmp_path / "episodes", index=k) for k in range(4)]
    done = exported("lerobot", paths, tmp_path / "dataset", val_share=0.3, val_seed=2)
    training = done.plan.training_episodes
    assert info(done.folder)["splits"] == {"train": f"0:{training}", "val": f"{training}:8"}
    assert training % 2 == 0, "both runs of a file are in one split"


def test_the_tasks_text_names_the_advantage_when_asked(tmp_path: Path, two: list[Path]) -> None:
    label_episode(two[0], "failure")
    done = exported("lerobot", two, tmp_path / "dataset", advantage_prompt=True)
    assert done.plan.tasks == ["task 0, Advantage=False", "task 1, Advantage=True"]


def test_an_episode_with_a_nan_is_refused_with_file_and_row(tmp_path: Path, two: list[Path]) -> None:
    with h5py.File(two[1], "r+") as file:
        file["observations/qvel"][7, 3] = np.nan
    with pytest.raises(ExportError, match=r"episode_1\.hdf5: .*qvel' is not finite in 1 rows, the first is 7"):
        exported("lerobot", two, tmp_path / "dataset")
    done = exported("lerobot", two, tmp_path / "dataset", skip_invalid=True)
    assert done.plan.rows == 100 and "the first is 7" in done.plan.notes[0]


def test_the_same_episode_under_two_names_is_refused(tmp_path: Path, two: list[Path]) -> None:
    copy = tmp_path / "copy.hdf5"
    copy.write_bytes(two[0].read_bytes())
    with pytest.raises(ExportError, match=r"copy\.hdf5 is the same episode as .*episode_0\.hdf5"):
        exported("lerobot", [*two, copy], tmp_path / "dataset")


def test_episodes_of_different_rates_are_refused_together(tmp_path: Path) -> None:
    paths = [make_file(tmp_path / "episodes", index=k, fps=50 - 25 * k) for k in range(2)]
    with pytest.raises(ExportError, match=r"fps of .*episode_1\.hdf5 is 25"):
        exported("lerobot", paths, tmp_path / "dataset")


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path, two: list[Path]) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/thesis.txt").write_text("mine")
    with pytest.raises(ExportError, match="not empty"):
        exported("lerobot", two, tmp_path / "theirs")


def test_a_second_export_into_the_same_folder_at_the_same_time_is_refused(tmp_path: Path, two: list[Path]) -> None:
    with claimed(tmp_path / "dataset"), pytest.raises(ExportError, match="another export is at work in"):
        exported("lerobot", two, tmp_path / "dataset")
    assert exported("lerobot", two[:1], tmp_path / "dataset").plan.rows == 100


def test_a_camera_whose_images_change_their_size_is_named_with_episode_and_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    builder = ordinary()
    builder.messages = [entry for entry in builder.messages if entry[1] != "cam_left_wrist"]
    for ms in range(0, 2600, 20):
        builder.image("cam_left_wrist", ms, data=jpeg(ms, *((32, 24) if ms < 1500 else (64, 48))))
    path = make_file(tmp_path / "episodes", builder)
    assert main(["export", "lerobot", str(path), str(tmp_path / "dataset"), "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    assert f"failed: {path}: image " in said
    assert " of cam_left_wrist is 64x48, those before it 32x24; a video has one size" in said
    assert not list((tmp_path / "dataset").rglob("*.part"))


def with_hands(action_size: int, from_ms: int = 0) -> JournalBuilder:
    builder = ordinary()
    builder.messages = [entry for entry in builder.messages if entry[1] != "policy/action"]
    builder.actions(500, 1500, size=action_size)
    for side in ("left", "right"):
        for ms in range(from_ms, 2600, 50):
            builder.hand(side, float(ms), ms / 2600)
    return builder


def test_a_policy_with_hands_gives_26_values_and_a_persons_rows_keep_the_hands(tmp_path: Path) -> None:
    path = make_file(tmp_path / "episodes", with_hands(26))
    rows = table(exported("lerobot", [path], tmp_path / "dataset").folder, DATA.format(0))
    assert rows["observation.state"].shape == rows["action"].shape == (100, 26)
    assert np.array_equal(rows["action"][50:, 14:], np.full((50, 12), 0.5, np.float32)), "the command that keeps them"
    assert rows["hand_qpos"].shape == rows["hand_command"].shape == (100, 12)


def test_states_of_the_hands_are_there_when_the_action_has_14_values(tmp_path: Path) -> None:
    path = make_file(tmp_path / "episodes", with_hands(14))
    rows = table(exported("lerobot", [path], tmp_path / "dataset").folder, DATA.format(0))
    assert rows["action"].shape == (100, 14) and rows["hand_qpos"].shape == (100, 12)


@pytest.mark.parametrize("size", [14, 26])
def test_no_nan_of_a_hand_that_reported_late_is_exported(tmp_path: Path, size: int) -> None:
    path = make_file(tmp_path / "episodes", with_hands(size, from_ms=1000))
    done = exported("lerobot", [path], tmp_path / "dataset")
    rows = table(done.folder, DATA.format(0))
    assert np.isfinite(rows["action"]).all() and np.isfinite(rows["observation.state"]).all()
    if size == 26:
        assert len(rows["index"]) < 100 and "a hand had not reported yet" in done.plan.notes[0]
    else:
        assert len(rows["index"]) == 100 and "hand_qpos" not in rows and "hands are left out" in done.plan.notes[0]


def test_the_command_writes_parquet_as_another_reader_finds_it(
    tmp_path: Path, two: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["export", "lerobot", str(two[0]), str(tmp_path / "dataset"), "--jobs", "1", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert status == 0 and (said["rows"], said["episodes"], said["labels"]) == (100, 2, "command")
    rows = pyarrow.parquet.read_table(tmp_path / "dataset/data/chunk-000/file-000.parquet")
    assert rows.num_rows == 100 and str(rows.schema.field("action").type) == "fixed_size_list<element: float>[14]"
    tasks = pyarrow.parquet.read_table(tmp_path / "dataset/meta/tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--labels", "command", "--lookahead", "3"], "--lookahead is for --labels lookahead"),
        (["--images", "raw"], "--images has no effect on lerobot; it is for aloha"),
        (["--resize", "64x48"], "--resize has no effect on lerobot; it is for robomimic, aloha"),
        (["--crf", "60"], "--crf 60; h264 has 0 to 51"),
        (["--outcome", "good"], "outcome 'good'; known are success, failure, unlabeled"),
        (["--lookahead", "auto"], "give it: --lookahead ROWS"),
        (["--epoch", "9"], "none of 1 episodes is asked for"),
        (["--reuse", "/nowhere"], "/nowhere is no export of ours"),
    ],
)
def test_an_option_that_cannot_be_obeyed_is_refused(
    tmp_path: Path, two: list[Path], capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["export", "lerobot", str(two[0]), str(tmp_path / "dataset"), "--jobs", "1", *arguments]) == 1
    assert said in capsys.readouterr().out
    assert not (tmp_path / "dataset/meta/info.json").exists()


@pytest.mark.parametrize("wrong", [["--shard", "4/3"], ["--jobs", "0"], ["--lookahead", "0"], ["--since", "noon"]])
def test_a_value_that_is_none_is_refused_with_the_form_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", "lerobot", str(tmp_path), str(tmp_path / "dataset"), *wrong])
    assert ended.value.code == 2 and "expected" in capsys.readouterr().err


def test_an_episode_without_limits_is_refused_for_commands_only(tmp_path: Path) -> None:
    path = make_file(tmp_path / "episodes", attributes={"config_sha256": "abc"})
    assert LIMITS and main(["export", "lerobot", str(path), str(tmp_path / "dataset"), "--jobs", "1"]) == 1
    assert exported("lerobot", [path], tmp_path / "dataset").plan.rows == 100


def test_the_command_names_every_file_that_is_not_valid(
    tmp_path: Path, two: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for path in two:
        with h5py.File(path, "r+") as file:
            file["observations/effort"][12, 0] = np.inf
    assert main(["export", "lerobot", str(two[0].parent), str(tmp_path / "dataset"), "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    for path in two:
        assert f"{path}: 'observations/effort' is not finite in 1 rows, the first is 12" in said


def test_nothing_found_is_a_failure_unless_it_may_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, status in (([], 1), (["--allow-empty"], 0)):
        assert main(["export", "lerobot", str(tmp_path), str(tmp_path / "dataset"), *more]) == status
        assert "no episodes found" in capsys.readouterr().out
    assert not (tmp_path / "dataset").exists()
