"""A session's regular course, its lines included."""

import json
from dataclasses import replace

from session_builders import Theatre

from h1_session_manager.memory import Memory
from h1_session_manager.values import Polled, RecorderState, Synced, SyncProgress, SyncState, Unverified
from h1_training_node.message_numbers import ArmMode


def shown_in_order(said: list[str], *lines: str) -> None:
    rest = iter(said)
    for line in lines:
        assert line in rest, f"'{line}' is missing or out of order in {said}"


def test_the_operator_reads_the_documented_lines_word_for_word():
    theatre = Theatre()
    theatre.to("DECIDING")
    theatre.run(1)
    theatre.press("y")
    theatre.run(1)
    theatre.to("DECIDING")
    theatre.press("n")
    shown_in_order(
        theatre.said,
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
        "[READY] Epoch 1, episode 2",
        "[SYNCING] Uploading data to remote server...",
    )


def test_the_arms_go_home_before_the_policy_and_the_recording_begins_before_both():
    theatre = Theatre()
    theatre.to("READY")
    theatre.run(1)
    theatre.calls.clear()
    theatre.press("y")
    theatre.arms_in_policy()
    names = [(call.service, call.fields.get("mode")) for call in theatre.calls]
    assert names == [
        ("recorder/start", None),
        ("arm_driver/set_mode", ArmMode.HOME),
        ("arm_driver/set_mode", ArmMode.POLICY),
    ]
    assert theatre.state == "EXECUTING"


def test_an_episode_is_started_in_its_epochs_folder_with_what_explains_it():
    theatre = Theatre(
        save_dir="/data",
        task="stack cups",
        config_sha256="abc",
        robot_name="alice",
        episode_attributes='{"robot_name": "alice"}',
    )
    theatre.to("EXECUTING")
    [fields] = theatre.called("recorder/start")
    assert fields["directory"] == "/data/training_session_epoch1"
    assert (fields["epoch"], fields["episode"]) == (1, 1)
    assert (fields["task"], fields["prompt"]) == ("stack cups", "stack cups, Advantage=True")
    assert json.loads(fields["attributes_json"]) == {
        "robot_name": "alice",  # as it was given, and once
        "config_sha256": "abc",
        "dummy_cameras": [],
    }


def test_resume_goes_on_in_the_same_episode_from_where_the_arms_are():
    theatre = Theatre()
    theatre.to("DAMPING")
    theatre.run(1)
    theatre.calls.clear()
    theatre.press("r")
    theatre.run_to("EXECUTING")
    theatre.arms_in_policy()
    modes = [fields["mode"] for fields in theatre.called("arm_driver/set_mode")]
    assert modes == [ArmMode.HOLD, ArmMode.POLICY]
    assert not theatre.called("recorder/start")


def test_the_outcome_told_in_labeling_is_written_with_the_episode():
    for key, outcome in (("y", "success"), ("n", "failure")):
        theatre = Theatre(max_execution_s=2.0)
        theatre.to("EXECUTING")
        theatre.run_to("LABELING")
        assert theatre.arm.mode is ArmMode.HOLD
        theatre.press(key)
        assert theatre.state == "DAMPING"
        theatre.run(1)
        assert theatre.arm.mode is ArmMode.DAMPING
        theatre.press("e")
        [fields] = theatre.called("recorder/finish")
        assert (fields["outcome"], fields["end_reason"]) == (outcome, "time_limit")


def test_an_episode_stopped_by_key_is_unlabeled_until_deciding_marks_it():
    theatre = Theatre()
    theatre.to("DECIDING")
    [finished] = theatre.called("recorder/finish")
    assert (finished["outcome"], finished["end_reason"]) == ("unlabeled", "operator")
    theatre.press("g")
    assert theatre.called("recorder/label") == [{"episode_id": "epoch1/episode_0", "outcome": "success"}]
    assert theatre.said[-1] == "  Marked as success"
    theatre.press("b")
    assert theatre.called("recorder/label")[-1]["outcome"] == "failure"
    assert theatre.state == "DECIDING"


def test_a_discarded_episode_gives_its_number_to_the_next():
    theatre = Theatre()
    theatre.to("DAMPING")
    theatre.press("x")
    assert theatre.state == "DAMPING"
    theatre.run(1)
    theatre.press("x")
    theatre.run_to("DECIDING")
    assert theatre.called("recorder/discard") == [{"episode_id": "epoch1/episode_0", "why": "operator"}]
    theatre.run(1)
    theatre.press("y")
    assert "[READY] Epoch 1, episode 1" in theatre.said


