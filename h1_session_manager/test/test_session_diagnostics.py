# SPDX-License-Identifier: Apache-2.0
"""What /diagnostics says of nodes and streams, and that it says it in time."""

from dataclasses import replace

import pytest
from session_builders import MS, Harness, S, streams

from h1_session_manager.diagnostics import Diagnosis, Diagnostics, Health
from h1_session_manager.host_health import HostHealth
from h1_session_manager.parameters import SessionParameters
from h1_session_manager.values import Hand, Policy, Reached, StreamStatus, SyncProgress
from h1_training_node.message_numbers import RecorderState, SyncState, Verdict


def diagnosed(harness: Harness) -> dict[str, Diagnosis]:
    statuses = Diagnostics(harness.config).statuses(harness.engine.observed, harness.engine.view())
    assert len({status.name for status in statuses}) == len(statuses)
    return {status.name: status for status in statuses}


def ready(**config) -> Harness:
    harness = Harness(**config)
    harness.arm = replace(harness.arm, state_rate=500.0)
    harness.to("READY")
    harness.run(3)
    return harness


def test_all_is_ok_when_all_is_well():
    found = diagnosed(ready())
    assert {name: status.health for name, status in found.items() if status.health is not Health.OK} == {}
    assert {"node: session_manager", "node: arm_driver", "node: arm_guard", "node: recorder", "node: policy_bridge",
            "stream: ego_cam", "machine", "upload"} <= set(found)  # fmt: skip
    assert found["node: arm_driver"].values["rate [Hz]"] == "50.0"
    assert found["node: arm_driver"].values["age [s]"] == "0.00"


def test_what_was_never_heard_is_stale_and_what_fell_silent_is_an_error():
    harness = Harness(include_hands=True, absent=("policy_bridge",))
    harness.run(2)
    assert diagnosed(harness)["node: policy_bridge"].health is Health.STALE
    assert diagnosed(harness)["hand: left"].health is Health.STALE
    harness.absent.add("arm_driver")
    harness.run(1)
    status = diagnosed(harness)["node: arm_driver"]
    assert (status.health, status.message) == (Health.ERROR, "silent for 1.0 s; does it run?")


@pytest.mark.parametrize(
    ("verdict", "health", "message"),
    [
        (Verdict.FRESH, Health.OK, "30.0 Hz"),
        (Verdict.LATE, Health.ERROR, "late: 30.0 images/s"),
        (Verdict.FROZEN, Health.ERROR, "the same image for 2.0 s"),
        (Verdict.ABSENT, Health.ERROR, "no image for 2.0 s"),
    ],
)
def test_a_camera_is_as_the_recorder_judges_it(verdict, health, message):
    harness = ready()
    harness.recorder = replace(harness.recorder, streams=(StreamStatus("ego_cam", 30.0, 2.0, verdict=verdict),))
    harness.step()
    status = diagnosed(harness)["stream: ego_cam"]
    assert (status.health, status.message) == (health, message)
    assert status.values == {"rate [Hz]": "30.0", "age [s]": "2.00", "lost": "0"}


def test_a_camera_that_was_never_there_and_one_that_the_recorder_does_not_know_are_stale():
    harness = ready()
    never = StreamStatus("cam_left_wrist", 0.0, -1.0, verdict=Verdict.ABSENT)
    harness.recorder = replace(harness.recorder, streams=(never,))
    harness.step()
    found = diagnosed(harness)
    assert found["stream: cam_left_wrist"].health is Health.STALE
    assert found["stream: cam_right_wrist"].health is Health.STALE


def test_a_slow_computer_is_an_error_of_its_own_and_a_warning_for_each_camera():
    harness = ready()
    late = tuple(replace(stream, verdict=Verdict.LATE) for stream in streams())
    harness.recorder = replace(harness.recorder, streams=late, machine_is_slow=True)
    harness.step()
    found = diagnosed(harness)
    assert found["machine"].health is Health.ERROR
    assert found["stream: ego_cam"].health is Health.WARN


