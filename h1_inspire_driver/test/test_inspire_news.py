"""What a person is told about a hand, and how often."""

from __future__ import annotations

from h1_inspire_driver.hand_news import HandNews
from h1_training_node.message_numbers import Level

S = 1_000_000_000


class Told:
    """News on a clock that is set by hand."""

    def __init__(self, patience_s: int = 0) -> None:
        self.now_ns = 0
        self.events: list[tuple[Level, str, str]] = []
        self.news = HandNews("left", lambda *event: self.events.append(event), self._now, patience_ns=patience_s * S)

    def _now(self) -> int:
        return self.now_ns

    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]


def test_a_loss_is_told_once_and_the_return_with_its_cause() -> None:
    told = Told()
    told.news.lost("unplugged")
    told.news.lost("still unplugged")
    told.news.back("there")
    assert told.reasons() == ["hand_lost", "hand_connected"]
    assert told.events[0][0] == Level.ERROR
    assert "lost: still unplugged" in told.events[1][2]


def test_a_hand_that_is_still_starting_is_not_called_lost() -> None:
    told = Told(patience_s=3)
    told.news.lost("refused")
    told.now_ns = 2 * S
    told.news.lost("refused")
    assert told.events == []
    told.now_ns = 3 * S
    told.news.lost("refused")
    assert told.reasons() == ["hand_lost"]


def test_patience_ends_with_the_first_answer() -> None:
    told = Told(patience_s=3)
    told.news.back("there")
    told.news.lost("unplugged")
    assert told.reasons() == ["hand_connected", "hand_lost"]


def test_losses_in_short_succession_are_counted_and_told_with_the_next() -> None:
    told = Told()
    for _ in range(4):
        told.news.lost("dropped")
        told.news.back("there")
    assert told.reasons() == ["hand_lost", "hand_connected"]
    told.now_ns = 11 * S
    told.news.lost("dropped")
    assert "3 times before in short succession" in told.events[-1][2]


def test_a_stall_is_no_warning_since_a_firm_grip_stalls() -> None:
    told = Told()
    told.news.faults(("index stalled",))
    told.news.faults(("index stalled", "index over-current"))
    assert [level for level, _, _ in told.events] == [Level.INFO, Level.WARN]


def test_a_fault_that_flickers_is_told_every_ten_seconds_at_most() -> None:
    told = Told()
    for second in range(25):
        told.now_ns = second * S
        told.news.faults(("ring over-current",))
        told.news.faults(())
    assert len(told.events) == 3