def test_q_in_waiting_gives_the_arms_back_and_ends_with_status_zero():
    theatre = Theatre()
    theatre.offer = Polled(ready=False, epoch=1)
    theatre.to("WAITING")
    theatre.press("q")
    theatre.run(1)
    assert theatre.arm.mode is ArmMode.RELEASED
    assert theatre.status == 0


def test_an_upload_that_fails_can_be_tried_again_or_left():
    theatre = Theatre()
    theatre.sync_result = Synced(reason="nothing moved for too long; check the network")
    theatre.to("DECIDING")
    theatre.press("n")
    theatre.run(1)
    assert theatre.state == "SYNCING"
    assert theatre.listed == ("y", "n", "q")
    theatre.press("y")
    theatre.run(1)
    assert theatre.syncs == 2
    theatre.press("n")
    assert theatre.state == "WAITING"
    assert json.loads(theatre.memory_text)["owed"] == [1]
    assert json.loads(theatre.memory_text)["finished"] == {}


def test_an_epoch_is_finished_only_when_its_upload_was_verified():
    theatre = Theatre()
    theatre.to("DECIDING")
    assert json.loads(theatre.memory_text) == {"format": 1, "robot": "r", "finished": {}, "owed": [1]}
    theatre.press("n")
    theatre.run_to("WAITING")
    assert json.loads(theatre.memory_text) == {"format": 1, "robot": "r", "finished": {"1": "synced"}, "owed": []}


def test_without_a_target_the_data_are_kept_and_the_epoch_is_finished():
    theatre = Theatre(rsync_target="", save_dir="/data")
    theatre.to("DECIDING")
    theatre.press("n")
    theatre.run_to("WAITING")
    assert "  No upload target configured: kept locally in /data" in theatre.said
    assert theatre.syncs == 0
    assert json.loads(theatre.memory_text)["finished"] == {"1": "kept"}


def test_a_skipped_epoch_is_finished_and_not_offered_again():
    theatre = Theatre()
    theatre.to("READY")
    theatre.press("n")
    assert theatre.state == "WAITING"
    assert json.loads(theatre.memory_text)["finished"] == {"1": "skipped"}
    theatre.run(5)
    assert theatre.state == "WAITING"
    theatre.offer = Polled(ready=True, epoch=2)
    theatre.run_to("READY")


def test_an_episode_that_was_recovered_is_uploaded_before_anything_new_is_waited_for():
    theatre = Theatre()
    theatre.to("READY")
    theatre.session.observe(Unverified(frozenset({0})), theatre.now_ns)
    theatre.step()
    assert json.loads(theatre.memory_text)["owed"] == [0]
    theatre.press("n")
    theatre.run_to("WAITING")
    assert theatre.syncs == 1
    assert json.loads(theatre.memory_text)["owed"] == []


def test_skipping_while_uploads_are_owed_uploads_them():
    theatre = Theatre(memory=Memory("r", {}, frozenset({3})))
    theatre.offer = Polled(ready=True, epoch=4)
    theatre.to("READY")
    theatre.press("n")
    theatre.run_to("WAITING")
    assert theatre.syncs == 1
    assert json.loads(theatre.memory_text)["finished"] == {"3": "synced", "4": "synced"}


def test_after_a_restart_an_unfinished_epoch_is_offered_again_with_its_next_episode():
    theatre = Theatre(memory=Memory("r", {0: "synced"}, frozenset({1})), episodes=lambda epoch: 2 if epoch == 1 else 0)
    theatre.to("READY")
    assert theatre.session.view().episode == 3
    assert theatre.lines("  Epoch 1 was begun before")


def test_after_a_restart_a_finished_epoch_is_not_offered_again():
    theatre = Theatre(memory=Memory("r", {0: "synced", 1: "skipped"}))
    theatre.to("WAITING")
    theatre.run(10)
    assert theatre.state == "WAITING"


def test_an_epoch_below_the_last_one_is_shown_once_and_needs_a_key():
    theatre = Theatre(memory=Memory("r", {5: "synced"}))
    theatre.to("WAITING")
    theatre.run(10)
    assert theatre.state == "WAITING"
    assert len(theatre.lines("  The server offers epoch 1, below the last one seen, 5")) == 1
    theatre.press("y")
    assert theatre.state == "READY"
    assert theatre.session.view().epoch == 1


