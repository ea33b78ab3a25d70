# SPDX-License-Identifier: Apache-2.0
"""Commands are followed only in EXECUTING, and only while the session's seq advances."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from h1_inspire_driver.grip import SessionGate

MS = 1_000_000


def a_gate_in(state: str) -> SessionGate:
    gate = SessionGate(500 * MS)
    gate.heard(1, state, 0)
    gate.heard(2, state, 100 * MS)
    return gate


def test_nothing_heard_closes_it() -> None:
    assert SessionGate(500 * MS).why_closed(0) == "no session/state yet"


def test_one_message_alone_does_not_open_it() -> None:
    gate = SessionGate(500 * MS)
    gate.heard(7, "EXECUTING", 0)
    assert gate.why_closed(1) == "session heartbeat lost"


def test_executing_with_an_advancing_seq_opens_it() -> None:
    assert a_gate_in("EXECUTING").why_closed(200 * MS) == ""


def test_any_other_state_closes_it_by_name() -> None:
    assert a_gate_in("DAMPING").why_closed(200 * MS) == "session is DAMPING"


def test_it_closes_by_itself_500_ms_after_the_last_heartbeat() -> None:
    gate = a_gate_in("EXECUTING")
    assert gate.why_closed(600 * MS) == ""
    assert gate.why_closed(601 * MS) == "session heartbeat lost"


def test_the_same_message_again_is_no_heartbeat() -> None:
    gate = a_gate_in("EXECUTING")
    gate.heard(2, "EXECUTING", 590 * MS)
    assert gate.why_closed(650 * MS) == "session heartbeat lost"


def test_an_older_message_does_not_bring_its_state_back() -> None:
    gate = a_gate_in("EXECUTING")
    gate.heard(3, "DAMPING", 150 * MS)
    gate.heard(2, "EXECUTING", 160 * MS)
    assert gate.why_closed(170 * MS) == "session is DAMPING"


def test_a_session_manager_that_was_restarted_counts_once_it_advances() -> None:
    gate = a_gate_in("EXECUTING")
    gate.heard(0, "EXECUTING", 900 * MS)
    assert gate.why_closed(901 * MS) == "session heartbeat lost"
    gate.heard(1, "EXECUTING", 1000 * MS)
    assert gate.why_closed(1001 * MS) == ""


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["EXECUTING", "DAMPING"]), st.integers(0, 300)), max_size=30)
)
def test_it_is_never_open_500_ms_after_seq_last_rose(messages: list[tuple[int, str, int]]) -> None:
    gate, now, top, rose = SessionGate(500 * MS), 0, None, None
    for seq, state, pause in messages:
        now += pause * MS
        gate.heard(seq, state, now)
        if top is not None and seq > top:
            rose = now
        top = seq
        if not gate.why_closed(now):
            assert rose is not None
            assert now - rose <= 500 * MS


def test_a_second_commander_closes_it_by_name_until_it_is_gone() -> None:
    gate = a_gate_in("EXECUTING")
    gate.foreign = "2 publishers on /hands/left/command"
    assert gate.why_closed(200 * MS) == "foreign_commander: 2 publishers on /hands/left/command"
    gate.foreign = ""
    assert gate.why_closed(200 * MS) == ""
