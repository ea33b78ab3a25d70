# SPDX-License-Identifier: Apache-2.0
"""Whatever happens in whatever order, the session keeps its rules."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from session_builders import Harness, streams

from h1_session_manager.states import KEYS, SERVICES
from h1_session_manager.table import EMERGENCY, State
from h1_session_manager.values import Call, Polled, Reply, Synced
from h1_session_manager.words import in_words
from h1_training_node.message_numbers import ArmMode, Connection, RecorderState

ONWARD = {"STARTING": "y", "READY": "y", "EXECUTING": "s", "LABELING": "y", "DAMPING": "e", "DECIDING": "y"}
RECORDING = {State.EXECUTING, State.LABELING, State.DAMPING}
MOVING = (ArmMode.HOME, ArmMode.POLICY)


class CheckedHarness(Harness):
    """Notes what the session asked of arms and recorder, and by which key or service a motion came about."""

    step_ns = 100_000_000

    def __init__(self) -> None:
        self.licence = False
        self.violations: list[str] = []
        self.open_episodes: set[str] = set()
        self.ended_episodes: set[str] = set()
        super().__init__(motion_countdown_s=0.5, max_execution_s=8.0, max_damping_s=8.0, first_chunk_timeout_s=3.0)

    def _execute(self, command: object) -> None:
        if isinstance(command, Call):
            self._judge(command)
        super()._execute(command)

    def _judge(self, call: Call) -> None:
        if call.service != "arm_driver/set_mode" or call.fields["mode"] not in MOVING:
            return
        mode = ArmMode(call.fields["mode"])
        if not self.licence:
            self.violations.append(f"{mode.name} without a key whose prompt said so, in {self.state}")
        if mode is ArmMode.POLICY and self.state != "EXECUTING":
            self.violations.append(f"POLICY asked for in {self.state}")

    def start_recording(self, fields):
        reply = super().start_recording(fields)
        if reply.accepted:
            self.open_episodes.add(reply.fields["episode_id"])
        return reply

    def finish_recording(self, fields):
        reply = super().finish_recording(fields)
        if reply.accepted:
            self._ended(fields["episode_id"])
        return reply

    def discard_recording(self, fields):
        self._ended(fields["episode_id"])
        return super().discard_recording(fields)

    def _ended(self, episode_id: str) -> None:
        self.open_episodes.discard(episode_id)
        self.ended_episodes.add(episode_id)


class SessionRules(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.harness = CheckedHarness()
        self.usual: dict = {}
        self.leaves_by_keys = False

    @initialize(
        state=st.sampled_from(["STARTING", "READY", "EXECUTING", "DAMPING", "DECIDING"]),
        late=st.sampled_from(["", "", "arm_driver", "arm_guard", "recorder", "policy_bridge"]),
        leaves_by_keys=st.booleans(),
    )
    def begin(self, state: str, late: str, leaves_by_keys: bool) -> None:
        self.leaves_by_keys = leaves_by_keys
        if state == "STARTING":
            self.harness.engine.observed.heard_ns.clear()
            self.harness.absent.add(late)
        self.harness.licence = True
        self.harness.to(state)
        self.harness.licence = state == "EXECUTING"

    # --- what may happen ---

    @rule(key=st.sampled_from([key for key in KEYS if key != "q"] + ["k", "Y"]))
    def key(self, key: str) -> None:
        harness = self.harness
        self._licence(key.lower())
        before = (harness.said.copy(), harness.engine.view(), len(harness.calls))
        harness.press(key)
        after = (harness.said.copy(), harness.engine.view(), len(harness.calls))
        assert harness.status is not None or before != after, f"'{key}' was answered by silence in {harness.state}"

    @rule(key=st.sampled_from("ynserxgb"))
    def a_patient_person(self, key: str) -> None:
        """Waits a second, presses, and waits for what comes of it."""
        self.wait(1.0)
        if self.harness.status is None:
            self.key(key)
            self.wait(2.5)

    @rule()
    def a_person_who_knows_the_way(self) -> None:
        if self.harness.status is None and self.harness.state in ONWARD:
            self.a_patient_person(ONWARD[self.harness.state])

    @rule(trigger=st.sampled_from([trigger for trigger in SERVICES if trigger != EMERGENCY]))
    def service(self, trigger: str) -> None:
        row = self.harness.engine.context.table.row(trigger)
        self._licence(row.key if row is not None else "")
        success, message = self.harness.call(trigger)
        assert message or success

    @rule(seconds=st.sampled_from([0.1, 0.8, 1.5, 4.0]))
    def wait(self, seconds: float) -> None:
        self.harness.run(seconds, lambda: self.harness.status is not None)

    @rule(ready=st.booleans(), epoch=st.integers(0, 3))
    def server_offers(self, ready: bool, epoch: int) -> None:
        self.harness.offer = Polled(ready=ready, epoch=epoch)

    @rule()
    def server_fails(self) -> None:
        self.harness.offer = Polled(error="Connection refused")

    @rule(fault=st.sampled_from(["session_lost", "robot_lost", "motor_fault"]))
    def arm_fault(self, fault: str) -> None:
        if self.harness.arm.mode is not ArmMode.RELEASED:
            self.harness.force_damping(fault)

    @rule(reason=st.sampled_from(["stale_action", "blocked", "limits"]))
    def arms_hold(self, reason: str) -> None:
        if self.harness.arm.mode in MOVING:
            self.harness.enter(ArmMode.HOLD, reason)

    @rule(how=st.sampled_from(["remote", "key", "service", "topic", *[""] * 12]))
    def now_and_then_an_emergency(self, how: str) -> None:
        harness = self.harness
        if how == "remote":
            harness.emergency_stop({})
        elif how == "key":
            self.key("q")
        elif how == "service":
            harness.call(EMERGENCY)
        elif how == "topic":
            harness.engine.emergency("phone", "", harness.now_ns)
            harness._carry_out()

    @rule(node=st.sampled_from(["arm_driver", "recorder", "policy_bridge"]), present=st.booleans())
    def node_goes_or_comes(self, node: str, present: bool) -> None:
        (self.harness.absent.discard if present else self.harness.absent.add)(node)

    @rule(times=st.integers(0, 14))
    def the_guard_takes_over_now_and_then(self, times: int) -> None:
        if times == 0 and self.harness.arm.mode is not ArmMode.RELEASED:
            self.harness.guard_active = True

    @rule(which=st.sampled_from(["arm_driver/set_mode", "arm_driver/release", "recorder/finish", "recorder/discard",
                                 "arm_driver/acknowledge", "recorder/start"]), refuses=st.booleans())  # fmt: skip
    def a_service_refuses_or_does_not(self, which: str, refuses: bool) -> None:
        """Until the next time."""
        usual = self.usual.setdefault(which, self.harness.handlers[which])
        mode = int(self.harness.arm.mode)
        refusal = Reply(False, "refused for once", {"mode": mode} if which == "arm_driver/set_mode" else {})
        self.harness.handlers[which] = (lambda _fields: refusal) if refuses else usual

    @rule(answers=st.booleans(), done=st.booleans(), connected=st.booleans())
    def policy(self, answers: bool, done: bool, connected: bool) -> None:
        connection = Connection.CONNECTED if connected else Connection.DISCONNECTED
        self.harness.policy_answers = answers and connected
        self.harness.policy = replace(self.harness.policy, done=done, connection=connection)

    @rule(saves=st.booleans(), uploads=st.booleans(), camera=st.booleans())
    def luck(self, saves: bool, uploads: bool, camera: bool) -> None:
        self.harness.saves = saves
        self.harness.sync_result = Synced(files=1) if uploads else Synced(reason="the connection broke")
        self.harness.recorder = replace(self.harness.recorder, streams=streams(ego_cam=0.02 if camera else 3.0))

    @rule()
    def recorder_gives_up(self) -> None:
        if self.harness.recorder.state is RecorderState.RECORDING:
            self.harness._ended(self.harness.recorder.episode_id)
            self.harness.recorder = replace(
                self.harness.recorder, state=RecorderState.FAILED, last_error="disk_low"
            )  # fmt: skip

    @precondition(lambda self: self.harness.status is None)
    @rule(service=st.sampled_from(["arm_driver/set_mode", "recorder/start", "recorder/finish", "arm_driver/release"]))
    def a_late_refusal(self, service: str) -> None:
        """A reply to a call long forgotten, or still awaited."""
        late = [call for call in self.harness.calls if call.service == service]
        if late:
            self.harness.engine.reply(late[-1].id, Reply(False, "too late"), self.harness.now_ns)

    # --- what always holds ---

    @invariant()
    def the_arms_move_only_by_licence_and_follow_the_policy_only_in_executing(self) -> None:
        assert not self.harness.violations, self.harness.violations

    @invariant()
    def the_arms_are_in_policy_only_in_executing(self) -> None:
        """Where the driver does as it is asked; where it does not, it is being asked."""
        harness = self.harness
        if harness.arm.mode is ArmMode.POLICY and harness.state != "EXECUTING" and harness.status is None:
            asked = [fields["mode"] for fields in harness.called("arm_driver/set_mode")][-1:]
            assert asked != [ArmMode.POLICY] or harness.called("arm_driver/emergency_stop")

    @invariant()
    def no_recording_is_open_where_none_belongs(self) -> None:
        context = self.harness.engine.context
        if context.episode.is_open and not context.doing:
            assert context.table.state in RECORDING or "recorder" in self.harness.absent, context.table.state

    @invariant()
    def every_state_has_a_way_out(self) -> None:
        engine = self.harness.engine
        if self.harness.status is None and not engine.context.doing and engine.context.table.state is not State.SAVING:
            rows = [row for row in engine.context.table.rows() if row.key]
            assert rows, engine.context.table.state

    @invariant()
    def a_prompt_that_moves_the_arms_says_so(self) -> None:
        view = self.harness.engine.view()
        if self.harness.status is None and not self.harness.engine.context.interrupted and view.countdown_s == 0:
            moving = {"STARTING": "take the arms and move", "READY": "moves the arms", "DAMPING": "the arms move"}
            if view.prompt.startswith("Waiting for") or view.prompt.endswith("; 'q' is an emergency stop"):
                assert view.keys == ("q",)  # something is under way: nothing is asked
                return
            if view.state in moving and not self.harness.engine.context.cancellable:
                assert moving[view.state] in view.prompt
            fault = self.harness.engine.observed.fault
            if view.state in moving and fault and not self.harness.engine.context.cancellable:
                assert in_words(fault) in view.prompt

    def teardown(self) -> None:
        """Everybody is there again. By keys or by a signal the session ends; every episode that was begun has ended."""
        harness = self.harness
        harness.absent.clear()
        harness.handlers |= self.usual
        harness.step()
        if self.leaves_by_keys:
            for _ in range(6):
                harness.run(8.0, lambda: harness.status is not None)
                if harness.status is None:
                    harness.press("q" if harness.state != "STOPPED" else "y")
            harness.run(30.0, lambda: harness.status is not None)
            assert harness.status is not None, f"no way out of {harness.state}: {harness.said[-6:]}"
        elif harness.status is None:
            harness.engine.interrupt("SIGTERM", harness.now_ns)
            harness.run(20.0, lambda: harness.status is not None)
            assert harness.status == 130
        left = harness.open_episodes - {harness.engine.context.episode.id}
        # One whose end the recorder never heard of stays as a journal, which is the recorder's to finish.
        assert all(episode == harness.recorder.episode_id for episode in left)

    def _licence(self, key: str) -> None:
        """From now on motion is licensed if the key's row says so; a stop ends it."""
        rows = {row.key: row for row in self.harness.engine.available()}
        if key in rows and rows[key].motion:
            self.harness.licence = True
        elif self.harness.state not in ("EXECUTING", "STARTING"):
            self.harness.licence = False


SessionRules.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestSessionRules = SessionRules.TestCase
