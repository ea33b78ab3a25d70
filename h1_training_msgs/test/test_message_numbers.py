"""The cores' numbers are the messages' own."""

from h1_training_msgs.msg import ArmStatus, Event
from h1_training_node.message_numbers import ArmMode, Level


def test_arm_modes_are_those_of_arm_status() -> None:
    constants = {name for name in dir(ArmStatus) if name.startswith("MODE_")}
    assert {f"MODE_{mode.name}" for mode in ArmMode} == constants
    assert all(getattr(ArmStatus, f"MODE_{mode.name}") == mode for mode in ArmMode)


def test_levels_are_those_of_event() -> None:
    assert [getattr(Event, level.name) for level in Level] == list(Level)
