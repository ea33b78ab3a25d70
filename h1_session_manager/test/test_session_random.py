# SPDX-License-Identifier: Apache-2.0
"""The same random sessions lead to the same calls, states and keys as when they were recorded."""

import json

import pytest
from random_sessions import DIGESTS, RandomSession, digests

from h1_session_manager.table import State


@pytest.mark.long
def test_random_sessions_go_as_they_were_recorded():
    recorded = json.loads(DIGESTS.read_text())
    changed = {seed for seed, digest in digests().items() if recorded[seed] != digest}
    assert not changed, "if that is meant, record again: python random_sessions.py"


def test_random_sessions_come_to_every_state():
    seen = set()
    for seed in range(12):
        session = RandomSession(seed)
        session.play()
        seen |= {entry for entry in session.trace if isinstance(entry, str)}
    assert {f"session_{state.lower()}" for state in State if state is not State.STARTING} <= seen
