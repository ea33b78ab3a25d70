# SPDX-License-Identifier: Apache-2.0
"""The hazard table of docs/arms.md has every reason that the code can give, and names tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import h1_training_bringup.arm_driver as package
from h1_session_manager.arm_reasons import MEANINGS
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
    "_report_first",
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


def reasons(tree: ast.AST) -> Iterator[str]:
    """Snake-case strings that are given as a reason: to a call, as a key, as a constant, before a colon."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in GIVERS:
            yield from (argument.value for argument in node.args if isinstance(argument, ast.Constant))
        elif isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "present":
            yield from [node.slice.value] if isinstance(node.slice, ast.Constant) else []
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
            yield from [node.value.value] if isinstance(node.value, ast.Constant) else []
        elif isinstance(node, (ast.Constant, ast.JoinedStr)):
            first = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else node
            if (
                isinstance(first, ast.Constant)
                and isinstance(first.value, str)
                and re.match(rf"{NAME.pattern}: ", first.value)
            ):
                yield first.value.partition(":")[0]


def given() -> set[str]:
    found = set()
    for path in SOURCES:
        found |= {
            reason
            for reason in reasons(ast.parse(path.read_text()))
            if isinstance(reason, str) and NAME.fullmatch(reason)
        }
    return found - NO_HAZARD


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
