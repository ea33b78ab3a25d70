"""Work at absolute deadlines, and how it gets along with messages."""

from __future__ import annotations

import time

import pytest
from std_msgs.msg import String

from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.loop import Loop


def test_a_run_that_is_late_moves_none_of_those_after_it():
    runs = []
    loop = Loop(0.004, lambda: runs.append(loop.due_s))
    first = loop.due_s
    loop.run(first + 0.0015)
    loop.run(first + 0.0041)
    assert [round((due - first) / 0.004, 6) for due in runs] == [1.0, 2.0]


def test_times_that_have_passed_are_left_out():
    runs = []
    loop = Loop(0.01, lambda: runs.append(1))
    first = loop.due_s
    loop.run(first + 0.0351)
    assert len(runs) == 1
    assert round((loop.due_s - first) / 0.01, 6) == 4.0


def test_cancelled_it_is_never_due_until_it_is_restarted():
    loop = Loop(0.5, lambda: None)
    loop.cancel()
    assert loop.due_s > time.monotonic() + 1e9
    before = time.monotonic()
    loop.restart()
    assert 0.5 <= loop.due_s - before < 0.6


def test_a_node_is_called_at_its_periods(graph):
    node = graph.add(BaseNode("often"))
    times = []
    node.every(0.01, lambda: times.append(time.monotonic()))
    began = time.monotonic()
    graph.spin_until(lambda: len(times) == 20, "20 runs")
    assert times[0] >= began
    # On the grid, or later on a busy machine; never earlier.
    assert all(when >= began + 0.01 * (index + 1) - 0.001 for index, when in enumerate(times))


def test_loops_of_several_nodes_and_what_they_start_themselves_all_run(graph):
    one, other = graph.add(BaseNode("one")), graph.add(BaseNode("other"))
    runs = []
    one.every(0.005, lambda: runs.append("one"))

    def start_another() -> None:
        starter.cancel()
        runs.append("starter")
        other.every(0.005, lambda: runs.append("another"))

    starter = other.every(0.01, start_another)
    graph.spin_until(lambda: runs.count("another") >= 3 and runs.count("one") >= 5, "all run")
    assert runs.count("starter") == 1


def test_work_that_is_always_due_leaves_room_for_messages(graph):
    node = graph.add(BaseNode("slow"))
    heard = []
    node.create_subscription(String, "words", lambda message: heard.append(message.data), qos.STATE)
    publisher = node.create_publisher(String, "words", qos.STATE)
    node.every(1e-9, lambda: publisher.publish(String(data="word")))
    graph.spin_until(lambda: len(heard) >= 5, "messages are heard")


def test_there_is_no_second_way(graph):
    with pytest.raises(TypeError, match="use every"):
        graph.add(BaseNode("old")).create_timer(0.1, lambda: None)
