"""Which press of a key counts: guards against key repeat and against a slip of the finger.

A terminal knows no key release: a key that is held arrives as the same letter every 30 ms after a first pause of
up to 0.66 s. A press that follows the same letter within the guard is therefore a repeat.
"""

from __future__ import annotations

from enum import Enum

from h1_session_manager.table import NEVER_GUARDED, Row
from h1_training_node.clock import NS_PER_S

TWICE_WITHIN_S = 5.0
"""The second press of a key that must be pressed twice counts until then."""


HELD_GAP_S = 0.15
"""A held key comes every 30 ms once it repeats; a finger that hammers is slower than this."""


class Press(Enum):
    """What a press of a key amounts to."""

    COUNTS = "counts"
    GUARDED = "guarded"
    ONCE_MORE = "once more"


class KeyGuard:
    """Judges presses. Times are ns.

    Args:
        guard_s: keys that start motion are ignored this long after a state was entered, and while they repeat.
    """

    def __init__(self, guard_s: float) -> None:
        self._guard_ns = int(guard_s * NS_PER_S)
        self._since_ns = 0
        self._last: dict[str, int] = {}
        self._armed: tuple[str, int] | None = None
        self._counted_ns: int | None = None

    def rearm(self, now_ns: int) -> None:
        """A state was entered, or a motion taken back."""
        self._since_ns = now_ns
        self._armed = None

    def is_guarded(self, row: Row, now_ns: int) -> bool:
        """Whether the state is too young for the key of `row`."""
        return row.motion and row.key not in NEVER_GUARDED and now_ns - self._since_ns < self._guard_ns

    def judge(self, row: Row, now_ns: int) -> Press:
        """What this press of the key of `row` amounts to."""
        repeats = self._repeats(row.key, now_ns)
        armed, self._armed = self._armed, None
        if row.twice:
            return self._judge_twice(row, armed, repeats, now_ns)
        if row.motion and row.key not in NEVER_GUARDED and (repeats or self.is_guarded(row, now_ns)):
            return Press.GUARDED
        self._counted_ns = now_ns
        return Press.COUNTS

    def answered_lately(self, now_ns: int) -> bool:
        """Whether a key has counted within the guard."""
        return self._counted_ns is not None and now_ns - self._counted_ns < self._guard_ns

    def saw(self, key: str, now_ns: int) -> None:
        """A press that is used otherwise, for what follows to be known as its repeat."""
        self._armed = None
        self._last[key] = now_ns

    def is_held(self, key: str, now_ns: int) -> bool:
        """Whether `key` comes from a finger that has stayed on it: unlike a repeat, never one that presses again."""
        previous = self._last.get(key)
        return self.answered_lately(now_ns) or (previous is not None and now_ns - previous < HELD_GAP_S * NS_PER_S)

    def _repeats(self, key: str, now_ns: int) -> bool:
        previous = self._last.get(key)
        self._last[key] = now_ns
        return previous is not None and now_ns - previous < self._guard_ns

    def _judge_twice(self, row: Row, armed: tuple[str, int] | None, repeats: bool, now_ns: int) -> Press:
        if armed is None or armed[0] != row.key or now_ns - armed[1] > TWICE_WITHIN_S * NS_PER_S:
            self._armed = (row.key, now_ns)
            return Press.ONCE_MORE
        if repeats:
            self._armed = armed
            return Press.GUARDED
        return Press.COUNTS
