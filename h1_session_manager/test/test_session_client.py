# SPDX-License-Identifier: Apache-2.0
"""The client in a thread of its own, as a program beside the session would have it."""

import json
import threading

import pytest
from test_session_manager_node import Scene

from h1_session_manager.session_client import NoSessionError, SessionClient, main
from h1_training_testing import Graph


def beside(graph: Graph, function, what: str):
    """Run `function` in a thread while the graph spins; returns its result."""
    results: list = []

    def run() -> None:
        try:
            results.append(function())
        except Exception as error:  # handed to the test, below
            results.append(error)

    threading.Thread(target=run, daemon=True).start()
    graph.spin_until(lambda: results, what, 90.0)
    if isinstance(results[0], Exception):
        raise results[0]
    return results[0]


def test_the_client_shows_asks_and_waits(graph, tmp_path):
    Scene(graph, tmp_path, policy_port=1)

    def session() -> tuple:
        with SessionClient(60.0) as client:
            state = client.state()
            refused = client.ask("stop")
            begun = client.ask("start")
            return state.state, refused, begun, client.wait_for("WAITING").state

    state, refused, begun, reached = beside(graph, session, "the client's session")
    assert state == "STARTING"
    assert (refused.success, begun.success) == (False, True)
    assert "possible: start" in refused.message
    assert reached == "WAITING"


def test_the_command_prints_state_and_answers(graph, tmp_path, capfd):
    Scene(graph, tmp_path, policy_port=1)
    assert beside(graph, lambda: main(["--timeout", "60", "status", "--json"]), "status") == 0
    assert json.loads(capfd.readouterr().out)["state"] == "STARTING"
    assert beside(graph, lambda: main(["--timeout", "60", "status"]), "status") == 0
    assert capfd.readouterr().out.startswith("STARTING  no epoch yet\n  Press 'y' to take the arms")
    assert beside(graph, lambda: main(["--timeout", "60", "end"]), "the refusal") == 1
    assert "'end' is not possible; state STARTING" in capfd.readouterr().out


def test_a_session_is_healthy_until_an_emergency_stop(graph, tmp_path, capfd):
    Scene(graph, tmp_path, policy_port=1)
    assert beside(graph, lambda: main(["--timeout", "60", "status", "--healthy"]), "health") == 0
    assert beside(graph, lambda: main(["--timeout", "60", "emergency_stop"]), "the stop") == 0
    assert beside(graph, lambda: main(["--timeout", "60", "status", "--healthy"]), "health") == 1
    assert "STOPPED" in capfd.readouterr().out


def test_without_a_session_it_says_so_and_where_to_look(capfd):
    with SessionClient(timeout_s=0.2) as client, pytest.raises(NoSessionError, match="does the session run"):
        client.state()
    assert main(["--timeout", "0.2", "stop"]) == 2
    assert "session_manager does not answer 'stop'" in capfd.readouterr().err


def test_the_preflight_command_says_what_stands_in_the_way(graph, tmp_path, capfd):
    scene = Scene(graph, tmp_path, policy_port=1, min_free_gb=2000.0)
    graph.spin_until(lambda: scene.node._engine.observed.recorder is not None, "the recorder")
    assert beside(graph, lambda: main(["--timeout", "60", "preflight"]), "the preflight") == 1
    assert "Not ready: disk: 1000.0 GB free" in capfd.readouterr().out
    scene.stub.recorder.bytes_free = 10**13
    graph.spin_until(lambda: scene.node._engine.observed.recorder.bytes_free == 10**13, "the free space")
    assert beside(graph, lambda: main(["--timeout", "60", "preflight"]), "the preflight") == 0
    assert capfd.readouterr().out.startswith("Ready\n")


def test_a_client_that_joins_late_gets_the_present_state_and_not_a_past_one(graph, tmp_path):
    scene = Scene(graph, tmp_path, policy_port=1)
    scene.press_to("y", "WAITING")

    def asked() -> str:
        with SessionClient(60.0) as client:
            return client.state().state

    assert beside(graph, asked, "the state") == "WAITING"
