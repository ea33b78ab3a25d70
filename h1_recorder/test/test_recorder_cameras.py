# SPDX-License-Identifier: Apache-2.0
"""A camera that freezes, falls silent or slows down: reported while it happens, and written into the episode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recorder_bench import Bench, bench_maker
from recorder_builders import DAMPING, HOLD, MS, POLICY, jpeg, ordinary

from h1_recorder.episode.episode import read
from h1_recorder.episode.save import save_journal
from h1_recorder.episode.validate import problems
from h1_training_node.cameras import CAMERAS, jpeg_size

bench = pytest.fixture(bench_maker)
FROZEN = jpeg(77)


def look(one: Bench, ms: int, mode: int = POLICY, state: str = "EXECUTING", cameras: bool = True) -> None:
    """So much time passes, with ticks as often as the node has them."""
    for passed in range(20, ms + 1, 20):
        one.now_ns += 20 * MS
        one.hear(mode, state, cameras)
        if passed % 100 == 0:
            one.recorder.tick()


def figure(one: Bench, name: str) -> tuple[float, float]:
    figures = one.recorder.intake.figures(one.now_ns)
    return figures.rates[figures.streams.index(name)], figures.ages[figures.streams.index(name)]


def reasons(one: Bench) -> list[str]:
    return [reason for reason, _ in one.events]


def test_a_frozen_camera_shows_within_half_a_second_as_one_that_delivers_nothing(bench: Any) -> None:
    one = bench()
    look(one, 2000, HOLD, "READY")
    assert figure(one, "ego_cam")[0] == pytest.approx(50, abs=3)
    one.image = FROZEN
    look(one, 500, HOLD, "READY")
    rate, age = figure(one, "ego_cam")
    assert age == pytest.approx(0.48, abs=0.021)
    assert rate < 15
    assert reasons(one) == ["camera_frozen"] * 3, "reported once a camera, recording or not"


def test_the_size_of_each_cameras_images_is_in_the_figures(bench: Any) -> None:
    one = bench()
    look(one, 200, HOLD, "READY")
    figures = one.recorder.intake.figures(one.now_ns)
    width, height = jpeg_size(FROZEN)
    sizes = dict(zip(figures.streams, figures.image_sizes, strict=True))
    assert {sizes[camera] for camera in CAMERAS} == {f"{width}x{height}"}
    assert sizes["arm_status"] == ""


def test_an_episode_of_freezing_is_reported_once_and_its_end_too(bench: Any) -> None:
    one = bench()
    look(one, 200, HOLD, "READY")
    for _ in range(2):
        one.image = FROZEN
        look(one, 1000, HOLD, "READY")
        one.image = b""
        look(one, 1500, HOLD, "READY")
    assert reasons(one) == (["camera_frozen"] * 3 + ["camera_back"] * 3) * 2
    assert "ego_cam repeats the same image since 0.3 s" in one.events[0][1]


def test_one_repeated_image_is_no_freezing(bench: Any) -> None:
    one = bench()
    look(one, 200, HOLD, "READY")
    one.image = FROZEN
    look(one, 40, HOLD, "READY")
    one.image = b""
    look(one, 1000, HOLD, "READY")
    assert reasons(one) == []


def test_no_episode_starts_with_a_frozen_camera_unless_dummies_are_allowed(bench: Any) -> None:
    one = bench()
    one.image = FROZEN
    look(one, 800, HOLD, "READY")
    assert "the same image again and again from ego_cam" in one.start().reason
    allowing = bench(allow_dummy_cameras=True)
    allowing.image = FROZEN
    look(allowing, 800, HOLD, "READY")
    answer = allowing.start()
    assert answer.accepted, answer.reason


def test_a_camera_that_falls_silent_while_recording_is_reported(bench: Any) -> None:
    one = bench()
    look(one, 200, HOLD, "READY")
    assert one.start().accepted
    look(one, 400)
    look(one, 1200, cameras=False)
    assert reasons(one) == ["camera_silent"] * 3
    assert figure(one, "ego_cam")[0] == 0
    look(one, 1600)
    assert reasons(one)[3:] == ["camera_back"] * 3


def test_silence_is_not_reported_outside_an_episode_nor_while_the_session_ends(bench: Any) -> None:
    one = bench()
    look(one, 200, HOLD, "READY")
    look(one, 1000, HOLD, "READY", cameras=False)
    look(one, 200, HOLD, "READY")
    assert one.start().accepted
    one.recorder.ending = True
    look(one, 1000, DAMPING, "STOPPED", cameras=False)
    assert reasons(one) == []


def test_repeated_images_are_recorded_untouched_and_counted(tmp_path: Path) -> None:
    builder = ordinary()
    builder.messages = [entry for entry in builder.messages if entry[1] != "ego_cam"]
    for number in range(78):
        builder.image("ego_cam", number * 1000 / 30, FROZEN if 900 <= number * 1000 / 30 < 1400 else jpeg(number))
    path = Path(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    episode = read(path)
    assert problems(path) == []
    rows = episode.jpegs("ego_cam")
    assert rows.count(FROZEN) - 2 <= episode.attributes["repeated_frames_ego_cam"] < rows.count(FROZEN)
    assert [episode.attributes[f"repeated_frames_{camera}"] for camera in CAMERAS[1:]] == [0, 0]
