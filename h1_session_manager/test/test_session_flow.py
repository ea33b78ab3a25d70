# SPDX-License-Identifier: Apache-2.0
"""A session from start to end, its lines included."""

import json
from dataclasses import replace

from session_builders import Harness

from h1_session_manager.memory import Memory
from h1_session_manager.values import Polled, Synced, SyncProgress, Unverified
from h1_training_node.message_numbers import ArmMode, RecorderState, SyncState


def said_in_order(said: list[str], *lines: str) -> None:
    rest = iter(said)
    for line in lines:
        assert line in rest, f"'{line}' is missing or out of order in {said}"


def test_the_operator_reads_the_documented_lines_word_for_word():
    harness = Harness()
    harness.to("DECIDING")
    harness.run(1)
    harness.press("y")
    harness.run(1)
    harness.to("DECIDING")
    harness.press("n")
    said_in_order(
        harness.said,
        "[WAITING] Polling policy server for new weights...",
        "[READY] New weights available!",
        "  Press 'y' to start epoch 1, 'n' to skip: ",
        "Cameras ready: All cameras working!",
        "[EXECUTING] Running policy (epoch 1)",
        "  Press 's' to stop execution and enter damping mode",
        "[DAMPING] Robot in damping mode - adjust pose freely",
        "  Press 'e' to end epoch and save",
        "[SAVING] Saving episode data...",
        "  Saved: /data/epoch1/episode_0.hdf5",
        "  Total timesteps: 2847",
        "  Policy frames: 1200, Human frames: 1647",
        "[DECIDING] What's next?",
        "  Press 'y' to start another epoch",
        "  Press 'n' to finish training session",
        "[READY] Epoch 1, episode 1",
        "[SYNCING] Uploading data to remote server...",
    )


def test_the_arms_go_home_before_the_policy_and_the_recording_begins_before_both():
    harness = Harness()
    harness.to("READY")
    harness.run(1)
    harness.calls.clear()
    harness.press("y")
    harness.arms_in_policy()
    names = [(call.service, call.fields.get("mode")) for call in harness.calls]
    assert names == [
        ("recorder/start", None),
        ("arm_driver/set_mode", ArmMode.HOME),
        ("arm_driver/set_mode", ArmMode.POLICY),
    ]
    assert harness.state == "EXECUTING"


def test_an_episode_is_started_in_its_epochs_folder_with_what_explains_it():
    harness = Harness(
        save_dir="/data",
        task="stack cups",
        config_sha256="abc",
        robot_name="alice",
        episode_attributes='{"robot_name": "alice"}',
    )
    harness.to("EXECUTING")
    [fields] = harness.called("recorder/start")
    assert fields["directory"] == "/data/training_session_epoch1"
    assert (fields["epoch"], fields["episode"]) == (1, 0)
    assert (fields["task"], fields["prompt"]) == ("stack cups", "stack cups, Advantage=True")
    assert json.loads(fields["attributes_json"]) == {
        "robot_name": "alice",  # as it was given, and once
        "config_sha256": "abc",
        "dummy_cameras": [],
        "checkpoint": "",
    }


def test_resume_goes_on_in_the_same_episode_from_where_the_arms_are():
    harness = Harness()
    harness.to("DAMPING")
    harness.run(1)
    harness.calls.clear()
    harness.press("r")
    harness.run_to("EXECUTING")
    harness.arms_in_policy()
    modes = [fields["mode"] for fields in harness.called("arm_driver/set_mode")]
    assert modes == [ArmMode.HOLD, ArmMode.POLICY]
    assert not harness.called("recorder/start")


def test_the_outcome_named_in_labeling_is_written_with_the_episode():
    for key, outcome in (("y", "success"), ("n", "failure")):
        harness = Harness(max_execution_s=2.0)
        harness.to("EXECUTING")
        harness.run_to("LABELING")
        assert harness.arm.mode is ArmMode.HOLD
        harness.press(key)
        assert harness.state == "DAMPING"
        harness.run(1)
        assert harness.arm.mode is ArmMode.DAMPING
        harness.press("e")
        [fields] = harness.called("recorder/finish")
        assert (fields["outcome"], fields["end_reason"]) == (outcome, "time_limit")


def test_an_episode_stopped_by_key_is_unlabeled_until_deciding_marks_it():
    harness = Harness()
    harness.to("DECIDING")
    [finished] = harness.called("recorder/finish")
    assert (finished["outcome"], finished["end_reason"]) == ("unlabeled", "operator")
    harness.press("g")
    assert harness.called("recorder/label") == [{"episode_id": "epoch1/episode_0", "outcome": "success"}]
    assert harness.said[-1] == "  Marked as success"
    harness.press("b")
    assert harness.called("recorder/label")[-1]["outcome"] == "failure"
    assert harness.state == "DECIDING"


