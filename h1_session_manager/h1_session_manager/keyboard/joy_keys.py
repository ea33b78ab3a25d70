"""Buttons of a gamepad or pedal (sensor_msgs/Joy) as keys."""

from __future__ import annotations

from collections.abc import Sequence


class JoyKeys:
    """Turns presses into keys: a button counts once when it goes down, however long it is held.

    Args:
        mapping: "BUTTON:KEY" each, e.g. ("0:s", "1:e").

    Raises:
        ValueError: a mapping that is not of that form.
    """

    def __init__(self, mapping: Sequence[str]) -> None:
        self._keys: dict[int, str] = {}
        for entry in mapping:
            button, separator, key = entry.partition(":")
            if not separator or not button.strip().isdigit() or len(key.strip()) != 1:
                raise ValueError(f"'{entry}' is no BUTTON:KEY, e.g. '0:s'")
            self._keys[int(button)] = key.strip()
        self._down: frozenset[int] | None = None

    def pressed(self, buttons: Sequence[int]) -> list[str]:
        """The keys of the buttons that went down with this message; held at the first message counts as held."""
        down = frozenset(index for index, value in enumerate(buttons) if value)
        before, self._down = self._down, down
        if before is None:
            return []
        return [self._keys[index] for index in sorted(down - before) if index in self._keys]
