# SPDX-License-Identifier: Apache-2.0
"""The cores' numbers are the messages' own."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import pytest

from h1_training_msgs.msg import ArmStatus, Event, PolicyStatus, RecorderStatus, SyncProgress
from h1_training_node.message_numbers import ArmMode, Connection, Level, RecorderState, SyncState, Verdict


def constants(message: Any) -> set[str]:
    """Names of the message's constants: numbers in capitals."""
    return {name for name in dir(message) if name.isupper() and isinstance(getattr(message, name), int)}


@pytest.mark.parametrize(
    ("message", "prefix", "enums"),
    [
        (ArmStatus, "MODE_", [ArmMode]),
        (Event, "", [Level]),
        (PolicyStatus, "", [Connection]),
        (RecorderStatus, "", [RecorderState, Verdict]),
        (SyncProgress, "", [SyncState]),
    ],
)
def test_each_constant_of_a_message_has_its_number_here(message: Any, prefix: str, enums: list[type[IntEnum]]) -> None:
    ours = {prefix + member.name: int(member) for enum in enums for member in enum}
    assert ours == {name: getattr(message, name) for name in constants(message)}
