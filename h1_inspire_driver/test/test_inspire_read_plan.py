# SPDX-License-Identifier: Apache-2.0
"""Which registers are read when."""

from __future__ import annotations

import pytest

from h1_inspire_driver.hand_state import ReadPlan
from h1_inspire_driver.registers import SECONDARY, Block

MS = 1_000_000


def rounds(answer_ms: int, count: int, period_ms: int = 40) -> tuple[list[list[Block]], list[int]]:
    """Per round the blocks read after the angles, and when the angles arrived, ms, of a hand with this delay."""
    plan, now, read, angle_times = ReadPlan(period_ms * MS), 0, [], []
    for _ in range(count):
        began = now
        plan.begin_round()
        now += answer_ms
        plan.answered(answer_ms * MS)
        angle_times.append(now)
        blocks = []
        while block := plan.next_block((now - began) * MS):
            blocks.append(block)
            now += answer_ms
            plan.answered(answer_ms * MS)
        read.append(blocks)
        now = max(now, began + period_ms)
    return read, angle_times


def test_a_quick_hand_is_read_whole_in_every_round() -> None:
    read, _ = rounds(answer_ms=3, count=5)
    assert all(set(blocks) == set(SECONDARY) for blocks in read)


@pytest.mark.parametrize("answer_ms", [10, 20, 25])
def test_angles_come_at_20_hz_or_more_from_a_hand_that_takes(answer_ms: int) -> None:
    _, times = rounds(answer_ms, count=40)
    assert (len(times) - 1) / (times[-1] - times[0]) * 1000 >= 20


@pytest.mark.parametrize("answer_ms", [10, 20, 25, 60])
def test_every_block_gets_its_turn_from_a_hand_that_takes(answer_ms: int) -> None:
    read, _ = rounds(answer_ms, count=40)
    seen = [block for blocks in read for block in blocks]
    counts = [seen.count(block) for block in SECONDARY]
    assert min(counts) >= 1
    assert max(counts) - min(counts) <= 1


def test_one_long_pause_does_not_make_a_quick_hand_slow() -> None:
    plan = ReadPlan(40 * MS)
    for took in (3, 3, 3, 1500, 3):
        plan.answered(took * MS)
    assert plan.answer_ns == 3 * MS
