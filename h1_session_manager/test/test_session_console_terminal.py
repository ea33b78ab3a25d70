# SPDX-License-Identifier: Apache-2.0
"""The console in a real terminal: beside a session, and as the session's own screen."""

import os
import re
import signal
import subprocess
import sys

import pytest
from sensor_msgs.msg import Joy
from session_graph import StubGraph, make
from std_msgs.msg import String
from tmux_builders import Tmux, terminal

from h1_session_manager.console.console_node import ConsoleNode
from h1_session_manager.parameters import ConsoleParameters
from h1_training_msgs.msg import SessionState
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.parameter import ParameterError, from_values
from h1_training_node.stamps import to_stamp

CONSOLE = [
    sys.executable,
    "-c",
    "from h1_session_manager.console.console_node import main; import sys; sys.exit(main())",
]
OWN = """
import os, signal, subprocess, sys
lines = sys.argv[1]
os.environ["H1_OPERATOR_LINES"] = lines
os.environ["H1_SESSION_PARENT_PID"] = str(os.getpid())
for number in (signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, lambda number, _frame: open(lines, "a").write(f"runner got {number}\\n"))
console = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
open(lines + ".pid", "w").write(str(console.pid))
sys.exit(console.wait())
"""


def test_no_terminal_is_asked_to_report_ctrl_c_as_a_key() -> None:
    """Kitty's protocol, which kitty, foot and WezTerm know, would do that; textual reads this at its import."""
    modules = "h1_session_manager.console.console_node, textual.constants"
    code = f"import {modules}; print(textual.constants.DISABLE_KITTY_KEY)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"


class Scene:
    """A session of one state, heard by a console in tmux; notes keys and stops."""

    def __init__(self, graph) -> None:
        self.graph = graph
        self.stub = graph.add(StubGraph())
        self.keys: list[str] = []
        self.stub.create_subscription(String, "keyboard", lambda message: self.keys.append(message.data), qos.STATE)
        self.state = self.stub.create_publisher(SessionState, "session/state", qos.LATCHED)
        self.lines = self.stub.create_publisher(String, "session/lines", qos.LATCHED)
        self.lines.publish(String(data="[EXECUTING] Running policy (epoch 7)\n  Press 's' to stop"))
        self.stub.every(0.1, self._report)

    def _report(self) -> None:
        now_ns = self.stub.now_ns()
        message = SessionState(header=self.stub.header(), state="EXECUTING", epoch=7, episode=2)
        message.keys, message.key_twice = ["s", "q"], [False, False]
        message.key_labels = ["stop execution and enter damping mode", "emergency stop"]
        message.state_since, message.prompt = to_stamp(now_ns - 5_000_000_000), "Press 's' to stop execution"
        self.state.publish(message)

    def until(self, condition, what: str) -> None:
        self.graph.spin_until(condition, what, 30.0)

    def sees(self, tmux: Tmux, text: str) -> None:
        self.until(lambda: text in tmux.screen(), f"'{text}' on the screen")


def is_restored(tmux: Tmux) -> bool:
    settings = tmux.settings()
    return " icanon" in settings and "susp = ^Z" in settings and " echo " in settings and not tmux.is_alternate()


@pytest.fixture
def scene(graph):
    return Scene(graph)


def test_beside_a_session_it_shows_it_hands_keys_over_stops_it_and_leaves_the_terminal_as_it_was(scene, tmp_path):
    with terminal(tmp_path, CONSOLE) as tmux:
        scene.sees(tmux, "E  X  E  C  U  T  I  N  G    epoch 7, episode 2")
        scene.sees(tmux, "[EXECUTING] Running policy (epoch 7)")
        assert "s stop execution and enter damping mode · q emergency stop" in tmux.screen()
        assert len(tmux.screen().splitlines()) == 24
        assert all(len(line) <= 80 for line in tmux.screen().splitlines())
        assert "susp = <undef>" in tmux.settings()
        tmux.press("s")
        scene.until(lambda: scene.keys == ["s"], "the key")
        tmux.press("C-z", "C-c")
        scene.until(lambda: scene.stub.stops == ["console: Ctrl+C"], "the emergency stop")
        scene.sees(tmux, "E  X  E  C  U  T  I  N  G")  # neither of them ends or stops it
        tmux.press("C-q")
        scene.sees(tmux, "ended with 0")
        scene.until(lambda: is_restored(tmux), "the terminal as it was")


def test_as_the_sessions_own_screen_no_key_is_lost_when_it_is_left(scene, tmp_path):
    lines = tmp_path / "operator.log"
    lines.write_text("! head_camera: silent\n  a prompt: ")
    with terminal(tmp_path, [sys.executable, "-c", OWN, str(lines), *CONSOLE]) as tmux:
        scene.sees(tmux, "E  X  E  C  U  T  I  N  G")
        scene.sees(tmux, "! head_camera: silent")
        tmux.press("C-c")
        scene.until(lambda: f"runner got {int(signal.SIGINT)}" in lines.read_text(), "Ctrl+C as a signal to the group")
        assert not scene.stub.stops
        tmux.press("C-q")
        scene.until(lambda: not tmux.is_alternate(), "plain lines")
        tmux.press("s")
        scene.until(lambda: f"runner got {int(signal.SIGUSR1)}" in lines.read_text(), "the runner's call")
        scene.until(lambda: scene.keys == ["s"], "the key in plain lines")
        assert not tmux.is_alternate()
        os.kill(int(lines.with_name("operator.log.pid").read_text()), signal.SIGTERM)
        scene.sees(tmux, "ended with 0")
        scene.until(lambda: is_restored(tmux), "the terminal as it was")


