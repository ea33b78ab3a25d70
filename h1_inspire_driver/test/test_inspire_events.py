# SPDX-License-Identifier: Apache-2.0
"""Which events a hand publishes, and how often."""

from __future__ import annotations

from h1_inspire_driver.hand_events import HandEvents
from h1_training_node.message_numbers import Level

S = 1_000_000_000


class Published:
    """Events on a clock that is set by hand."""

    def __init__(self, patience_s: int = 0) -> None:
        self.now_ns = 0
        self.events: list[tuple[Level, str, str]] = []
        self.hand = HandEvents("left", lambda *event: self.events.append(event), self._now, patience_ns=patience_s * S)

    def _now(self) -> int:
        return self.now_ns

    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]


def test_a_loss_is_reported_once_and_the_return_with_its_cause() -> None:
    published = Published()
    published.hand.lost("unplugged")
    published.hand.lost("still unplugged")
    published.hand.back("there")
    assert published.reasons() == ["hand_lost", "hand_connected"]
    assert published.events[0][0] == Level.ERROR
    assert "lost: still unplugged" in published.events[1][2]


def test_a_hand_that_is_still_starting_is_not_called_lost() -> None:
    published = Published(patience_s=3)
    published.hand.lost("refused")
    published.now_ns = 2 * S
    published.hand.lost("refused")
    assert published.events == []
    published.now_ns = 3 * S
    published.hand.lost("refused")
    assert published.reasons() == ["hand_lost"]


def test_patience_ends_with_the_first_answer() -> None:
    published = Published(patience_s=3)
    published.hand.back("there")
    published.hand.lost("unplugged")
    assert published.reasons() == ["hand_connected", "hand_lost"]


def test_losses_in_short_succession_are_counted_and_reported_with_the_next() -> None:
    published = Published()
    for _ in range(4):
        published.hand.lost("dropped")
        published.hand.back("there")
    assert published.reasons() == ["hand_lost", "hand_connected"]
    published.now_ns = 11 * S
    published.hand.lost("dropped")
    assert "3 times before in short succession" in published.events[-1][2]


def test_a_stall_is_no_warning_since_a_firm_grip_stalls() -> None:
    published = Published()
    published.hand.faults(("index stalled",))
    published.hand.faults(("index stalled", "index over-current"))
    assert [level for level, _, _ in published.events] == [Level.INFO, Level.WARN]


def test_a_fault_that_flickers_is_reported_every_ten_seconds_at_most() -> None:
    published = Published()
    for second in range(25):
        published.now_ns = second * S
        published.hand.faults(("ring over-current",))
        published.hand.faults(())
    assert len(published.events) == 3
