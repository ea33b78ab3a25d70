# SPDX-License-Identifier: Apache-2.0
"""The recorder without ROS: requests, endings, disk, what an operator reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from recorder_bench import Crashing, bench_maker
from recorder_builders import DAMPING, MS

from h1_recorder.episode.folder import DISCARDED, journals
from h1_recorder.recorder.journal_file import read_journal
from h1_training_msgs.msg import SessionState
from h1_training_node.message_numbers import RecorderState
from h1_training_testing import wait_until

bench = pytest.fixture(bench_maker)


def test_an_episode_goes_from_start_to_saved(bench: Any) -> None:
    one = bench()
    answer = one.record()
    status = one.recorder.status()
    assert (status.state, status.phase) == (RecorderState.RECORDING, "human")
    assert (status.policy_frames, status.human_frames) == (20, 19)
    assert one.recorder.finish(answer.episode_id, "operator", "success").accepted
    assert one.recorder.status().state == RecorderState.SAVING
    one.tick_until(RecorderState.SAVED)
    status = one.recorder.status()
    assert status.last_path == answer.path
    assert status.episode_id == "epoch2/episode_0"
    assert status.policy_frames + status.human_frames == 39
    assert "episode_saved" in dict(one.events)


def test_the_journal_begins_with_the_newest_message_of_each_stream(bench: Any) -> None:
    one = bench()
    one.hear(state="READY")
    one.now_ns += 500 * MS
    one.receive("session/state", SessionState(state="READY"))
    one.hear()
    one.now_ns += 100 * MS
    assert one.start().accepted
    one.recorder.finish("epoch2/episode_0", "operator", "unlabeled")
    path = one.folder / "training_session_epoch2" / ".episode_0.mcap"
    wait_until(lambda: read_journal(path).end, "the journal is closed")
    streams = read_journal(path).streams
    assert {name: len(stream.data) for name, stream in streams.items() if stream.data} == dict.fromkeys(
        ("session/state", "arm_status", "ego_cam", "cam_left_wrist", "cam_right_wrist"), 1
    )


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"directory": "relative"}, "absolute path"),
        ({"attributes_json": "{"}, "not JSON"),
        ({"attributes_json": "[1]"}, "expected a JSON object"),
        ({"attributes_json": '{"a": "' + "x" * 60_000 + '"}'}, "attribute 'a' is over"),
        ({"directory": "/proc/no/such"}, "cannot record into /proc/no/such"),
    ],
)
def test_a_request_that_cannot_be_used_is_refused_with_what_is_wrong(
    bench: Any, changes: dict[str, Any], part: str
) -> None:
    one = bench()
    one.hear()
    answer = one.start(**changes)
    assert not answer.accepted
    assert part in answer.reason
    assert one.recorder.state == RecorderState.IDLE


def test_starting_is_refused_below_the_free_space_with_both_numbers(bench: Any, monkeypatch: Any) -> None:
    one = bench(min_free_start_gb=5.0)
    one.hear()
    monkeypatch.setattr("h1_recorder.recorder.recorder.free_bytes", lambda _: 1_200_000_000)
    reason = one.start().reason
    assert "1.2 GB free" in reason and "5.0 GB are needed" in reason


def test_an_episode_is_finished_in_good_order_before_the_disk_is_full(bench: Any) -> None:
    one = bench()
    one.record()
    one.recorder.disk.stop()
    one.recorder.disk.free = 400_000_000
    one.recorder.tick()
    assert one.recorder.state == RecorderState.SAVING
    one.tick_until(RecorderState.SAVED)
    assert "finishing the episode while it fits" in dict(one.events)["disk_low"]


def test_a_journal_that_fails_ends_the_episode_with_what_there_is(bench: Any, monkeypatch: Any) -> None:
    one = bench()
    one.record()
    journal = one.recorder.intake.journal
    wait_until(lambda: journal.bytes_waiting == 0, "all is written")

    def full(*_: Any) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(journal._file, "add_messages", full)
    one.run(40, DAMPING, "DAMPING")
    wait_until(lambda: journal.error, "the error is noticed")
    one.tick_until(RecorderState.SAVED)
    assert "No space left on device" in dict(one.events)["journal_failed"]
    assert one.recorder.status().human_frames == 19


def test_a_saver_that_dies_leaves_the_journal_and_a_reason(bench: Any) -> None:
    one = bench(spawn=Crashing)
    answer = one.record()
    one.recorder.finish(answer.episode_id, "operator", "success")
    one.tick_until(RecorderState.FAILED)
    assert "ended with status -9" in one.recorder.status().last_error
    assert (one.folder / "training_session_epoch2" / ".episode_0.mcap").exists()


def test_the_next_episode_may_start_after_one_that_failed(bench: Any) -> None:
    one = bench(spawn=Crashing)
    answer = one.record()
    one.recorder.finish(answer.episode_id, "operator", "success")
    one.tick_until(RecorderState.FAILED)
    assert one.start().episode_id == "epoch2/episode_1"
    assert one.recorder.status().last_error == ""


def test_a_kept_journal_stays_when_deciding_is_left(bench: Any) -> None:
    one = bench(keep_journal=True)
    answer = one.record()
    one.recorder.finish(answer.episode_id, "operator", "success")
    one.tick_until(RecorderState.SAVED)
    one.hear(state="READY")
    one.recorder.tick()
    assert Path(answer.path).with_name(".episode_0.mcap").exists()


def test_seconds_left_follow_from_the_rate_and_the_file_that_is_still_to_be_written(bench: Any) -> None:
    one = bench(min_free_stop_gb=1.0)
    assert one.recorder.status().seconds_left == -1
    one.record()
    journal = one.recorder.intake.journal
    wait_until(lambda: journal.bytes_waiting == 0, "all is written")
    one.recorder.disk.stop()
    one.recorder.disk.free = 3_000_000_000
    written = journal.bytes_written
    expected = (2e9 - 1.8 * written) / (written / 0.8 * 2.8)
    assert one.recorder.status().seconds_left == pytest.approx(expected)


def test_an_open_episode_is_discarded_at_once_whatever_ends_the_recorder_next(bench: Any) -> None:
    one = bench()
    answer = one.record()
    journal = one.recorder.intake.journal
    assert one.recorder.discard(answer.episode_id, "operator").accepted
    aside = Path(answer.path).parent / DISCARDED / ".episode_0.mcap"
    assert journal.path == aside and aside.exists(), "before a tick, before the last sync"
    assert journals(Path(answer.path).parent) == []
    wait_until(lambda: journal.closed, "the journal is closed")
    one.recorder.tick()
    assert not one.recorder.busy
    assert journals(Path(answer.path).parent) == [], "nor was it written again at its close"
    found = read_journal(aside)
    assert found.end is not None and found.end.end_reason == "discarded: operator"


def test_an_episode_that_cannot_be_discarded_stays_open_and_says_why(bench: Any) -> None:
    one = bench()
    answer = one.record()
    obstacle = Path(answer.path).parent / DISCARDED
    obstacle.write_text("no folder")
    refused = one.recorder.discard(answer.episode_id, "operator")
    assert not refused.accepted and "cannot discard" in refused.reason
    assert one.recorder.state == RecorderState.RECORDING
    one.run(200, DAMPING, "DAMPING")
    assert one.recorder.finish(answer.episode_id, "operator", "failure").accepted
    one.tick_until(RecorderState.SAVED)
    assert one.recorder.status().human_frames == 29


def test_a_deleted_journal_that_cannot_be_discarded_after_all_is_reported(bench: Any) -> None:
    one = bench()
    answer = one.record()
    journal = one.recorder.intake.journal
    journal.path.unlink()
    assert one.recorder.discard(answer.episode_id, "operator").accepted
    wait_until(lambda: journal.closed, "the journal is closed")
    assert journal.path.exists(), "it was written again"
    (Path(answer.path).parent / DISCARDED).write_text("no folder")
    one.recorder.tick()
    assert "delete it, else the next start makes it an episode" in dict(one.events)["discard_failed"]


# ---- folders
