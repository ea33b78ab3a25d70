# SPDX-License-Identifier: Apache-2.0
"""The hazard table of docs/arms.md has every reason that the code can give, and names tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import h1_training_bringup.arm_driver as package
from h1_session_manager.words import MEANINGS
from h1_training_node import base_node

PAGE = Path(__file__).parent.parent / "docs" / "arms.md"
SOURCES = [
    Path(base_node.__file__),
    *(
        path
        for path in Path(package.__file__).parent.glob("*.py")
        if not path.stem.endswith(("jog_node", "weigh_node"))
    ),
]
GIVERS = {
    "Notice",
    "_notice",
    "event",
    "latch",
    "latch_cause",
    "_enter",
    "_to_damping",
    "_stop_commanding",
    "_become_released",
    "_drop",
}
"""Calls that make a reason known; it is one of their arguments."""
NO_HAZARD = {
    "requested",
    "not_acquired",
    "home_reached",
    "use_release",
    "unknown_mode",
    "mode_changed",
    "acknowledge_needed",
    "not_from_here",
    "not_taken_over",
}
"""What is not asked for properly, or is well."""
FORCED = re.compile("DAMPING|HOLD|silent for good|as `robot_lost`")
SAID_OTHERWISE = {
    "emergency_stop",  # the session says who stopped
    "home_reached",  # as asked for
    *("motor_warm", "motor_hot", "overheated_critical"),  # steps that are reported by their event
}
NAME = re.compile(r"[a-z]+(_[a-z0-9]+)+")
WORD = re.compile(r"[a-z]+(_[a-z0-9]+)*")
NAMES_ONLY = {"collision_model", "command", "joints", "parameters", "wire"}
"""Modules whose strings name joints, links, parameters and fields, and give no reason."""
NO_REASON = {
    *("arm_driver", "arm_guard", "arm_sdk", "arm_status", "collision_shapes", "joint_states"),
    *("motor_cmd", "torso_joint"),
    *("start_type_description_service", "use_sim_time"),
}
"""Nodes, topics, a field, a joint and parameters of rclpy's, in the other modules."""


def reasons(tree: ast.AST) -> Iterator[str]:
    """Words given to a call as a reason, or as a constant; whatever is in snake case, alone or before a colon."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in GIVERS:
            yield from words(node.args)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
            yield from words([node.value])
        elif isinstance(node, ast.Constant) and re.match(rf"{NAME.pattern}(: |$)", str(node.value)):
            yield str(node.value).partition(":")[0]


def words(nodes: list[ast.expr]) -> Iterator[str]:
    """Those of `nodes` that are one word each."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and WORD.fullmatch(node.value):
            yield node.value


def given() -> set[str]:
    sources = [path for path in SOURCES if path.stem not in NAMES_ONLY]
    found = {reason for path in sources for reason in reasons(ast.parse(path.read_text()))}
    return found - NO_HAZARD - NO_REASON


def rows() -> list[list[str]]:
    table = PAGE.read_text().split("## Hazards")[1].split("**What silence")[0]
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if line.startswith("| ")
    ][1:]


def test_the_code_gives_the_reasons_that_this_test_knows_how_to_find() -> None:
    assert {
        "robot_lost",
        "robot_frozen",
        "motor_fault",
        "joint_out_of_range",
        "collision_ahead",
        "action_late",
        "no_guard",
        "blocked",
        "home_no_way",
        "motor_warm",
        "overheated",
        "no_good_state",
    } <= given()


def test_no_reason_of_the_code_is_missing_in_the_table() -> None:
    listed = {name for row in rows() for name in re.findall(r"`([a-z_0-9]+)`", row[1])}
    assert sorted(given() - listed) == []


def test_every_reason_of_the_table_is_one_of_the_code() -> None:
    code = "".join(
        path.read_text()
        for path in [
            *SOURCES,
            *Path(package.__file__).parent.parent.parent.parent.glob("h1_training_msgs/h1_training_node/base_node.py"),
        ]
    )
    listed = {name for row in rows() for name in re.findall(r"`([a-z_0-9]+)`", row[1])}
    assert [name for name in sorted(listed) if f'"{name}' not in code and f"{name}:" not in code] == []


def test_what_brings_the_arms_into_a_mode_that_nobody_asked_for_has_words_for_the_operator() -> None:
    forced = {name for row in rows() if FORCED.search(row[4]) for name in re.findall(r"`([a-z_0-9]+)`", row[1])}
    assert {"robot_frozen", "motor_fault", "joint_out_of_range", "collision_ahead", "no_guard"} <= forced
    assert sorted(forced - set(MEANINGS) - SAID_OTHERWISE) == []


def test_every_test_that_the_table_names_exists() -> None:
    known = {
        name
        for path in Path(__file__).parent.glob("test_arm_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = [name for row in rows() for name in re.findall(r"`(test_[a-z_0-9]+)`", row[-1])]
    assert len(named) > 20 and [name for name in named if name not in known] == []