def test_epoch_zero_is_new_to_a_session_that_has_seen_none():
    theatre = Theatre()
    theatre.offer = Polled(ready=True, epoch=0)
    theatre.to("READY")
    assert "  Press 'y' to start epoch 0, 'n' to skip: " in theatre.said


def test_a_failing_poll_is_said_once_per_change():
    theatre = Theatre()
    theatre.offer = Polled(error="Connection refused")
    theatre.to("WAITING")
    theatre.run(10)
    theatre.offer = Polled(error="'ready' is 1, expected true or false")
    theatre.run(10)
    assert theatre.lines("Failed to poll") == [
        "Failed to poll training status: Connection refused",
        "Failed to poll training status: 'ready' is 1, expected true or false",
    ]
    assert theatre.polls > 10


def test_the_question_at_the_start_can_be_left_out():
    theatre = Theatre(ask_before_taking=False)
    theatre.offer = Polled(ready=False)
    theatre.run_to("WAITING")
    assert theatre.arm.reason == "home_reached"


def test_a_save_that_fails_is_said_and_the_session_goes_on():
    theatre = Theatre()
    theatre.saves = False
    theatre.to("DECIDING")
    assert theatre.lines("  Save failed: no space left on device")
    assert "g" not in theatre.listed
    theatre.press("g")
    assert "no saved episode" in theatre.said[-1]


def test_an_episode_that_ended_before_its_first_row_is_no_failed_save():
    theatre = Theatre()
    theatre.saves, theatre.why_not_saved = False, "nothing to save: the arms were never in POLICY"
    theatre.to("DECIDING")
    assert theatre.lines("  Nothing to save: the arms were never in POLICY")
    assert not theatre.lines("  Save failed")


def test_leaving_deciding_for_another_episode_uploads_in_the_background():
    theatre = Theatre()
    theatre.to("DECIDING")
    theatre.run(5)
    assert theatre.background_syncs == 0, "labels may still change"
    theatre.press("y")
    theatre.run(3)
    assert theatre.state == "READY"
    assert (theatre.background_syncs, theatre.syncs) == (1, 0)
    assert json.loads(theatre.memory_text)["owed"] == [1], "only SYNCING finishes an epoch"


def test_the_background_waits_for_a_label_that_is_being_written():
    theatre = Theatre()
    theatre.to("DECIDING")
    theatre.run(1)
    theatre.press("g", "y")
    saved = theatre.recorder
    theatre.recorder = replace(saved, state=RecorderState.SAVING)
    theatre.run(5)
    assert theatre.background_syncs == 0
    theatre.recorder = saved
    theatre.run(1)
    assert theatre.background_syncs == 1


def test_no_upload_in_the_background_where_it_is_off_or_deciding_was_left_for_syncing():
    theatre = Theatre(background_upload=False)
    theatre.to("DECIDING")
    theatre.press("y")
    theatre.run(3)
    assert theatre.background_syncs == 0
    theatre = Theatre()
    theatre.to("DECIDING")
    theatre.press("n")
    theatre.run_to("WAITING")
    theatre.run(3)
    assert (theatre.background_syncs, theatre.syncs) == (0, 1)


def test_a_failure_in_the_background_is_shown_and_ends_no_syncing():
    theatre = Theatre()
    theatre.to("DECIDING")
    theatre.press("y")
    theatre.run(3)
    theatre.session.observe(Synced(reason="the target is full", background=True), theatre.now_ns)
    theatre.run(1)
    assert theatre.lines("  Upload in the background: the target is full")
    assert "background_upload_failed" in theatre.events
    assert theatre.state == "READY"


def test_an_upload_says_each_file_once_and_why_one_is_tried_again():
    theatre = Theatre()
    theatre.to("DECIDING")
    theatre.sync_result = None  # it takes a while
    theatre.press("n")
    theatre.run(1)
    name = "training_session_epoch1/episode_0.hdf5"
    for share in (10, 60):
        running = SyncProgress(
            SyncState.RUNNING, f"{name} (1 of 2, {share}%)", share / 100, 10**8, 11.3e6, 35.0, files_owed=2
        )
        theatre.session.observe(running, theatre.now_ns)
    broken = SyncProgress(SyncState.RUNNING, reason="the connection broke; attempt 2 of 4 in 2 s")
    for _ in range(2):
        theatre.session.observe(broken, theatre.now_ns)
    theatre.step()
    assert theatre.lines("  Sending") == [f"  Sending {name}, 1 of 2, 2 not verified yet (11.3 MB/s, 35 s left)"]
    assert theatre.said.count("  the connection broke; attempt 2 of 4 in 2 s") == 1