def test_a_discarded_episode_keeps_its_number_as_its_file_does():
    harness = Harness()
    harness.to("DAMPING")
    harness.press("x")
    assert harness.state == "DAMPING"
    harness.run(1)
    harness.press("x")
    harness.run_to("DECIDING")
    assert harness.called("recorder/discard") == [{"episode_id": "epoch1/episode_0", "why": "operator"}]
    harness.run(1)
    harness.press("y")
    assert "[READY] Epoch 1, episode 1" in harness.said


def test_q_in_waiting_gives_the_arms_back_and_ends_with_status_zero():
    harness = Harness()
    harness.offer = Polled(ready=False, epoch=1)
    harness.to("WAITING")
    harness.press("q")
    harness.run(1)
    assert harness.arm.mode is ArmMode.RELEASED
    assert harness.status == 0


def test_an_upload_that_fails_can_be_tried_again_or_left():
    harness = Harness()
    harness.sync_result = Synced(reason="nothing moved for too long; check the network")
    harness.to("DECIDING")
    bells = harness.bells
    harness.press("n")
    harness.run(1)
    assert harness.state == "SYNCING"
    assert harness.listed == ("y", "n", "q")
    question = "Press 'y' to try again, 'n' to keep the data on this machine"
    assert harness.engine.view().prompt == question and harness.said[-1] == f"  {question}"
    assert harness.bells == bells + 1, "it may have taken an hour: the person is called back"
    harness.press("y")
    harness.run(1)
    assert harness.syncs == 2
    harness.press("n")
    assert harness.state == "WAITING"
    assert json.loads(harness.memory_text)["owed"] == [1]
    assert json.loads(harness.memory_text)["finished"] == {}


def test_an_epoch_is_finished_only_when_its_upload_was_verified():
    harness = Harness()
    harness.to("DECIDING")
    assert json.loads(harness.memory_text) == {"format": 1, "robot": "r", "finished": {}, "owed": [1]}
    harness.press("n")
    harness.run_to("WAITING")
    assert json.loads(harness.memory_text) == {"format": 1, "robot": "r", "finished": {"1": "synced"}, "owed": []}


def test_without_a_target_the_data_are_kept_and_the_epoch_is_finished():
    harness = Harness(rsync_target="", save_dir="/data")
    harness.to("DECIDING")
    harness.press("n")
    harness.run_to("WAITING")
    assert "  No upload target configured: kept locally in /data" in harness.said
    assert harness.syncs == 0
    assert json.loads(harness.memory_text)["finished"] == {"1": "kept"}


def test_a_skipped_epoch_is_finished_and_not_offered_again():
    harness = Harness()
    harness.to("READY")
    harness.press("n")
    assert harness.state == "WAITING"
    assert json.loads(harness.memory_text)["finished"] == {"1": "skipped"}
    harness.run(5)
    assert harness.state == "WAITING"
    harness.offer = Polled(ready=True, epoch=2)
    harness.run_to("READY")


def test_an_episode_that_was_recovered_is_uploaded_before_anything_new_is_waited_for():
    harness = Harness()
    harness.to("READY")
    harness.engine.observe(Unverified(frozenset({0})), harness.now_ns)
    harness.step()
    assert json.loads(harness.memory_text)["owed"] == [0]
    harness.press("n")
    harness.run_to("WAITING")
    assert harness.syncs == 1
    assert json.loads(harness.memory_text)["owed"] == []


def test_skipping_while_uploads_are_owed_uploads_them():
    harness = Harness(memory=Memory("r", {}, frozenset({3})))
    harness.offer = Polled(ready=True, epoch=4)
    harness.to("READY")
    harness.press("n")
    harness.run_to("WAITING")
    assert harness.syncs == 1
    assert json.loads(harness.memory_text)["finished"] == {"3": "synced", "4": "synced"}


def test_after_a_restart_an_unfinished_epoch_is_offered_again_with_its_next_episode():
    harness = Harness(memory=Memory("r", {0: "synced"}, frozenset({1})), episodes=lambda epoch: 2 if epoch == 1 else 0)
    harness.to("READY")
    assert harness.engine.view().episode == 2
    assert harness.lines("  Epoch 1 was begun before")


def test_after_a_restart_a_finished_epoch_is_not_offered_again():
    harness = Harness(memory=Memory("r", {0: "synced", 1: "skipped"}))
    harness.to("WAITING")
    harness.run(10)
    assert harness.state == "WAITING"


