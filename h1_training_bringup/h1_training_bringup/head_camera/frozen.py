"""A camera that sends the same bytes again and again: it lives on the network and sees nothing any more.

No sensor makes two pictures of the same bytes, however still the scene is: its noise differs. A frame that is the same
as the one before is still passed on, since it is what the camera says; who records it sees by its bytes what it is.
"""

from __future__ import annotations

from dataclasses import dataclass

LEAST_REPEATS = 2
"""One frame sent twice is a hiccup of the server; from the second repetition on, it may be a frozen camera."""


@dataclass(frozen=True)
class Turn:
    """The camera froze, or lives again.

    Attributes:
        is_frozen: which of both.
        repeats: frames so far that were the same as the one before them, in this freeze.
        lasted_ns: from the first of these same frames to the last one that arrived.
    """

    is_frozen: bool
    repeats: int
    lasted_ns: int


class FrozenWatch:
    """Watches one stream; used from one thread.

    Args:
        after_ns: the same bytes for this long are a frozen camera.
    """

    def __init__(self, after_ns: int) -> None:
        self._after_ns = after_ns
        self._last = b""
        self._since_ns = 0
        self._until_ns = 0
        self._repeats = 0
        self._is_frozen = False
        self.total_repeats = 0

    def frame(self, data: bytes, arrival_ns: int) -> Turn | None:
        """A sound frame has arrived. Returns a `Turn` when the camera has just frozen, or just come back to life."""
        if data != self._last:
            turn = Turn(False, self._repeats, self._until_ns - self._since_ns) if self._is_frozen else None
            self._last, self._since_ns, self._until_ns = data, arrival_ns, arrival_ns
            self._repeats, self._is_frozen = 0, False
            return turn
        self._repeats += 1
        self.total_repeats += 1
        self._until_ns = arrival_ns
        is_long = self._repeats >= LEAST_REPEATS and arrival_ns - self._since_ns >= self._after_ns
        if self._is_frozen or not is_long:
            return None
        self._is_frozen = True
        return Turn(True, self._repeats, arrival_ns - self._since_ns)