def test_even_kill_9_restores_the_terminal(scene, tmp_path):
    lines = tmp_path / "operator.log"
    lines.touch()
    with terminal(tmp_path, [sys.executable, "-c", OWN, str(lines), *CONSOLE]) as tmux:
        scene.sees(tmux, "E  X  E  C  U  T  I  N  G")
        os.kill(int(lines.with_name("operator.log.pid").read_text()), signal.SIGKILL)
        scene.sees(tmux, "ended with")
        scene.until(lambda: is_restored(tmux), "the terminal as it was")


def test_the_terminal_that_is_configured_is_the_one_that_is_taken(scene, tmp_path):
    file = tmp_path / "console.params.yaml"  # as runner and launch write it
    file.write_text("/**: {ros__parameters: {terminal: /dev/no_such_terminal, bell: false}}")
    with terminal(tmp_path, [*CONSOLE, "--ros-args", "--params-file", str(file)]) as tmux:
        scene.sees(tmux, "/dev/no_such_terminal")
        scene.sees(tmux, "ended with 2")


def test_buttons_that_are_none_are_refused_before_anything_starts():
    with pytest.raises(ParameterError, match="'start:s' is no BUTTON:KEY"):
        from_values(ConsoleParameters, {"joy_buttons": ("start:s",)})


def test_a_terminal_that_is_too_small_is_reported(scene, tmp_path):
    with terminal(tmp_path, CONSOLE, 60, 20) as tmux:
        scene.sees(tmux, "The console needs 80 x 24 characters")
        scene.sees(tmux, "ended with 2")


def test_without_a_terminal_it_says_what_does_without_one():
    done = subprocess.run(CONSOLE, stdin=subprocess.DEVNULL, capture_output=True, text=True, start_new_session=True)
    assert done.returncode == 2
    assert "The console needs a terminal" in done.stderr
    assert "session status" in done.stderr


def test_the_sessions_own_screen_hears_pedals_and_one_beside_it_does_not(graph, tmp_path, monkeypatch):
    pedal = graph.add(BaseNode("pedal"))
    keys: list[str] = []
    pedal.create_subscription(String, "keyboard", lambda message: keys.append(message.data), qos.STATE)
    joy = pedal.create_publisher(Joy, "joy", qos.STATE)
    graph.add(make(ConsoleNode, joy_buttons=["0:s"]))
    monkeypatch.setenv("H1_OPERATOR_LINES", str(tmp_path / "operator.log"))
    own = graph.add(make(ConsoleNode, joy_buttons=["0:s"]))
    graph.spin_until(lambda: joy.get_subscription_count() == 1 and own._keyboard.get_subscription_count(), "both")
    for buttons in ([0], [1], [1]):
        joy.publish(Joy(buttons=buttons))
    own.press("e")
    graph.spin_until(lambda: "s" in keys and "e" in keys, "the pedal's key")
    assert keys.count("s") == 1


def test_the_bell_rings_once_for_each_time_that_the_session_needs_the_person(graph):
    stub = graph.add(StubGraph())
    state = stub.create_publisher(SessionState, "session/state", qos.LATCHED)
    console = graph.add(make(ConsoleNode))
    graph.spin_until(lambda: state.get_subscription_count() == 2, "the console")

    def rings_after(name: str, since_s: int, *keys: str) -> int:
        state.publish(SessionState(state=name, state_since=to_stamp(since_s * 10**9), keys=list(keys)))
        graph.spin_until(lambda: console.heard.view and console.heard.view.keys == keys, f"{name} {keys}")
        return console.heard.rings

    assert rings_after("STARTING", 1, "q") == 0
    assert rings_after("STARTING", 1, "y", "q") == 1
    assert rings_after("WAITING", 2, "q") == 1
    assert rings_after("READY", 3, "n", "q") == rings_after("READY", 3, "y", "n", "q") == 2
    assert rings_after("SYNCING", 4, "q") == 2, "an upload goes on"
    assert rings_after("SYNCING", 4, "y", "n", "q") == rings_after("SYNCING", 4, "y", "n") == 3, "it has failed"
    assert rings_after("SYNCING", 5, "q") == 3
    assert rings_after("SYNCING", 5, "y", "n", "q") == 4, "once more"


def test_lines_of_before_a_console_joined_do_not_get_the_time_at_which_it_joined(graph):
    stub = graph.add(StubGraph())
    lines = stub.create_publisher(String, "session/lines", qos.LATCHED)
    lines.publish(String(data="[READY] New weights available!"))  # an hour ago
    console = graph.add(make(ConsoleNode))

    def said() -> list[str]:
        return [line for _, line in console.heard.messages]

    graph.spin_until(said, "what was said before")
    assert said() == ["[READY] New weights available!"]
    repeated = stub.every(0.3, lambda: lines.publish(String(data="[EXECUTING] Running policy (epoch 1)")))
    graph.spin_until(lambda: re.match(r"\d\d:\d\d:\d\d \[EXECUTING\]", said()[-1]), "what is said now, with its time")
    repeated.cancel()
