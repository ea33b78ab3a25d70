# SPDX-License-Identifier: Apache-2.0
"""The scripted operator against the real session, with the rest played by plain functions."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from h1_session_manager.memory import Memory
from h1_session_manager.values import Polled, RecorderState, Synced
from h1_training_bringup.sim.operator_plan import OperatorParameters, OperatorPlan, Seen
from h1_training_node.message_numbers import ArmMode

# The session's own builders: a stand-in of our own would only prove that it agrees with itself.
sys.path.append(str(Path(__file__).parents[2] / "h1_session_manager" / "test"))
from session_builders import Harness

ROWS_A_STEP = 5


class Rehearsal(Harness):
    """A session whose recorder counts rows, and whose server has new weights after each upload."""

    def __init__(self, plan: OperatorPlan, **config) -> None:
        self.plan = plan
        self.pressed: list[tuple[str, str]] = []
        super().__init__(**config)

    def perform(self, seconds: float = 600.0) -> None:
        def step_and_look() -> bool:
            self._count_rows()
            view = self.engine.view()
            seen = Seen(
                state=view.state,
                since_ns=view.since_ns,
                epoch=view.epoch,
                episode_id=view.episode_id,
                keys=view.keys,
                reason=view.reason,
                policy_frames=self.recorder.policy_frames,
                human_frames=self.recorder.human_frames,
                arms_damping=self.arm.mode is ArmMode.DAMPING,
                demonstrated=view.episode_id,
                distance_m=0.12,
                succeeded=self.succeeds(view.episode_id),
            )
            if key := self.plan.look(seen, self.now_ns):
                self.pressed.append((view.state, key))
                self.press(key)
            return self.status is not None or self.plan.gives_up

        self.run(seconds, step_and_look)

    def succeeds(self, episode_id: str) -> bool:
        """What would be measured at the body: every second episode succeeds."""
        return episode_id.endswith("1")

    def start_recording(self, fields):
        self.recorder = replace(self.recorder, policy_frames=0, human_frames=0)
        return super().start_recording(fields)

    def _count_rows(self) -> None:
        if self.recorder.state is not RecorderState.RECORDING:
            return
        policy = ROWS_A_STEP * (self.arm.mode is ArmMode.POLICY)
        human = ROWS_A_STEP * (self.arm.mode is ArmMode.DAMPING and self.state == "DAMPING")
        frames = self.recorder.policy_frames + policy, self.recorder.human_frames + human
        self.recorder = replace(self.recorder, policy_frames=frames[0], human_frames=frames[1])

    def _execute(self, command: object) -> None:
        before = self.syncs
        super()._execute(command)
        if self.syncs != before and not self.sync_result.reason:
            self.offer = Polled(ready=True, epoch=self.offer.epoch + 1)


def test_two_epochs_of_two_episodes_with_one_resume_and_a_clean_end():
    rehearsal = Rehearsal(OperatorPlan(OperatorParameters()))
    rehearsal.perform()
    assert rehearsal.plan.complaints == []
    assert rehearsal.status == 0
    assert len(rehearsal.called("recorder/start")) == 4
    assert [(fields["epoch"], fields["episode"]) for fields in rehearsal.called("recorder/start")] == [
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
    ]
    assert [key for _, key in rehearsal.pressed].count("r") == 1
    starts = [i for i, (state, key) in enumerate(rehearsal.pressed) if (state, key) == ("READY", "y")]
    assert starts[1] < rehearsal.pressed.index(("DAMPING", "r")) < starts[2]
    assert rehearsal.pressed[-1] == ("WAITING", "q")
    assert {fields["outcome"] for fields in rehearsal.called("recorder/label")} == {"success", "failure"}


def test_a_policy_that_gets_no_further_is_stopped_after_a_second_and_a_half():
    rehearsal = Rehearsal(OperatorPlan(OperatorParameters(epochs=1, policy_frames=1)))
    frames: list[int] = []
    finish = rehearsal.handlers["recorder/finish"]

    def finishing(fields):
        frames.append(rehearsal.recorder.policy_frames)
        return finish(fields)

    rehearsal.handlers["recorder/finish"] = finishing
    rehearsal.perform()
    runs = [frames[0], frames[1] / 2]  # the second episode has two runs
    assert all(75 * ROWS_A_STEP <= run <= 95 * ROWS_A_STEP for run in runs)


def watched(plan: OperatorPlan, distances_m: list[float]) -> int:
    """After how many looks, 50 ms apart, the policy is stopped."""
    plan.look(Seen("EXECUTING", since_ns=0, keys=("s",)), 0)
    for look_number, distance_m in enumerate(distances_m):
        seen = Seen("EXECUTING", since_ns=0, keys=("s",), policy_frames=9, distance_m=distance_m)
        if plan.look(seen, (look_number + 1) * 50_000_000) == "s":
            return look_number
    return -1


def test_a_policy_is_stopped_when_it_is_done_strays_or_gets_no_further_and_else_goes_on():
    parameters = OperatorParameters(policy_frames=1)
    arrives = [0.14 - 0.004 * n for n in range(35)] + [0.015] * 20
    assert watched(OperatorPlan(parameters), arrives) == pytest.approx(30 + 11, abs=2)
    strays = [0.12 + 0.005 * n for n in range(30)]
    assert watched(OperatorPlan(parameters), strays) == pytest.approx(9, abs=1)
    assert watched(OperatorPlan(parameters), [0.1] * 60) == 30
    nearly = [0.14 - 0.004 * n for n in range(30)] + [0.025] * 50
    assert watched(OperatorPlan(parameters), nearly) > 50, "2.5 cm would pass the test, but is not good enough"
    assert watched(OperatorPlan(parameters), [0.2 - 0.003 * n for n in range(50)]) == -1


def test_without_a_measured_distance_nothing_is_judged():
    plan = OperatorPlan(OperatorParameters(policy_frames=1))
    for tick in range(100):
        seen = Seen("EXECUTING", since_ns=0, keys=("s",), policy_frames=100)
        assert plan.look(seen, tick * 50_000_000) == ""


def test_the_first_epoch_may_have_episodes_of_its_own_number():
    rehearsal = Rehearsal(OperatorPlan(OperatorParameters(epochs=2, first_episodes=3, episodes=1)))
    rehearsal.perform()
    epochs = [fields["epoch"] for fields in rehearsal.called("recorder/start")]
    assert epochs == [1, 1, 1, 2]


def test_a_fault_that_cuts_the_policy_short_is_acknowledged_and_made_up_for():
    rehearsal = Rehearsal(OperatorPlan(OperatorParameters(epochs=1, episodes=1, resume_in_episode=0)))
    rehearsal.plan.look(look(rehearsal), rehearsal.now_ns)
    go_home = rehearsal.set_mode
    faults = ["robot_lost"]

    def failing(fields):
        reply = go_home(fields)
        if rehearsal.arm.mode is ArmMode.HOME and rehearsal.state == "READY" and faults:
            rehearsal.force_damping(faults.pop())
        return reply

    rehearsal.handlers["arm_driver/set_mode"] = failing
    rehearsal.perform()
    assert ("DAMPING", "r") in rehearsal.pressed
    assert rehearsal.called("arm_driver/acknowledge")
    assert rehearsal.status == 0


def test_weights_that_come_after_the_last_epoch_are_skipped():
    plan = OperatorPlan(OperatorParameters(epochs=0))
    rehearsal = Rehearsal(plan)
    rehearsal.perform()
    assert ("WAITING", "q") in rehearsal.pressed or ("READY", "n") in rehearsal.pressed
    assert rehearsal.status == 0


def test_a_server_that_has_fallen_back_is_taken_at_its_word():
    rehearsal = Rehearsal(OperatorPlan(OperatorParameters(epochs=1)), memory=Memory("r", finished={7: "synced"}))
    rehearsal.perform()
    assert ("WAITING", "y") in rehearsal.pressed
    assert [fields["epoch"] for fields in rehearsal.called("recorder/start")] == [1, 1]
    assert rehearsal.plan.complaints == []
    assert rehearsal.status == 0


def test_an_unexpected_stop_is_reported_and_the_arms_are_released():
    rehearsal = Rehearsal(OperatorPlan(OperatorParameters()))
    rehearsal.run(30, lambda: bool(rehearsal.plan.look(look(rehearsal), rehearsal.now_ns)))
    rehearsal.engine.emergency("phone", "", rehearsal.now_ns)
    rehearsal.perform()
    assert rehearsal.status == 0
    assert "the session stopped" in rehearsal.plan.complaints[0]


def look(rehearsal: Rehearsal) -> Seen:
    view = rehearsal.engine.view()
    return Seen(state=view.state, since_ns=view.since_ns, keys=view.keys)


def test_a_key_without_effect_is_pressed_again_with_patience_and_then_reported():
    plan = OperatorPlan(OperatorParameters(most_presses=3))
    seen = Seen("READY", since_ns=0, epoch=1, keys=("y", "n", "q"), reason="recorder: no")
    presses = [now for now in range(0, 20_000, 100) if plan.look(seen, now * 1_000_000)]
    assert len(presses) == 3
    assert presses[1] - presses[0] >= 1500
    assert plan.gives_up
    assert "'y' was pressed 3 times in READY without effect: recorder: no" in plan.complaints


def test_a_key_that_is_not_listed_is_not_pressed():
    plan = OperatorPlan(OperatorParameters())
    assert plan.look(Seen("READY", since_ns=0, epoch=1, keys=("n", "q")), 0) == ""
    assert plan.look(Seen("READY", since_ns=0, epoch=1, keys=("any", "q")), 1) == ""


def test_a_session_in_which_nothing_moves_is_reported():
    plan = OperatorPlan(OperatorParameters(patience_s=10.0))
    seen = Seen("WAITING", since_ns=0, reason="Connection refused")
    assert plan.look(seen, 0) == ""
    assert not plan.gives_up
    plan.look(seen, 11 * 10**9)
    assert plan.complaints == ["nothing moves in WAITING: Connection refused"]


def test_an_upload_that_goes_on_slowly_is_waited_for():
    plan = OperatorPlan(OperatorParameters(patience_s=10.0))
    for number in range(4):
        plan.look(Seen("SYNCING", since_ns=0, epoch=1, uploading=f"episode_{number}"), number * 9 * 10**9)
    assert plan.complaints == []
    plan.look(Seen("SYNCING", since_ns=0, epoch=1, uploading="episode_3"), 38 * 10**9)
    assert plan.complaints == ["nothing moves in SYNCING: no reason shown"]


def test_an_age_that_grows_moves_nothing():
    plan = OperatorPlan(OperatorParameters(patience_s=10.0))
    for second in range(12):
        plan.look(Seen("READY", since_ns=0, epoch=1, keys=("n",), reason=f"no image for {second}.5 s"), second * 10**9)
    assert plan.gives_up
    assert plan.complaints == ["nothing moves in READY: no image for 11.5 s"]


@pytest.mark.parametrize("reason", ["interrupted by SIGINT", "interrupted by SIGTERM"])
def test_a_session_that_was_interrupted_is_no_complaint(reason):
    plan = OperatorPlan(OperatorParameters())
    plan.look(Seen("STOPPED", since_ns=0, reason=reason), 0)
    assert plan.complaints == []


def test_an_episode_that_was_not_saved_is_reported():
    rehearsal = Rehearsal(OperatorPlan(OperatorParameters(epochs=1, episodes=1)))
    rehearsal.saves = False
    rehearsal.perform()
    assert "was not saved: no space left on device" in rehearsal.plan.complaints[0]
    assert rehearsal.plan.gives_up
    assert ("WAITING", "q") not in rehearsal.pressed, "a session that lost an episode ends with no clean status"


def test_an_upload_that_fails_is_tried_again_then_given_up_and_reported():
    rehearsal = Rehearsal(OperatorPlan(OperatorParameters(epochs=1, episodes=1)))
    rehearsal.sync_result = Synced(files=1, reason="the target is full; free some space there")
    rehearsal.perform()
    assert [key for state, key in rehearsal.pressed if state == "SYNCING"] == ["y", "y", "n"]
    assert rehearsal.plan.complaints == ["the upload failed: the target is full; free some space there"]
    assert rehearsal.plan.gives_up


def test_one_q_ends_the_session_since_a_second_one_stops_the_arms_on_their_way_back():
    plan = OperatorPlan(OperatorParameters(epochs=0))
    waiting = Seen("WAITING", since_ns=0, keys=("q",))
    assert plan.look(waiting, 0) == "", "READY may be about to come"
    assert plan.look(waiting, 10**9) == "q"
    assert [plan.look(waiting, second * 10**9) for second in (3, 10, 20)] == ["", "", ""]
