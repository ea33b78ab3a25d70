# SPDX-License-Identifier: Apache-2.0
"""The keyboard through a real pseudo-terminal."""

import os
import pty
import signal
import subprocess
import sys
import termios

import pytest
from sensor_msgs.msg import Joy
from session_graph import make
from std_msgs.msg import String

from h1_session_manager.keyboard.keys import JoyKeys, NoTerminalError, TtyKeys, keys_in
from h1_training_testing import Graph, wait_until

READER = """
import sys
from h1_session_manager.keyboard.keys import TtyKeys
keys = TtyKeys(sys.argv[1])
print("ready", flush=True)
while (typed := keys.read(0.1)) is not None:
    if typed:
        print(*typed, flush=True)
    if "c" in typed:
        raise RuntimeError("crash")
"""


@pytest.fixture
def terminal():
    master, slave = pty.openpty()
    yield master, os.ttyname(slave), slave
    os.close(master)
    os.close(slave)


def is_cooked(fd: int) -> bool:
    return bool(termios.tcgetattr(fd)[3] & termios.ICANON)


def test_keys_arrive_without_enter_and_ctrl_c_stays_a_signal(terminal):
    master, path, slave = terminal
    keys = TtyKeys(path)
    flags = termios.tcgetattr(slave)[3]
    assert not flags & termios.ICANON
    assert flags & termios.ISIG
    os.write(master, b"ys")
    assert keys.read(5.0) == ["y", "s"]
    assert keys.read(0.0) == []
    keys.close()
    keys.close()
    assert is_cooked(slave)


@pytest.mark.parametrize("how", ["crash", signal.SIGTERM, signal.SIGKILL])
def test_the_terminal_is_restored_however_the_process_ends(terminal, how):
    master, path, slave = terminal
    process = subprocess.Popen([sys.executable, "-c", READER, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == b"ready\n"
    assert not is_cooked(slave)
    if how == "crash":
        os.write(master, b"c")
    else:
        process.send_signal(how)
    process.wait(10)
    wait_until(lambda: is_cooked(slave), "the terminal as it was")


def test_without_a_terminal_there_is_a_named_error(tmp_path):
    with pytest.raises(NoTerminalError):
        TtyKeys(str(tmp_path / "none"))
    (tmp_path / "file").touch()
    with pytest.raises(NoTerminalError, match="not a terminal"):
        TtyKeys(str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"y", ["y"]),
        (b"yy", ["y", "y"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[A", ["escape"]),
        (b"\n", ["enter"]),
        (b" s\t\x7f", ["space", "s", "tab", "backspace"]),
        (b"\x1b[1;5Dq", ["escape", "q"]),
        (b"s\x1bOP", ["s", "escape"]),
        (b"\xff\x00", []),
    ],
)
def test_every_key_is_a_key_and_a_sequence_swallows_none(data, keys):
    assert keys_in(data) == keys


def test_the_node_publishes_what_is_typed_and_ends_when_the_terminal_goes(graph: Graph, monkeypatch):
    from h1_session_manager.keyboard.keyboard_node import KeyboardNode

    master, slave = pty.openpty()
    monkeypatch.setattr("h1_session_manager.keyboard.keys.TERMINAL", os.ttyname(slave))
    heard: list[str] = []
    node = make(KeyboardNode, terminal=os.ttyname(slave))
    graph.add(node)
    node.create_subscription(String, "keyboard", lambda message: heard.append(message.data), 50)
    graph.spin_until(lambda: node.count_subscribers("keyboard"), "the subscription")
    os.write(master, b"y")
    graph.spin_until(lambda: heard == ["y"], "the key")
    os.close(slave)
    os.close(master)
    graph.spin_until(lambda: node.exit_status == 0, "the end")


def test_the_node_without_a_terminal_says_so_and_ends_well(graph: Graph, tmp_path):
    from h1_session_manager.keyboard.keyboard_node import KeyboardNode

    node = graph.add(make(KeyboardNode, terminal=str(tmp_path / "none")))
    assert node.exit_status == 0


def test_a_pedals_press_is_one_key_however_long_it_is_held(graph: Graph, tmp_path):
    from h1_session_manager.keyboard.keyboard_node import KeyboardNode

    heard: list[str] = []
    node = graph.add(make(KeyboardNode, terminal=str(tmp_path / "none"), joy_buttons=["1:s"]))
    assert node.exit_status is None
    node.create_subscription(String, "keyboard", lambda message: heard.append(message.data), 50)
    joy = node.create_publisher(Joy, "joy", 10)
    graph.spin_until(lambda: joy.get_subscription_count() and node.count_subscribers("keyboard"), "both ends")
    for buttons in ([0, 0], [0, 1], [0, 1], [0, 0], [1, 1]):
        joy.publish(Joy(buttons=buttons))
    graph.spin_until(lambda: len(heard) == 2, "two presses")
    assert heard == ["s", "s"]


def test_a_button_held_from_the_start_is_no_press():
    keys = JoyKeys(("0:y",))
    assert keys.pressed([1]) == []
    assert keys.pressed([0]) == []
    assert keys.pressed([1]) == ["y"]


@pytest.mark.parametrize("mapping", ["y", "0:", "a:y", "0:yes"])
def test_a_mapping_that_is_none_is_named(mapping):
    with pytest.raises(ValueError, match="is no BUTTON:KEY"):
        JoyKeys((mapping,))


def test_ctrl_z_and_ctrl_backslash_freeze_or_kill_no_graph(terminal):
    master, path, slave = terminal
    before = termios.tcgetattr(slave)[6]
    keys = TtyKeys(path)
    control = termios.tcgetattr(slave)[6]
    assert (control[termios.VSUSP], control[termios.VQUIT]) == (b"\0", b"\0")
    assert control[termios.VINTR] == b"\x03"
    os.write(master, b"\x1a\x1cs")
    assert keys.read(5.0) == ["s"]
    keys.close()
    assert termios.tcgetattr(slave)[6] == before
