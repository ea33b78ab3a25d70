# SPDX-License-Identifier: Apache-2.0
"""The priority that the graph gives a process: taken where allowed, and said either way."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest

from h1_training_msgs.msg import Event
from h1_training_node.base_node import BaseNode
from h1_training_node.process import (
    PRIORITY_VARIABLE,
    REALTIME,
    REALTIME_IF_ALLOWED,
    Priority,
    leave_realtime,
    take_priority,
)
from h1_training_testing import Graph


def refuse(*_: Any) -> None:
    raise PermissionError


@pytest.mark.parametrize("wanted", [REALTIME, REALTIME_IF_ALLOWED])
def test_realtime_that_is_not_allowed_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setenv(PRIORITY_VARIABLE, wanted)
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "setpriority", refuse)
    priority = take_priority()
    assert priority == Priority(wanted, f"niceness {os.nice(0)}")


def test_realtime_that_is_allowed_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    monkeypatch.setenv(PRIORITY_VARIABLE, REALTIME)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *arguments: taken.append(arguments))
    assert take_priority().is_realtime
    assert [arguments[1] for arguments in taken] == [os.SCHED_RR]


def test_a_niceness_is_taken() -> None:
    code = "from h1_training_node.process import take_priority; print(take_priority())"
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {PRIORITY_VARIABLE: "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"granted='niceness {min(os.nice(0) + 3, 19)}'" in result.stdout


def test_a_thread_that_does_slow_work_leaves_realtime_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    schedulers, niceness = {"main": os.SCHED_RR, "slow": os.SCHED_RR}, {}
    name = threading.current_thread
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: schedulers.get(name().name, os.SCHED_OTHER))
    monkeypatch.setattr(os, "sched_setscheduler", lambda _, policy, __: schedulers.update({name().name: policy}))
    monkeypatch.setattr(os, "setpriority", lambda _, __, value: niceness.update({name().name: value}))
    slow, other = (threading.Thread(target=leave_realtime, name=each) for each in ("slow", "ordinary already"))
    for thread in (slow, other):
        thread.start()
        thread.join()
    assert schedulers == {"main": os.SCHED_RR, "slow": os.SCHED_OTHER}
    assert niceness == {"slow": -10}


def test_a_thread_that_may_not_have_a_high_priority_leaves_realtime_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: os.SCHED_RR)
    monkeypatch.setattr(os, "sched_setscheduler", lambda _, policy, __: taken.append(policy))
    monkeypatch.setattr(os, "setpriority", refuse)
    leave_realtime()
    assert taken == [os.SCHED_OTHER]


def reported(graph: Graph, priority: Priority) -> list[tuple[int, str, str]]:
    """What a node reports of it, as events."""
    node = graph.add(BaseNode("probe"))
    events: list[tuple[int, str, str]] = []
    node.event = lambda *event: events.append(event)  # type: ignore[method-assign,assignment]
    node.report_priority(priority)
    return events


def test_a_robot_without_realtime_is_worth_a_warning_that_says_what_to_do(graph: Graph) -> None:
    ((level, reason, detail),) = reported(graph, Priority(REALTIME, "niceness 0"))
    assert (level, reason) == (Event.WARN, "no_realtime")
    assert "niceness 0" in detail and "rtprio" in detail and "/etc/security/limits.d" in detail


@pytest.mark.parametrize(
    "priority",
    [
        Priority(REALTIME_IF_ALLOWED, "niceness 0"),
        Priority(REALTIME, "realtime (SCHED_RR 1)", is_realtime=True),
        Priority("5", "niceness 5"),
    ],
)
def test_anything_else_is_not(graph: Graph, priority: Priority) -> None:
    assert reported(graph, priority) == []
