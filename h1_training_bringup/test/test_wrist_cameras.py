# SPDX-License-Identifier: Apache-2.0
"""What the RealSense wrapper is given at the wrists."""

from pathlib import Path
from typing import Any

import pytest

from h1_training_bringup.session import graph
from h1_training_bringup.session.configuration import Configuration, ConfigurationError, load
from h1_training_bringup.session.process import Process, SessionOptions


def on_robot(configuration: Configuration) -> dict[str, Process]:
    session = SessionOptions(False, "keyboard", Path("/data/episodes"))
    return {process.name: process for process in graph.processes(configuration, session)}


def configured(**changes: Any) -> Configuration:
    return load().replaced({name.replace("__", "."): value for name, value in changes.items()}, source="test")


def test_each_wrist_has_its_own_camera_with_colour_and_nothing_else() -> None:
    given = on_robot(configured(robot__left_wrist_serial="111", robot__right_wrist_serial="222"))
    for side, serial in (("left", "_111"), ("right", "_222")):
        parameters = given[f"{side}_wrist_camera"].parameters
        assert parameters["serial_no"] == serial
        assert parameters["depth_module.color_profile"] == "640x480x30"
        assert [name for name, value in parameters.items() if name.startswith("enable_") and value] == ["enable_color"]


def test_the_jpeg_quality_is_set_by_every_name_that_the_wrappers_releases_and_a_namespace_make_of_it() -> None:
    parameters = on_robot(configured(recording__image_quality=70))["left_wrist_camera"].parameters
    qualities = {name: value for name, value in parameters.items() if name.endswith("jpeg_quality")}
    base = "left_wrist_camera.color"
    assert qualities == {
        f"{dot}{base}.{topic}.compressed.jpeg_quality": 70
        for topic in ("image_raw", "image_rect_raw")
        for dot in ("", ".")
    }


def test_either_topic_of_the_wrapper_becomes_ours() -> None:
    remappings = dict(on_robot(load())["right_wrist_camera"].remappings)
    ours = "right_wrist_camera/color/image_raw/compressed"
    assert remappings == {"~/color/image_raw/compressed": ours, "~/color/image_rect_raw/compressed": ours}


@pytest.mark.parametrize("serials", [("", "222"), ("111", ""), ("_", "222"), ("111", "111")])
def test_cameras_that_could_be_taken_for_each_other_are_refused(serials: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="wrist_serial"):
        on_robot(configured(robot__left_wrist_serial=serials[0], robot__right_wrist_serial=serials[1]))


@pytest.mark.parametrize(("layout", "left"), [("auto", 2), ("stereo", 2), ("mono_left_wrist", 1), ("stereo_wrists", 0)])
def test_a_wrist_whose_images_come_with_the_heads_has_no_camera_of_its_own(layout: str, left: int) -> None:
    given = configured(robot__head_camera_layout=layout)
    assert sum(name.endswith("wrist_camera") for name in on_robot(given)) == left
