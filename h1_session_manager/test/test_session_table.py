# SPDX-License-Identifier: Apache-2.0
from collections import deque

import pytest
from transitions import MachineError

from h1_session_manager.diagram import mermaid
from h1_session_manager.states import ROWS, SERVICES, STATES
from h1_session_manager.table import EMERGENCY, State, Table, When


@pytest.fixture
def table() -> Table:
    return Table(ROWS, lambda: False)


def test_every_state_has_its_module():
    assert [state.name for state in STATES] == list(State)


def test_every_state_can_be_reached_and_none_is_a_dead_end():
    reached, queue = {State.STARTING}, deque([State.STARTING])
    while queue:
        state = queue.popleft()
        for row in ROWS:
            if row.source is state and row.dest is not None and row.dest not in reached:
                reached.add(row.dest)
                queue.append(row.dest)
    assert reached == set(State)
    for state in State:
        assert any(row.source is state and row.dest is not state for row in ROWS), state


def test_a_key_means_one_thing_in_a_state():
    for state in State:
        for owed in (False, True):
            table = Table(ROWS, lambda owed=owed: owed)
            table.state = state
            keys = [row.key for row in table.rows() if row.key]
            assert len(keys) == len(set(keys)), (state, keys)


def test_the_arms_start_to_move_by_themselves_on_three_keys_and_at_the_release_only():
    motion = {(row.source, row.key) for row in ROWS if row.motion}
    assert motion == {
        (State.STARTING, "y"),
        (State.READY, "y"),
        (State.DAMPING, "r"),
        (State.STOPPED, "y"),
    }


def test_every_state_but_stopped_leads_to_stopped_by_an_emergency():
    assert {row.source for row in ROWS if row.trigger == EMERGENCY} == set(State) - {State.STOPPED}
    assert all(row.dest is State.STOPPED for row in ROWS if row.trigger == EMERGENCY)


def test_skip_leads_to_the_upload_only_if_one_is_owed():
    for owed, dest in ((False, State.WAITING), (True, State.SYNCING)):
        table = Table(ROWS, lambda owed=owed: owed)
        table.state = State.READY
        assert table.fire("skip") is dest


def test_a_trigger_that_the_state_does_not_know_is_an_error(table):
    with pytest.raises(MachineError):
        table.fire("saved")


def test_every_key_has_a_service():
    assert {row.trigger for row in ROWS if row.key} <= set(SERVICES)


def test_the_diagram_shows_every_row_and_every_state():
    text = mermaid()
    for row in ROWS:
        if row.trigger != EMERGENCY:
            arrow = f"{row.source.value} --> {row.dest.value if row.dest else '[*]'}"
            line = next(line for line in text.splitlines() if line.strip().startswith(arrow))
            assert row.trigger in line
            assert row.key in line
            assert row.when is When.ALWAYS or row.when.value in line
    for state in STATES:
        assert f"{state.name.value} : {state.name.value} ({state.arms})" in text
