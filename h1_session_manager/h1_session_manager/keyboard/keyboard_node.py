# SPDX-License-Identifier: Apache-2.0
"""Publishes the keys of the terminal, and of a gamepad or pedal if one is mapped, on the topic `keyboard`."""

from __future__ import annotations

import threading

from sensor_msgs.msg import Joy
from std_msgs.msg import String

from h1_session_manager.keyboard.keys import JoyKeys, NoTerminalError, TtyKeys
from h1_session_manager.parameters import KeyboardParameters
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.node_main import run_node

_READ_S = 0.2


class KeyboardNode(BaseNode):
    """Reads the terminal in a thread; without one it says so and, unless a gamepad is mapped, ends."""

    def __init__(self) -> None:
        super().__init__("keyboard")
        parameters = self.parameters(KeyboardParameters)
        self._publisher = self.create_publisher(String, "keyboard", qos.STATE)
        self._joy = JoyKeys(parameters.joy_buttons)
        if parameters.joy_buttons:
            self.create_subscription(Joy, "joy", self._on_joy, qos.STATE)
        self._stopping = threading.Event()
        self._keys: TtyKeys | None = None
        try:
            self._keys = TtyKeys(parameters.terminal)
        except NoTerminalError as error:
            self.get_logger().warning(f"{error.strerror} ({error.filename}); press keys by other means, e.g. services")
            if not parameters.joy_buttons:
                self.end(0)
            return
        self._thread = threading.Thread(target=self._read, args=(self._keys,), name="terminal keys", daemon=True)
        self._thread.start()

    def request_stop(self, why: str) -> None:
        """Give the terminal back, and end."""
        self._restore_terminal()
        self.end(0)

    def destroy_node(self) -> None:
        """Also after a crash: the terminal first."""
        self._restore_terminal()
        super().destroy_node()

    def _restore_terminal(self) -> None:
        self._stopping.set()
        if self._keys is not None:
            self._thread.join(2 * _READ_S)
            self._keys.close()

    def _read(self, keys: TtyKeys) -> None:
        while not self._stopping.is_set():
            typed = keys.read(_READ_S)
            if typed is None:
                self.end(0)
                return
            for key in typed:
                self._publisher.publish(String(data=key))

    def _on_joy(self, message: Joy) -> None:
        for key in self._joy.pressed(message.buttons):
            self._publisher.publish(String(data=key))


def main() -> int:
    """Run the keyboard; it ends last, so that a person can press keys until everything is over."""
    return run_node(KeyboardNode, late=True)
