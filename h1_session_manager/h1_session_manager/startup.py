"""STARTING: the arms are asked for only when everybody who works with them, or watches over them, is there.

Ten processes that load at once starve each other on a slow machine, the arm driver too; with the arms in its hands
that would be a fault. So nothing moves before each node has spoken. Cameras and hands may be missing for good: their
first sign is waited for only a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from h1_session_manager import lines
from h1_session_manager.procedure import Steps, Wait
from h1_session_manager.values import Bell, Say
from h1_training_node.message_numbers import Level

if TYPE_CHECKING:
    from h1_session_manager.session import Session

_NODES = (("arm_driver", "arm"), ("arm_guard", "guard"), ("recorder", "recorder"), ("policy_bridge", "policy"))
"""Nodes that a session cannot do without, and what of theirs is heard."""


class Startup:
    """Who is still missing, and how it is waited for."""

    def __init__(self, session: Session) -> None:
        self._s = session

    def missing(self) -> tuple[str, ...]:
        """The nodes that have not been heard yet."""
        heard = self._s.world.heard_ns
        return tuple(node for node, name in _NODES if name not in heard)

    def signless(self) -> tuple[str, ...]:
        """The cameras and hands without a first sign."""
        world, config = self._s.world, self._s.config
        streams = world.recorder.streams if world.recorder is not None else ()
        alive = {stream.name for stream in streams if stream.age >= 0}
        hands = ("left hand", "right hand") if config.include_hands else ()
        return (
            *(camera for camera in config.cameras if camera not in alive),
            *(hand for hand in hands if hand not in world.heard_ns),
        )

    def wait(self) -> Steps[None]:
        """Until all nodes were heard; then for cameras and hands, with a line about those that stay away."""
        s = self._s
        s.doing = "the session is starting up"
        limit_s = s.config.startup_timeout_s
        if not (yield Wait(lambda: not self.missing(), limit_s)):
            who = ", ".join(self.missing())
            s.reason = f"{who}: not heard within {limit_s:g} s; see the log of that name. Still waiting"
            s.revision += 1
            s.say(f"  {s.reason}; 'q' and then 'y' end the session")
            s.tell(Level.ERROR, "node_does_not_start", s.reason)
            yield Wait(lambda: not self.missing(), None)
            s.reason = ""
        if not (yield Wait(lambda: not self.signless(), s.config.first_sign_timeout_s)):
            s.say(f"  No sign yet of {', '.join(self.signless())}: going on; READY shows whether it is there")
        s.doing = ""
        s.revision += 1

    def ask(self) -> None:
        """Everybody is there: the question."""
        s = self._s
        s.guard.rearm(s.world.now_ns)
        s.desk.emit(Say((), lines.screen(s.table.state, s.subject()).prompt, replaces_prompt=True))
        s.desk.emit(Bell())
