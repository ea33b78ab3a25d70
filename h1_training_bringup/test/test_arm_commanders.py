# SPDX-License-Identifier: Apache-2.0
"""Who else commands the arms: by the graph's writers, and by commands that nobody here has sent."""

from __future__ import annotations

import numpy as np
import pytest
from arm_builders import MODES, Rig, taken_in

from h1_training_bringup.arm_driver.command import NamedWriters, SentCommands, Writer, others
from h1_training_node.message_numbers import ArmMode

OURS = [Writer("arm_driver", "01aa"), Writer("arm_guard", "01bb")]
EXPECTED = ("arm_driver", "arm_guard")


def test_driver_and_guard_are_expected_once_each() -> None:
    assert others(OURS, EXPECTED, ()) == []
    assert others([*OURS, Writer("arm_driver", "01cc")], EXPECTED, ()) == ["arm_driver (GID 01cc)"]


@pytest.mark.parametrize("allowed", ["robot_side", "0110ff", "0110FF"])
def test_a_writer_of_the_robots_own_may_be_allowed_by_name_or_gid(allowed: str) -> None:
    writers = [*OURS, Writer("robot_side", "0110ff33")]
    assert others(writers, EXPECTED, ()) == ["robot_side (GID 0110ff33)"]
    assert others(writers, EXPECTED, (allowed,)) == []
    assert others([*writers, Writer("teleop", "0200")], EXPECTED, (allowed,)) == ["teleop (GID 0200)"]


def test_an_empty_entry_allows_nobody() -> None:
    assert others([*OURS, Writer("teleop", "0200")], EXPECTED, ("",)) == ["teleop (GID 0200)"]


def test_a_writer_whose_name_has_not_come_yet_is_nobodys_until_it_has_been_so_twice() -> None:
    unnamed = Writer("_NODE_NAME_UNKNOWN_", "010f")
    named = NamedWriters()
    assert named.of([OURS[0], unnamed]) == [OURS[0]], "the graph learns of a writer before it learns of its node"
    assert named.of(OURS) == OURS
    assert named.of([*OURS, unnamed]) == OURS
    assert named.of([*OURS, unnamed]) == [*OURS, unnamed], "a writer that is no ROS node never gets a name"
    assert others(named.of([*OURS, unnamed]), EXPECTED, ()) == ["_NODE_NAME_UNKNOWN_ (GID 010f)"]


def test_a_command_of_ones_own_that_comes_back_is_no_foreign_one() -> None:
    sent = SentCommands()
    samples = [bytes([n % 256, n // 256]) for n in range(1000)]
    for sample in samples:
        sent.add(sample)
    assert sent.count_foreign(samples[-200:]) == 0
    assert sent.count_foreign([*samples[-3:], b"foreign", b"other"]) == 2


def test_the_same_command_sent_for_seconds_stays_known() -> None:
    sent = SentCommands()
    for _ in range(1000):
        sent.add(b"held")
        assert sent.count_foreign([b"held"]) == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_foreign_command_damps_the_arms_in_the_next_period(mode: ArmMode) -> None:
    rig = taken_in(mode)
    rig.controller.see_foreign_command(rig.now_ns, "3 commands are not this driver's")
    rig.tick()
    assert rig.mode is ArmMode.DAMPING and rig.controller.faults.first == "foreign_commander"
    assert not rig.sent[-1][1].kp.any() and rig.notices.count("foreign_commander") == 1
    assert rig.ask(ArmMode.HOLD).startswith("acknowledge_needed: foreign_commander")


def test_commands_of_others_are_no_matter_while_the_arms_are_not_ours() -> None:
    rig = Rig()
    rig.run(0.6)
    rig.controller.see_foreign_command(rig.now_ns, "3 commands are not this driver's")
    assert rig.ask(ArmMode.HOLD) == ""


def test_a_second_publisher_of_actions_ends_a_policy_in_damping_and_lets_none_begin() -> None:
    rig = taken_in(ArmMode.POLICY)
    rig.controller.conditions.foreign_actions = "2 publishers on /policy/action, where there may be one"
    rig.tick()
    assert rig.mode is ArmMode.DAMPING and rig.controller.faults.first == "foreign_commander"
    rig.tick()
    assert rig.controller.acknowledge().accepted, "for compliant arms it does not matter who puts out actions"
    assert rig.ask(ArmMode.HOLD) == ""
    rig.run(0.1)
    assert rig.ask(ArmMode.POLICY).startswith("foreign_commander: 2 publishers")
    assert rig.ask(ArmMode.HOME) == ""


def test_actions_of_another_execution_are_refused_whole_whatever_their_number() -> None:
    rig = taken_in(ArmMode.POLICY)
    rig.follow(lambda n: rig.q, 0.1)
    before, token = rig.sent[-1][1].q, rig.controller.execution
    for _ in range(5):
        rig.act(np.full(14, 0.3), seq=10**6, execution=token - 1)
        rig.act(rig.q)
        rig.run(0.02)
    assert rig.controller.gate.refused == 5 and rig.notices.count("action_of_another_execution") == 1
    np.testing.assert_allclose(rig.sent[-1][1].q, before, atol=0.02)
    assert rig.mode is ArmMode.POLICY, "the one whose token it is goes on"
