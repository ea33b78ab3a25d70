# SPDX-License-Identifier: Apache-2.0
"""An episode published again: at its own pace, and never into a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.node import Node
from recorder_builders import MS, ordinary
from sensor_msgs.msg import CompressedImage, JointState
from visualization_msgs.msg import Marker

from h1_recorder.__main__ import main
from h1_recorder.commands.replay import PAUSE_NS, Replay, ReplayError
from h1_recorder.commands.replay_node import ReplayNode
from h1_recorder.episode.content import JOINT_NAMES
from h1_recorder.episode.episode import Episode, read
from h1_recorder.episode.save import save_journal
from h1_training_msgs.msg import ArmStatus
from h1_training_node import qos
from h1_training_node.cameras import CAMERA_TOPICS
from h1_training_testing import Graph

LISTENED_TO = {
    *("/policy/action", "/session/state", "/arm_status", "/keyboard", "/emergency_stop", "/hands/left/command"),
    *("/hands/right/command", "/arm_sdk", "/sim/arm_sdk", "/lowstate", "/sim/lowstate", "/policy/status"),
}
"""What a driver, or the session, acts upon."""


@pytest.fixture(scope="module")
def episode(tmp_path_factory: pytest.TempPathFactory) -> Episode:
    journal = ordinary().write(tmp_path_factory.mktemp("replay") / ".episode_0.mcap")
    return read(save_journal(journal).path)


def rows(replay: Replay, period_ms: int, until_ms: int) -> list[int]:
    """Rows given out to a caller that asks every `period_ms`."""
    scenes = (replay.due(ms * MS) for ms in range(0, until_ms, period_ms))
    return [scene.row for scene in scenes if scene is not None]


def test_every_row_is_given_out_once_at_its_time(episode: Episode) -> None:
    replay = Replay(episode)
    assert rows(replay, 5, 3000) == list(range(100))
    assert replay.finished


@pytest.mark.parametrize(("rate", "expected"), [(2.0, range(0, 100, 2)), (0.5, range(50))])
def test_a_rate_is_kept_and_a_late_caller_skips_rows(episode: Episode, rate: float, expected: range) -> None:
    assert rows(Replay(episode, rate=rate), 20, 2000)[:50] == list(expected)[:50]


def test_it_begins_where_it_is_asked_to(episode: Episode) -> None:
    assert rows(Replay(episode, start_s=1.5), 20, 3000) == list(range(75, 100))
    with pytest.raises(ReplayError, match=r"lasts 1\.98 s; it cannot begin at 2 s"):
        Replay(episode, start_s=2.0)


def test_a_loop_begins_again_after_a_pause(episode: Episode) -> None:
    replay = Replay(episode, loop=True)
    found = rows(replay, 20, 2 * (2000 + PAUSE_NS // MS) + 200)
    assert found[:200] == [*range(100), *range(100)]
    assert not replay.finished


def test_an_image_is_published_when_it_changes(episode: Episode) -> None:
    replay = Replay(episode)
    scenes = [scene for ms in range(0, 3000, 20) if (scene := replay.due(ms * MS)) is not None]
    shown = [scene.images["ego_cam"] for scene in scenes if "ego_cam" in scene.images]
    assert len(shown) == len(np.unique(episode.stamps["ego_cam"]))
    assert shown[-1] == episode.jpegs("ego_cam", slice(99, 100))[0]
    assert scenes[0].text.startswith("policy  0.0 s") and scenes[99].human


class Display(Node):
    """What rviz2 would see."""

    def __init__(self) -> None:
        super().__init__("display")
        self.joints: list[JointState] = []
        self.texts: list[str] = []
        self.images: list[CompressedImage] = []
        self.create_subscription(JointState, "joint_states", self.joints.append, qos.STATE)
        self.create_subscription(Marker, "replay/phase", lambda marker: self.texts.append(marker.text), qos.STATE)
        self.create_subscription(CompressedImage, CAMERA_TOPICS["ego_cam"], self.images.append, qos.IMAGE)


class Held(Replay):
    """Goes on only when all listen."""

    may_go = False

    def due(self, now_ns: int) -> Any:
        return super().due(now_ns) if self.may_go else None


def test_rviz_sees_arms_images_and_who_was_in_control_and_no_driver_hears_anything(
    graph: Graph, episode: Episode
) -> None:
    display = graph.add(Display())
    plan = Held(episode, rate=4.0)
    node = graph.add(ReplayNode(plan, listen_s=0.0))
    for topic in ("joint_states", "replay/phase", CAMERA_TOPICS["ego_cam"]):
        graph.spin_until(lambda topic=topic: display.count_publishers(topic) and node.count_subscribers(topic), topic)
    plan.may_go = True
    graph.spin_until(lambda: node.exit_status is not None, "the end")
    assert node.exit_status == 0

    def shows_the_last_row() -> bool:
        shown = display.joints[-1].position if display.joints else []
        return np.allclose(shown, episode.qpos[99], atol=1e-4) if len(shown) else False

    graph.spin_until(lambda: shows_the_last_row() and display.images and display.texts, "the last row")
    last = display.joints[-1]
    assert tuple(last.name) == JOINT_NAMES
    assert display.texts[0].startswith("policy  0.0 s")
    assert bytes(display.images[0].data) == episode.jpegs("ego_cam", slice(0, 1))[0]
    published = {name for name, _ in node.get_publisher_names_and_types_by_node("replay", "/")}
    assert published.isdisjoint(LISTENED_TO)


@pytest.mark.parametrize(
    ("kind", "topic"), [(ArmStatus, "arm_status"), (JointState, "joint_states")], ids=["arm_status", "joint_states"]
)
def test_it_keeps_out_of_a_running_session(graph: Graph, episode: Episode, kind: Any, topic: str) -> None:
    session = graph.add(Node("session_of_somebody"))
    session.create_publisher(kind, topic, qos.STATE)
    display = graph.add(Display())
    node = graph.add(ReplayNode(Replay(episode), listen_s=3600.0))
    graph.spin_until(lambda: node.exit_status is not None, "it ends")
    assert node.exit_status == 1
    assert f" publishes /{topic}; end it first" in node.problem
    assert not display.texts


def test_it_stops_when_a_session_begins(graph: Graph, episode: Episode) -> None:
    node = graph.add(ReplayNode(Replay(episode, loop=True), listen_s=0.0))
    display = graph.add(Display())
    graph.spin_until(lambda: display.joints, "it replays")
    session = graph.add(Node("session_of_somebody"))
    session.create_publisher(ArmStatus, "arm_status", qos.STATE)
    graph.spin_until(lambda: node.exit_status is not None, "it stops")
    assert "a session runs here" in node.problem


def test_an_interrupt_ends_it(graph: Graph, episode: Episode) -> None:
    node = graph.add(ReplayNode(Replay(episode, loop=True), listen_s=0.0))
    node.request_stop("SIGINT")
    assert node.exit_status == 130


@pytest.mark.parametrize("option", [["--rate", "0"], ["--start", "-1"], ["--rate", "nan"]])
def test_options_that_make_no_sense_are_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["replay", "somewhere.hdf5", *option])
    assert "expected" in capsys.readouterr().err


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(tmp_path / "episode_9.hdf5")]) == 1
    assert "episode_9.hdf5" in capsys.readouterr().out
