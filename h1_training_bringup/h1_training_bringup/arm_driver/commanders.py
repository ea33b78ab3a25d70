# SPDX-License-Identifier: Apache-2.0
"""Who else commands the arms: seen by the writers that the graph names, and sooner by what is written.

The graph's word comes late (discovery, and a look every half second). A command that was received on /arm_sdk and that
this process has not sent is somebody else's, whatever its writer is called. The middleware gives no writer with a
message here, so it is known by its bytes, the checksum among them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_KEPT = 250
"""Commands, a second's worth: none takes longer to come back to its own sender."""


class Writer(NamedTuple):
    """A publisher as the graph names it: its node's name, and its GID as hex digits."""

    node: str
    gid: str


class SentCommands:
    """Distinguishes own commands from others'."""

    def __init__(self) -> None:
        self._order: deque[bytes] = deque()
        self._known: Counter[bytes] = Counter()  # arms that are held may be sent the very same again and again

    def add(self, sample: bytes) -> None:
        """This process sends `sample`."""
        self._order.append(sample)
        self._known[sample] += 1
        if len(self._order) > _KEPT:
            oldest = self._order.popleft()
            self._known[oldest] -= 1
            if self._known[oldest] == 0:
                del self._known[oldest]

    def count_foreign(self, samples: Iterable[bytes]) -> int:
        """How many of the received `samples` it did not send."""
        return sum(sample not in self._known for sample in samples)


def is_allowed(writer: Writer, allowed: Sequence[str]) -> bool:
    """Whether a writer is one that `allowed` names, by node name or by the beginning of its GID."""
    return any(writer.node == entry or (entry and writer.gid.startswith(entry.lower())) for entry in allowed)


def others(writers: Iterable[Writer], expected: Iterable[str], allowed: Sequence[str]) -> list[str]:
    """Names of the writers that are neither `expected`, each once, nor `allowed`."""
    still_expected = list(expected)
    found = []
    for writer in writers:
        if writer.node in still_expected:
            still_expected.remove(writer.node)
        elif not is_allowed(writer, allowed):
            found.append(f"{writer.node} (GID {writer.gid})")
    return sorted(found)
