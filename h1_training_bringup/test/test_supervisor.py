# SPDX-License-Identifier: Apache-2.0
"""What the end of each process means for the session: one set of rules for the runner and for launch."""

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h1_training_bringup.session.process import Process
from h1_training_bringup.session.supervisor import MAX_RESPAWNS, Consequence, Supervisor, described
from h1_training_node.process import EXIT_EXPLAINED

MANAGER = Process("any", "session_manager", "session_manager", concludes=True)
OPERATOR = Process("any", "sim_operator", "sim_operator", may_finish=True)
RECORDER = Process("any", "recorder", "recorder")
CAMERA = Process("any", "camera", "camera", essential=False, respawn=True)
CONSOLE = Process("any", "console", "console", essential=False, fallback="keyboard")
WINDOW = Process("any", "rviz2", "rviz", essential=False)


@pytest.mark.parametrize(
    ("process", "code", "expected"),
    [
        (MANAGER, 0, Consequence(0)),
        (MANAGER, 130, Consequence(130)),
        (MANAGER, EXIT_EXPLAINED, Consequence(1)),
        (
            MANAGER,
            1,
            Consequence(
                1,
                "session_manager was lost (exit status 1); ending the session",
                "session_manager lost: exit status 1",
            ),
        ),
        (
            RECORDER,
            -9,
            Consequence(
                1, "recorder was lost (killed by SIGKILL); ending the session", "recorder lost: killed by SIGKILL"
            ),
        ),
        (
            RECORDER,
            0,
            Consequence(1, "recorder was lost (exit status 0); ending the session", "recorder lost: exit status 0"),
        ),
        (OPERATOR, 0, Consequence()),
        (
            OPERATOR,
            1,
            Consequence(
                1, "sim_operator was lost (exit status 1); ending the session", "sim_operator lost: exit status 1"
            ),
        ),
        (CONSOLE, -9, Consequence(line="console ended (killed by SIGKILL)", starts="keyboard")),
        (CAMERA, 0, Consequence(line="camera ended (exit status 0); started again", starts="camera")),
        (WINDOW, 0, Consequence()),
        (WINDOW, 1, Consequence(line="rviz ended (exit status 1); going on without it")),
    ],
)
def test_each_end_has_its_consequence(process: Process, code: int, expected: Consequence) -> None:
    assert Supervisor().ended(process, code) == expected


def test_one_that_dies_again_and_again_is_given_up_and_the_others_are_not() -> None:
    rules = Supervisor()
    for _ in range(MAX_RESPAWNS):
        assert rules.ended(CAMERA, 1).starts == "camera"
    assert rules.ended(CAMERA, 1) == Consequence(line="camera ended (exit status 1); going on without it")
    other = Process("any", "camera", "other", essential=False, respawn=True)
    assert rules.ended(other, 1).starts == "other"


@given(st.sampled_from([RECORDER, MANAGER, OPERATOR]), st.integers(-31, 255).filter(lambda code: code))
def test_a_session_never_goes_on_without_an_essential_process(process: Process, code: int) -> None:
    assert Supervisor().ended(process, code).status is not None


@given(st.lists(st.tuples(st.sampled_from([CAMERA, CONSOLE, WINDOW]), st.integers(-31, 255))))
def test_what_is_not_essential_never_ends_a_session(ends: list[tuple[Process, int]]) -> None:
    rules = Supervisor()
    assert all(rules.ended(process, code).status is None for process, code in ends)


def test_signal_names_are_what_the_operator_reads() -> None:
    assert described(-signal.SIGKILL) == "killed by SIGKILL"
    assert described(1) == "exit status 1"