def test_an_epoch_below_the_last_one_is_reported_once_and_needs_a_key():
    harness = Harness(memory=Memory("r", {5: "synced"}))
    harness.to("WAITING")
    harness.run(10)
    assert harness.state == "WAITING"
    assert len(harness.lines("  The server offers epoch 1, below the last one seen, 5")) == 1
    harness.press("y")
    assert harness.state == "READY"
    assert harness.engine.view().epoch == 1


def test_epoch_zero_is_new_to_a_session_that_has_seen_none():
    harness = Harness()
    harness.offer = Polled(ready=True, epoch=0)
    harness.to("READY")
    assert "  Press 'y' to start epoch 0, 'n' to skip: " in harness.said


def test_a_failing_poll_is_said_once_per_change():
    harness = Harness()
    harness.offer = Polled(error="Connection refused")
    harness.to("WAITING")
    harness.run(10)
    harness.offer = Polled(error="'ready' is 1, expected true or false")
    harness.run(10)
    assert harness.lines("Failed to poll") == [
        "Failed to poll training status: Connection refused",
        "Failed to poll training status: 'ready' is 1, expected true or false",
    ]
    assert harness.polls > 10


def test_the_question_at_the_start_can_be_left_out():
    harness = Harness(ask_before_taking=False)
    harness.offer = Polled(ready=False)
    harness.run_to("WAITING")
    assert harness.arm.reason == "home_reached"


def test_a_save_that_fails_is_said_and_the_session_goes_on():
    harness = Harness()
    harness.saves = False
    harness.to("DECIDING")
    assert harness.lines("  Save failed: no space left on device")
    assert "g" not in harness.listed
    harness.press("g")
    assert "no saved episode" in harness.said[-1]


def test_an_episode_that_ended_before_its_first_row_is_no_failed_save():
    harness = Harness()
    harness.saves, harness.why_not_saved = False, "nothing to save: the arms were never in POLICY"
    harness.to("DECIDING")
    assert harness.lines("  Nothing to save: the arms were never in POLICY")
    assert not harness.lines("  Save failed")


def test_leaving_deciding_for_another_episode_uploads_in_the_background():
    harness = Harness()
    harness.to("DECIDING")
    harness.run(5)
    assert harness.background_syncs == 0, "labels may still change"
    harness.press("y")
    harness.run(3)
    assert harness.state == "READY"
    assert (harness.background_syncs, harness.syncs) == (1, 0)
    assert json.loads(harness.memory_text)["owed"] == [1], "only SYNCING finishes an epoch"


def test_the_background_waits_for_a_label_that_is_being_written():
    harness = Harness()
    harness.to("DECIDING")
    harness.run(1)
    harness.press("g", "y")
    saved = harness.recorder
    harness.recorder = replace(saved, state=RecorderState.SAVING)
    harness.run(5)
    assert harness.background_syncs == 0
    harness.recorder = saved
    harness.run(1)
    assert harness.background_syncs == 1


def test_no_upload_in_the_background_where_it_is_off_or_deciding_was_left_for_syncing():
    harness = Harness(background_upload=False)
    harness.to("DECIDING")
    harness.press("y")
    harness.run(3)
    assert harness.background_syncs == 0
    harness = Harness()
    harness.to("DECIDING")
    harness.press("n")
    harness.run_to("WAITING")
    harness.run(3)
    assert (harness.background_syncs, harness.syncs) == (0, 1)


def test_a_failure_in_the_background_is_reported_and_ends_no_syncing():
    harness = Harness()
    harness.to("DECIDING")
    harness.press("y")
    harness.run(3)
    harness.engine.observe(Synced(reason="the target is full", background=True), harness.now_ns)
    harness.run(1)
    assert harness.lines("  Upload in the background: the target is full")
    assert "background_upload_failed" in harness.events
    assert harness.state == "READY"


def test_an_upload_says_each_file_once_and_why_one_is_tried_again():
    harness = Harness()
    harness.to("DECIDING")
    harness.sync_result = None  # it takes a while
    harness.press("n")
    harness.run(1)
    name = "training_session_epoch1/episode_0.hdf5"
    for share in ("checking", "10%", "60%"):
        running = SyncProgress(SyncState.RUNNING, f"{name} (1 of 2, {share})", 0.1, 10**8, 11.3e6, 35.0, files_owed=2)
        harness.engine.observe(running, harness.now_ns)
    broken = SyncProgress(SyncState.RUNNING, reason="the connection broke; attempt 2 of 4 in 2 s")
    for _ in range(2):
        harness.engine.observe(broken, harness.now_ns)
    harness.step()
    assert harness.lines("  Sending") == [f"  Sending {name}, 1 of 2, 2 not verified yet (11.3 MB/s, 35 s left)"]
    assert harness.said.count("  the connection broke; attempt 2 of 4 in 2 s") == 1
