# SPDX-License-Identifier: Apache-2.0
"""The page's process on the graph: what others publish must not leave it running and blind."""

import math
import os
import subprocess
import sys

import pytest

from h1_session_manager.web import web_messages_node
from h1_session_manager.web.live import finite
from h1_training_msgs.msg import PolicyStatus, RecorderStatus, SessionState, SyncProgress
from h1_training_node import qos
from h1_training_node.base_node import BaseNode

WEB = [sys.executable, "-c", "from h1_session_manager.web.web_node import main; import sys; sys.exit(main())"]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_shown_as_not_known(number):
    recorder = web_messages_node.recorder(RecorderStatus(seconds_left=number, save_progress=number))
    assert finite(recorder)["seconds_left"] is None
    sync = web_messages_node.sync(SyncProgress(seconds_left=number, bytes_per_second=number))
    assert finite(sync)["bytes_per_second"] is None and finite(sync)["seconds_left"] is None
    assert finite(web_messages_node.policy(PolicyStatus(latency_ms=number)))["latency_ms"] is None


def test_whole_numbers_stay_whole():
    assert str(web_messages_node.recorder(RecorderStatus(seconds_left=59.7))["seconds_left"]) == "60"


def test_a_page_that_can_hear_nothing_any_more_ends_so_that_it_is_started_again(graph, tmp_path):
    stub = graph.add(BaseNode("stub"))
    state = stub.create_publisher(SessionState, "session/state", qos.LATCHED)
    options = ["--ros-args", "-p", "port:=0", "-p", f"save_dir:={tmp_path}"]
    page = subprocess.Popen([*WEB, *options], env=os.environ | {"PYTHONUNBUFFERED": "1"}, stderr=subprocess.PIPE)
    try:
        graph.spin_until(state.get_subscription_count, "the page hears the session")
        state.publish(b"\x00\x01\x00\x00no session state")
        graph.spin_until(lambda: page.poll() is not None, "the page ends")
        assert page.returncode == 1
        assert b"Traceback" in page.stderr.read(), "its log says why"
    finally:
        page.kill()
        page.wait()
