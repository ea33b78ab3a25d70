# SPDX-License-Identifier: Apache-2.0
"""What is recorded: name, topic and type of every stream, and whose clock dates its messages.

`header.stamp` is when a datum came off the wire, by the session clock, for everything that our own nodes publish.
The wrist cameras' stamps come from RealSense's driver and its own idea of time: for those the recorder's time of
reception decides which row an image belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass

from h1_training_node.cameras import CAMERA_DATING, CAMERAS, Dating

STATE_DEPTH = 500
IMAGE_DEPTH = 120
"""Messages that a subscription holds: enough for two seconds in which nobody reads them, and then some."""

ARM_STATUS = "arm_status"
SESSION_STATE = "session/state"
POLICY_ACTION = "policy/action"
SESSION_EVENT = "session/event"
HANDS = ("left", "right")


@dataclass(frozen=True)
class Stream:
    """One recorded topic.

    Attributes:
        name: what the journal, the status and the episode call it.
        topic: relative name, or absolute.
        type: e.g. `sensor_msgs/msg/JointState`; empty for an extra topic whose type is not known yet.
        dating: whose clock decides.
        image: a camera; its subscription is less deep.
        latched: offered transient local; who joins late receives the last one.
    """

    name: str
    topic: str
    type: str
    dating: Dating = Dating.STAMP
    image: bool = False
    latched: bool = False

    @property
    def depth(self) -> int:
        """Of the subscription's queue, messages."""
        return IMAGE_DEPTH if self.image else STATE_DEPTH


_OURS = "h1_training_msgs/msg/"
_IMAGE = "sensor_msgs/msg/CompressedImage"

STATE_STREAMS = (
    Stream("joint_states", "joint_states", "sensor_msgs/msg/JointState"),
    Stream(ARM_STATUS, "arm_status", _OURS + "ArmStatus"),
    Stream("hands/left/state", "hands/left/state", _OURS + "HandState"),
    Stream("hands/right/state", "hands/right/state", _OURS + "HandState"),
    Stream("hands/left/command", "hands/left/command", _OURS + "HandCommand"),
    Stream("hands/right/command", "hands/right/command", _OURS + "HandCommand"),
    Stream(POLICY_ACTION, "policy/action", _OURS + "PolicyAction"),
    Stream("policy/status", "policy/status", _OURS + "PolicyStatus"),
    Stream(SESSION_STATE, "session/state", _OURS + "SessionState", latched=True),
    Stream(SESSION_EVENT, "session/event", _OURS + "Event"),
    Stream("emergency_stop", "emergency_stop", "std_msgs/msg/String", Dating.RECEPTION),
    Stream("keyboard", "keyboard", "std_msgs/msg/String", Dating.RECEPTION),
)


EXPECTED_HZ = {
    "joint_states": 50.0,
    ARM_STATUS: 50.0,
    "hands/left/state": 20.0,
    "hands/right/state": 20.0,
    "policy/status": 5.0,
    SESSION_STATE: 10.0,
}
"""Messages a second of the streams that never pause, besides the cameras; all others come when there is something."""


def recorded_streams(camera_topics: dict[str, str], extra_topics: tuple[str, ...] = ()) -> tuple[Stream, ...]:
    """All streams to journal: the session's, the cameras', and extra ones that only the journal keeps.

    Args:
        camera_topics: topic by camera name, for every camera of `CAMERAS`.
        extra_topics: topic names; each one's type is found out when somebody publishes it.

    Raises:
        ValueError: a topic is named twice.
    """
    streams = (
        *STATE_STREAMS,
        *(Stream(camera, camera_topics[camera], _IMAGE, CAMERA_DATING[camera], image=True) for camera in CAMERAS),
        *(Stream(topic, topic, "", Dating.RECEPTION) for topic in extra_topics),
    )
    seen: set[str] = set()
    for stream in streams:
        topic = stream.topic.lstrip("/")
        if topic in seen:
            raise ValueError(f"topic '{stream.topic}' is recorded twice; take it out of extra_topics")
        seen.add(topic)
    return streams
