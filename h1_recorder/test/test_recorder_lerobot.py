"""Export as a LeRobotDataset: what rows say, what the folder holds, and going on after a break."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet
import pytest
from recorder_builders import JournalBuilder, episode_info, jpeg, ordinary

from h1_recorder.__main__ import main
from h1_recorder.episode.episode import Episode, read
from h1_recorder.episode.save import label_episode, save_journal
from h1_recorder.export.lerobot_export import Exported, export
from h1_recorder.export.lerobot_rows import ExportError, PictureStatistics, Place, columns, statistics


class Tables:
    """Stands for Parquet: keeps what is written, and leaves a file of that name."""

    def __init__(self) -> None:
        self.written: dict[str, Mapping[str, Any]] = {}

    def __call__(self, path: Path, columns: Mapping[str, Any], *, index: str | None = None) -> None:
        self.written["/".join(path.parts[-3:])] = columns
        path.touch()


def make_episode(folder: Path, builder: JournalBuilder | None = None, **info: Any) -> Path:
    folder.mkdir(exist_ok=True)
    index = int(info.get("index", 0))
    journal = (builder or ordinary()).write(folder / f".episode_{index}.mcap", episode_info(**info))
    return Path(save_journal(journal).path)


def exported(paths: list[Path], folder: Path, **changes: Any) -> tuple[Exported, Tables]:
    tables = Tables()
    return export(paths, folder, write_table=tables, **changes), tables


@pytest.fixture
def episode(tmp_path: Path) -> Episode:
    return read(make_episode(tmp_path / "episodes"))


def test_the_action_where_a_person_guided_is_the_next_measured_position(episode: Episode) -> None:
    found = columns(episode, Place(0, 0, 0))
    human = episode.phase == "human"
    assert np.array_equal(found["action"][~human], episode.action[~human])
    guided = np.flatnonzero(human)[:-1]
    assert np.array_equal(found["action"][guided], episode.qpos[guided + 1])
    assert not (found["action"][human] == 0).all(axis=1).any()


@pytest.mark.parametrize("lookahead", [1, 5])
def test_an_action_is_masked_where_its_run_ends_before_the_lookahead(episode: Episode, lookahead: int) -> None:
    episode.segment[70:] += 1
    found = columns(episode, Place(0, 0, 0), lookahead=lookahead)
    masked = {*range(70 - lookahead, 70), *range(100 - lookahead, 100)}
    assert set(np.flatnonzero(~found["action_valid"])) == masked
    for row in masked:
        assert np.array_equal(found["action"][row], episode.qpos[row])


def test_a_persons_last_row_before_the_policy_goes_on_is_masked(episode: Episode) -> None:
    episode.phase[80:] = "policy"
    found = columns(episode, Place(0, 0, 0))
    assert list(np.flatnonzero(~found["action_valid"])) == [79]


def test_only_the_last_row_is_done_and_it_tells_success(episode: Episode) -> None:
    found = columns(episode, Place(3, 500, 1))
    assert list(np.flatnonzero(found["next.done"])) == [99] == list(np.flatnonzero(found["next.success"]))
    assert np.array_equal(found["intervention"], episode.phase == "human")
    assert np.array_equal(found["index"], np.arange(500, 600))
    assert (found["episode_index"] == 3).all() and (found["task_index"] == 1).all()
    assert np.array_equal(found["timestamp"], (np.arange(100) / 50).astype(np.float32))


def test_a_policy_with_hands_gives_26_values(tmp_path: Path) -> None:
    builder = ordinary()
    builder.messages = [entry for entry in builder.messages if entry[1] != "policy/action"]
    builder.actions(500, 1500, size=26)
    for side in ("left", "right"):
        for ms in range(0, 2600, 50):
            builder.hand(side, float(ms), ms / 2600)
    found = columns(read(make_episode(tmp_path / "episodes", builder)), Place(0, 0, 0))
    assert found["observation.state"].shape == found["action"].shape == (100, 26)
    assert (found["action"][60:, 14:] > 0).all(), "a person's rows hold the measured hands"


def test_statistics_of_pictures_are_those_of_all_their_pixels() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    seen = PictureStatistics()
    seen.add(picture)
    sampled = picture[::4, ::4] / 255
    result = seen.result()
    for name in ("mean", "std", "min", "max"):
        expected = getattr(sampled, name)(axis=(0, 1))
        assert np.allclose(np.array(result[name]).ravel(), expected), name
        assert np.shape(result[name]) == (3, 1, 1)


def test_a_dataset_names_its_files_features_and_episodes(tmp_path: Path) -> None:
    paths = [make_episode(tmp_path / "episodes", index=k, task=f"task {k}") for k in range(2)]
    done, tables = exported(paths, tmp_path / "dataset")
    assert (done.episodes, done.frames, done.kept, done.masked) == (2, 200, 0, 2)
    info = json.loads((tmp_path / "dataset/meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_episodes"]) == ("v3.0", 50, 2)
    data = tables.written["data/chunk-000/file-001.parquet"]
    videos = {name for name, feature in info["features"].items() if feature["dtype"] == "video"}
    assert set(data) == set(info["features"]) - videos and len(videos) == 3
    for name, column in data.items():
        assert str(column.dtype) == info["features"][name]["dtype"], name
    meta = tables.written["episodes/chunk-000/file-000.parquet"]
    assert meta["dataset_from_index"] == [0, 100] and meta["dataset_to_index"] == [100, 200]
    assert meta["videos/observation.images.ego_cam/to_timestamp"] == [2.0, 2.0]
    assert tables.written["dataset/meta/tasks.parquet"]["task"] == ["task 0", "task 1"]
    joined = json.loads((tmp_path / "dataset/meta/stats.json").read_text())
    assert set(joined) == set(info["features"]) and joined["action"]["count"] == [200]
    both = np.vstack([tables.written[f"data/chunk-000/file-00{k}.parquet"]["action"] for k in range(2)])
    for name in ("mean", "std", "min", "max"):
        assert np.allclose(joined["action"][name], statistics(both)[name]), name


def test_a_video_has_every_row_at_its_time(tmp_path: Path, episode: Episode) -> None:
    exported([episode.path], tmp_path / "dataset")
    path = tmp_path / "dataset/videos/observation.images.ego_cam/chunk-000/file-000.mp4"
    with av.open(str(path)) as container:
        frames = [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert [round(time * 50, 6) for time, _ in frames] == list(range(100))
    for row in (0, 37, 99):
        assert abs(frames[row][1].mean() - episode.image("ego_cam", row).mean()) < 3


def test_an_export_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    paths = [make_episode(tmp_path / "episodes", index=k) for k in range(2)]

    class BrokenOffError(Exception):
        pass

    def break_off(path: Path, share: float) -> None:
        if path == paths[1]:
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        exported(paths, tmp_path / "dataset", progress=break_off)
    assert not (tmp_path / "dataset/meta/info.json").exists(), "half a dataset looked like a whole one"
    done, _ = exported(paths, tmp_path / "dataset")
    assert (done.episodes, done.kept) == (2, 1)
    assert not list((tmp_path / "dataset").rglob("*.part"))


def test_an_export_of_fewer_episodes_leaves_no_file_of_the_others(tmp_path: Path) -> None:
    paths = [make_episode(tmp_path / "episodes", index=k) for k in range(2)]
    exported(paths[:1], tmp_path / "short")
    exported(paths, tmp_path / "dataset")
    done, _ = exported(paths[:1], tmp_path / "dataset")
    assert (done.episodes, done.kept) == (1, 1)
    found, expected = (
        {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "dataset", tmp_path / "short")
    )
    assert found == expected
    assert exported(paths, tmp_path / "dataset")[0].kept == 1


def test_a_camera_whose_pictures_change_their_size_is_named_with_episode_and_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    builder = ordinary()
    builder.messages = [entry for entry in builder.messages if entry[1] != "cam_left_wrist"]
    for ms in range(0, 2600, 20):
        builder.image("cam_left_wrist", ms, data=jpeg(ms, *((32, 24) if ms < 1500 else (64, 48))))
    path = make_episode(tmp_path / "episodes", builder)
    assert main(["export", "lerobot", str(path), "--out", str(tmp_path / "dataset")]) == 1
    said = capsys.readouterr().out
    assert f"failed: {path}: image " in said
    assert " of cam_left_wrist is 64x48, those before it 32x24; a video has one size" in said
    assert not list((tmp_path / "dataset").rglob("*.part"))


def test_an_episode_that_changed_is_exported_anew(tmp_path: Path) -> None:
    path = make_episode(tmp_path / "episodes")
    exported([path], tmp_path / "dataset")
    assert exported([path], tmp_path / "dataset")[0].kept == 1
    label_episode(path, "failure")
    done, tables = exported([path], tmp_path / "dataset")
    assert done.kept == 0
    assert not tables.written["data/chunk-000/file-000.parquet"]["next.success"].any()


def test_episodes_of_different_rates_are_refused_together(tmp_path: Path) -> None:
    paths = [make_episode(tmp_path / "episodes", index=k, fps=50 - 25 * k) for k in range(2)]
    with pytest.raises(ExportError, match=r"fps of .*episode_1\.hdf5 is 25"):
        exported(paths, tmp_path / "dataset")


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path, episode: Episode) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/thesis.txt").write_text("mine")
    with pytest.raises(ExportError, match="not empty"):
        exported([episode.path], tmp_path / "theirs")


def test_the_command_writes_parquet_as_another_reader_finds_it(
    tmp_path: Path, episode: Episode, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["export", "lerobot", str(episode.path), "--out", str(tmp_path / "dataset")])
    said = capsys.readouterr().out
    assert status == 0, said
    rows = pyarrow.parquet.read_table(tmp_path / "dataset/data/chunk-000/file-000.parquet")
    assert rows.num_rows == 100 and str(rows.schema.field("action").type) == "fixed_size_list<element: float>[14]"
    tasks = pyarrow.parquet.read_table(tmp_path / "dataset/meta/tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
