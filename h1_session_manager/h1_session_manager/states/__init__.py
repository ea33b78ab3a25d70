# SPDX-License-Identifier: Apache-2.0
"""The session's states, a module each; the table is the union of their rows."""

from __future__ import annotations

from dataclasses import replace

from h1_session_manager.states.base import BaseState, emergency_row
from h1_session_manager.states.damping import Damping
from h1_session_manager.states.deciding import Deciding
from h1_session_manager.states.executing import Executing
from h1_session_manager.states.labeling import Labeling
from h1_session_manager.states.ready import Ready
from h1_session_manager.states.saving import Saving
from h1_session_manager.states.starting import Starting
from h1_session_manager.states.stopped import Stopped
from h1_session_manager.states.syncing import Syncing
from h1_session_manager.states.waiting import Waiting
from h1_session_manager.table import CANCEL, Row

STATES: tuple[type[BaseState], ...] = (
    *(Starting, Waiting, Ready, Executing, Labeling, Damping, Saving, Deciding, Syncing, Stopped),
)

ROWS: tuple[Row, ...] = (
    *(replace(row, source=state.name) for state in STATES for row in state.rows),
    *(replace(emergency_row(state), source=state.name) for state in STATES if state is not Stopped),
)

KEYS: tuple[str, ...] = tuple(dict.fromkeys(row.key for row in ROWS if row.key))
"""Every key that means something somewhere."""

SERVICES: tuple[str, ...] = (*dict.fromkeys(row.trigger for row in ROWS if row.key), CANCEL)
"""Every name that a person may call as `session_manager/<name>`."""
