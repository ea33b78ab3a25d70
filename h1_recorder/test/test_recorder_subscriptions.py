# SPDX-License-Identifier: Apache-2.0
"""How messages come in: in the order and at the times at which they came off the wire, whoever has them taken."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

import pytest
from recorder_bench import Bench, bench_maker
from recorder_builders import POLICY
from std_msgs.msg import String

from h1_recorder.recorder.intake import Intake
from h1_recorder.recorder.journal import Arrival
from h1_recorder.recorder.mcap_file import McapFile
from h1_recorder.recorder.streams import Stream
from h1_recorder.recorder.subscriptions_node import RawSubscriptions
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.cameras import Dating
from h1_training_testing import Graph, wait_until

bench = pytest.fixture(bench_maker)
STRING = "std_msgs/msg/String"


class Received(Intake):
    """Keeps what it receives."""

    def __init__(self, node: BaseNode) -> None:
        super().__init__(50, 30.0, node.now_ns)
        self.messages: list[Arrival] = []

    def received(self, arrived: list[Arrival]) -> None:
        self.messages += arrived


def subscriptions(graph: Graph) -> tuple[BaseNode, Received, RawSubscriptions]:
    node = graph.add(BaseNode("receiving"))
    intake = Received(node)
    return node, intake, RawSubscriptions(node, intake, lambda *_: None)


def test_messages_of_all_streams_are_taken_in_the_order_in_which_they_came(graph: Graph) -> None:
    node, intake, raw = subscriptions(graph)
    publishers = [node.create_publisher(String, name, qos.STATE) for name in ("one", "two")]
    for name in ("one", "two"):
        raw.add(Stream(name, name, STRING, Dating.RECEPTION))
    graph.spin_until(lambda: all(publisher.get_subscription_count() for publisher in publishers), "both are matched")
    sent_ns = []
    for number in range(20):
        sent_ns.append(node.now_ns())
        publishers[number % 2].publish(String(data=str(number)))
        time.sleep(0.002)
    graph.spin_until(lambda: raw.take() or len(intake.messages) == 20, "all came")
    assert [bytes(data)[8:].rstrip(b"\0").decode() for _, _, data in intake.messages] == list(map(str, range(20)))
    dates_ns = [log_ns for log_ns, _, _ in intake.messages]
    assert all(log_ns >= at_ns for log_ns, at_ns in zip(dates_ns, sent_ns, strict=True)), (
        "none is dated before it was sent"
    )
    assert dates_ns[0] < sent_ns[-1], "dated by when it came, not by when it was taken"
    raw.close()
    raw.take()


def test_a_wrong_date_of_the_middleware_is_bounded_by_the_looks_before_and_after(graph: Graph) -> None:
    node, intake, raw = subscriptions(graph)
    before_ns = node.now_ns()
    raw.take()
    first_ns = node.now_ns()
    dates = deque([1, time.time_ns() + 10**12, 0])

    def take(_message_class: Any, _raw: bool) -> tuple[bytes, dict[str, int]] | None:
        return (b"", {"received_timestamp": dates.popleft()}) if dates else None

    raw._takers = [("one", take, String, 10)]
    raw.take()
    early, late, unknown = sorted(log_ns for log_ns, _, _ in intake.messages)
    assert before_ns <= early <= first_ns <= late == unknown <= node.now_ns()
    raw.close()


def test_while_the_disk_holds_the_journal_up_messages_are_taken_all_the_same(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled, go_on = threading.Event(), threading.Event()
    write = McapFile.add_messages

    def stalling(file: McapFile, messages: Any) -> None:
        stalled.set()
        assert go_on.wait(10)
        write(file, messages)

    one: Bench = bench()
    one.hear()
    one.recorder.intake.take = lambda: one.hear(POLICY, "EXECUTING")
    monkeypatch.setattr(McapFile, "add_messages", stalling)
    assert one.start().accepted
    journal = one.recorder.intake.journal
    assert journal is not None and stalled.wait(10)
    waiting = journal.bytes_waiting
    one.recorder.tick()
    assert journal.bytes_waiting > waiting
    go_on.set()
    one.recorder.intake.take = journal._take = lambda: None
    wait_until(lambda: not journal.bytes_waiting, "all is written")


def test_what_came_before_an_episode_is_finished_is_in_it(bench: Any) -> None:
    one: Bench = bench()
    answer = one.record()
    rows = one.recorder.status().human_frames
    one.now_ns += 20_000_000
    one.recorder.intake.take = lambda: one.hear(4, "DAMPING")
    one.recorder.finish(answer.episode_id, "operator", "success")
    assert one.recorder.status().human_frames == rows + 1
