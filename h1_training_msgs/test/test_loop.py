# SPDX-License-Identifier: Apache-2.0
"""Work at absolute deadlines, and how it gets along with messages."""

from __future__ import annotations

import threading
import time

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


def test_work_that_is_always_due_lets_messages_through(graph):
    node = graph.add(BaseNode("slow"))
    received = []
    node.create_subscription(String, "words", lambda message: received.append(message.data), qos.STATE)
    publisher = node.create_publisher(String, "words", qos.STATE)
    node.every(1e-9, lambda: publisher.publish(String(data="word")))
    graph.spin_until(lambda: len(received) >= 5, "messages are received")


def test_a_timer_of_rclpys_form_runs_in_the_nodes_loop(graph):
    node = graph.add(BaseNode("timed"))
    times = []
    timer = node.create_timer(0.01, lambda: times.append(time.monotonic()))
    began = time.monotonic()
    graph.spin_until(lambda: len(times) == 5, "five calls")
    assert times[-1] >= began + 0.05 - 0.001
    assert timer in node.loops
    assert list(node.timers) == []


def test_a_timer_is_cancelled_reset_and_destroyed_as_in_rclpy(graph):
    node = graph.add(BaseNode("timed"))
    calls, others = [], []
    timer = node.create_timer(0.005, lambda: calls.append(1), autostart=False)
    node.every(0.005, lambda: others.append(1))
    assert timer.is_canceled()
    assert timer.time_until_next_call() is None
    graph.spin_until(lambda: len(others) >= 5, "the other loop runs")
    assert calls == []
    timer.reset()
    assert 0 < timer.time_until_next_call() <= 5_000_000
    graph.spin_until(lambda: calls, "a call after the reset")
    assert node.destroy_timer(timer)
    assert not node.destroy_timer(timer)
    count = len(calls)
    graph.spin_until(lambda: len(others) >= 15, "the other loop runs on")
    assert len(calls) == count


def test_a_period_that_is_changed_is_kept_from_then_on(graph):
    node = graph.add(BaseNode("timed"))
    timer = node.create_timer(60.0, lambda: None)
    timer.timer_period_ns = 2_000_000
    timer.reset()
    assert timer.timer_period_ns == 2_000_000
    assert timer.time_until_next_call() <= 2_000_000


def test_rclpys_own_rate_works_on_a_node_of_the_session(graph):
    node = graph.add(BaseNode("rated"))
    rate = node.create_rate(100.0)
    slept = []
    sleeper = threading.Thread(target=lambda: slept.extend(rate.sleep() or time.monotonic() for _ in range(3)))
    sleeper.start()
    graph.spin_until(lambda: len(slept) == 3, "three sleeps")
    sleeper.join()


def test_a_timer_that_destroys_itself_keeps_no_other_from_running(graph):
    node = graph.add(BaseNode("timed"))
    calls = []
    first = node.create_timer(0.001, lambda: node.destroy_timer(first))
    node.create_timer(0.001, lambda: calls.append(1))
    graph.spin_until(lambda: len(calls) >= 3, "the second runs")
    assert first not in node.loops


def test_a_node_takes_in_all_that_comes_and_keeps_its_periods(graph):
    node, received, runs = graph.add(BaseNode("taking_in")), [], []
    node.create_subscription(String, "words", lambda message: received.append(message.data), qos.STATE)
    publisher = node.create_publisher(String, "words", qos.STATE)
    graph.spin_until(lambda: publisher.get_subscription_count() == 1, "it is heard")
    node.every(0.02, lambda: runs.append(time.monotonic()))
    for _ in range(20):
        publisher.publish(String(data="word"))
    deadline = time.monotonic() + 15.0
    while (len(received) < 20 or len(runs) < 5) and time.monotonic() < deadline:
        graph._spinner.spin_once(10.0)
    assert len(received) == 20 and len(runs) >= 5


def test_a_callback_that_starts_a_loop_or_ends_the_node_is_not_waited_past(graph):
    node, runs = graph.add(BaseNode("taking_in")), []
    publisher = node.create_publisher(String, "words", qos.STATE)
    loop = node.every(0.01, lambda: runs.append(1))
    loop.cancel()

    def start(_message: String) -> None:
        loop.restart()

    node.create_subscription(String, "words", start, qos.STATE)
    graph.spin_until(lambda: publisher.get_subscription_count() == 1, "it is heard")
    publisher.publish(String(data="word"))
    began = time.monotonic()
    while not runs and time.monotonic() < began + 30.0:
        graph._spinner.spin_once(30.0)
    assert runs and time.monotonic() - began < 15.0
    threading.Timer(0.2, lambda: graph._spinner._executor.create_task(lambda: node.end(0))).start()
    loop.cancel()
    graph._spinner.spin_once(30.0)
    assert node.exit_status == 0 and time.monotonic() - began < 25.0


def test_messages_that_never_end_do_not_hold_up_what_is_due(graph):
    node, runs = graph.add(BaseNode("flooded")), []
    publisher = node.create_publisher(String, "words", qos.STATE)

    def again(_message: String) -> None:
        publisher.publish(String(data="word"))

    node.create_subscription(String, "words", again, qos.STATE)
    graph.spin_until(lambda: publisher.get_subscription_count() == 1, "it is heard")
    for _ in range(20):
        publisher.publish(String(data="word"))
    node.every(0.02, lambda: runs.append(1))
    began = time.monotonic()
    while len(runs) < 3 and time.monotonic() < began + 30.0:
        graph._spinner.spin_once(0.1)
    assert len(runs) == 3 and time.monotonic() - began < 15.0