def test_lost_messages_are_a_warning_while_they_are_being_lost():
    harness = ready()
    diagnostics = Diagnostics(harness.config)

    def arm_status(drops: int) -> Diagnosis:
        harness.recorder = replace(harness.recorder, streams=(StreamStatus("arm_status", 50.0, 0.0, drops),))
        harness.step()
        statuses = diagnostics.statuses(harness.engine.observed, harness.engine.view())
        return next(status for status in statuses if status.name == "stream: arm_status")

    assert arm_status(0).health is Health.OK
    assert (arm_status(7).health, arm_status(7).message) == (Health.WARN, "7 messages lost in the last seconds")
    harness.run(11)
    status = arm_status(7)
    assert (status.health, status.values["lost"]) == (Health.OK, "7")


def test_a_silent_recorder_makes_its_streams_unknown():
    harness = ready()
    harness.absent.add("recorder")
    harness.run(5)
    found = diagnosed(harness)
    assert found["node: recorder"].health is Health.ERROR
    assert (found["stream: ego_cam"].health, "not known" in found["stream: ego_cam"].message) == (Health.STALE, True)


def test_faults_of_arms_guard_hands_disk_and_policy_are_errors_with_their_reason():
    harness = ready(include_hands=False)
    harness.force_damping("blocked")
    harness.recorder = replace(harness.recorder, state=RecorderState.FAILED, last_error="no space")
    harness.policy = Policy(harness.now_ns, harness.policy.connection, epoch=0)
    harness.step()
    harness.engine.observed.policy = replace(harness.engine.observed.policy, epoch=0)
    found = diagnosed(harness)
    assert found["node: arm_driver"].message == "DAMPING: blocked"
    assert found["node: recorder"].message == "no space"
    assert found["node: policy_bridge"].message == "not yet reconnected for epoch 1"
    assert {found[name].health for name in ("node: arm_driver", "node: recorder", "node: policy_bridge")} == {
        Health.ERROR
    }
    harness.guard_active = True
    harness.step()
    assert diagnosed(harness)["node: arm_guard"].health is Health.ERROR
    assert diagnosed(harness)["node: session_manager"].health is Health.ERROR


def test_a_hand_is_reported_with_its_rate():
    harness = Harness(include_hands=True)
    for _ in range(60):
        harness.now_ns += 50 * MS
        harness.engine.observe_hand("left", Hand(harness.now_ns, max_temperature=39), harness.now_ns)
    status = diagnosed(harness)["hand: left"]
    assert (status.health, status.values["rate [Hz]"], status.values["messages"]) == (Health.OK, "20.0", "60")
    harness.engine.observe_hand("left", Hand(harness.now_ns, "finger 2: stall", error=True), harness.now_ns)
    assert diagnosed(harness)["hand: left"].message == "finger 2: stall"


def test_slow_state_of_the_robot_machine_and_upload_warn():
    harness = ready()
    harness.arm = replace(harness.arm, state_rate=120.0)
    harness.step()
    harness.engine.observe(Reached("the host's key is not known here"), harness.now_ns)
    harness.engine.observe(HostHealth(utc_s=1.8e9, clock_jump_s=4.0), harness.now_ns)
    found = diagnosed(harness)
    for name in ("node: arm_driver", "upload", "machine"):
        assert found[name].health is Health.WARN, name
    harness.engine.observe(Reached(), harness.now_ns)
    harness.engine.observe(SyncProgress(SyncState.FAILED, reason="full"), harness.now_ns)
    assert diagnosed(harness)["upload"].health is Health.ERROR


def test_levels_are_the_messages_numbers_and_config_needs_nothing_more():
    assert [int(level) for level in Health] == [0, 1, 2, 3]
    assert Diagnostics(SessionParameters()).statuses(Harness().engine.observed, Harness().engine.view())
    assert S == 1000 * MS
