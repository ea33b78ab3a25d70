# SPDX-License-Identifier: Apache-2.0
"""Curves, contact sheets, videos and differences of episodes."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from export_builders import made
from recorder_builders import ordinary

from h1_recorder.__main__ import main
from h1_recorder.commands.diff import differences
from h1_recorder.episode.episode import Episode, read
from h1_recorder.episode.save import label_episode, save_journal
from h1_recorder.export.arm_response import LabelError, bands
from h1_recorder.export.episode_figure import camera_ages_ms
from h1_recorder.export.label_figure import distances, plot_labels
from h1_recorder.export.scene import contact_sheet, dataset_sheet, make_video


def make_episode(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return Path(save_journal(ordinary().write(folder / ".episode_0.mcap")).path)


@pytest.fixture
def episode(tmp_path: Path) -> Episode:
    return read(make_episode(tmp_path / "epoch"))


def test_bands_are_the_unbroken_stretches_of_one_phase(episode: Episode) -> None:
    assert bands(episode) == [(0, 50, "policy"), (50, 100, "human")]
    episode.segment[70:] += 1
    assert bands(episode) == [(0, 50, "policy"), (50, 70, "human"), (70, 100, "human")]


def test_an_image_is_as_old_as_its_stamp_and_a_dummy_has_no_age(episode: Episode) -> None:
    episode.stamps["ego_cam"][3] = -1
    ages = camera_ages_ms(episode)
    assert np.isnan(ages["ego_cam"][3])
    assert (ages["cam_left_wrist"] >= 0).all() and (ages["cam_left_wrist"] < 34).all()


def test_a_contact_sheet_has_24_images_from_first_to_last(episode: Episode) -> None:
    sheet = contact_sheet(episode, "ego_cam")
    height, width = sheet.shape[:2]
    assert (height % 4, width % 6) == (0, 0)
    tile = sheet[: height // 4, : width // 6]
    assert abs(float(tile[:50].mean()) - float(episode.image("ego_cam", 0).mean())) < 3


def test_a_sheet_of_a_dataset_has_a_bar_of_who_was_in_control_over_each_episodes_images(episode: Episode) -> None:
    sheet = dataset_sheet([episode, episode], "ego_cam")
    height, width = sheet.shape[:2]
    assert (height % 2, width % 6) == (0, 0) and (sheet[: height // 2] == sheet[height // 2 :]).all()
    policy, human = sheet[36, width // 4], sheet[36, 3 * width // 4]
    assert policy.argmax() == 0 and human.argmax() == 2, "blue and orange"


def test_plot_draws_a_page_and_a_sheet_a_camera(tmp_path: Path, episode: Episode) -> None:
    assert main(["plot", str(episode.path), "--out", str(tmp_path / "figures")]) == 0
    found = {path.name: cv2.imread(str(path)) for path in (tmp_path / "figures").iterdir()}
    cameras = ("ego_cam", "cam_left_wrist", "cam_right_wrist")
    assert set(found) == {"epoch_episode_0.png", *(f"epoch_episode_0_{camera}.jpg" for camera in cameras)}
    assert all(image is not None for image in found.values())


def test_a_video_shows_the_cameras_side_by_side_as_long_as_the_episode(tmp_path: Path, episode: Episode) -> None:
    assert main(["video", str(episode.path), "--out", str(tmp_path), "--every", "5"]) == 0
    with av.open(str(tmp_path / "epoch_episode_0.mp4")) as container:
        frames = [(float(frame.time), frame.width, frame.height) for frame in container.decode(video=0)]
    assert len(frames) == 20 and frames[-1] == (pytest.approx(1.9), 3 * 480, 360 + 34 + 26)


def test_what_is_no_episode_is_said_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "episode_0.hdf5"
    path.write_text("no HDF5")
    for verb in ("plot", "video"):
        assert main([verb, str(path), "--out", str(tmp_path)]) == 1
        assert str(path) in capsys.readouterr().out
    assert main(["diff", str(path), str(path)]) == 2


def test_an_episode_differs_in_nothing_from_itself(episode: Episode, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(episode.path), str(episode.path)]) == 0
    assert capsys.readouterr().out == "no difference\n"


def test_diff_names_what_was_changed(tmp_path: Path, episode: Episode) -> None:
    other = make_episode(tmp_path / "other")
    label_episode(other, "failure")
    assert {"attribute outcome", "attribute advantage"} <= {name for name, _ in differences(episode.path, other)}
    import h5py

    with h5py.File(other, "r+") as file:
        file["action"][7, 3] += 0.5
        file["observations/images/ego_cam"][9] = file["observations/images/ego_cam"][40]
    found = dict(differences(episode.path, other))
    assert found["action"] == "1 rows, the first is 7, by up to 0.5"
    assert found["images/ego_cam"] == "1 images, the first is 9"


@pytest.mark.parametrize("verb", ["info", "list", "validate", "plot", "video"])
def test_a_command_names_a_missing_and_a_foreign_file_in_one_line_each(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "thesis.hdf5"
    foreign.write_text("mine")
    assert main([verb, str(tmp_path / "gone.hdf5"), str(foreign)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "gone.hdf5: No such file" in said.replace("cannot be opened: ", "")
    assert "thesis.hdf5: no HDF5 file" in said


def test_a_break_in_the_rows_is_a_slide_in_the_video(tmp_path: Path, episode: Episode) -> None:
    episode.segment[60:] += 1
    episode.stamps["tick"][60:] += 2_000_000_000
    make_video(episode, tmp_path / "video.mp4", every=5)
    with av.open(str(tmp_path / "video.mp4")) as container:
        shades = [frame.to_ndarray(format="rgb24")[40:120].mean() for frame in container.decode(video=0)]
    assert len(shades) == 20 + 7, "0.7 s at 10 images a second"
    assert max(shades[12:19]) < 0.5 * shades[19], "the scene after it, dimmed"


def test_labels_of_both_phases_are_drawn_on_one_figure(tmp_path: Path) -> None:
    moving = made(("policy", 200), ("human", 100))
    moving.qpos[:] = np.sin(np.arange(300) / 20)[:, None]
    moving.qvel[:] = np.cos(np.arange(300) / 20)[:, None]
    moving.action[:200] = np.sin((np.arange(200) + 4) / 20)[:, None]
    found = distances([moving])
    assert found.model.lookahead_rows == 4
    assert found.overlap("look-ahead") > 0.5 > 0.3 > found.overlap("next row")
    plot_labels(found, tmp_path / "labels.png", "a heading")
    assert cv2.imread(str(tmp_path / "labels.png")) is not None


def test_labels_that_cannot_be_compared_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LabelError, match="no joint moves"):
        plot_labels(distances([made(("policy", 50))]), tmp_path / "labels.png", "")
    assert main(["plot", "--labels", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "no episodes found" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["info", "plot", "video"])
def test_a_folder_without_episodes_is_said_to_have_none(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, str(tmp_path)]) == 1
    assert "no episodes" in capsys.readouterr().out
