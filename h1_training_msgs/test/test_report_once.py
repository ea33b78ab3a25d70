# SPDX-License-Identifier: Apache-2.0
"""What lasts is reported once."""

from h1_training_node.report_once import ReportOnce


def test_what_lasts_is_due_once_and_again_after_it_was_over() -> None:
    once = ReportOnce()
    assert [once.is_due("frozen") for _ in range(3)] == [True, False, False]
    assert once.clear("frozen")
    assert not once.clear("frozen")
    assert once.is_due("frozen")


def test_two_conditions_are_reported_each() -> None:
    once = ReportOnce()
    assert once.is_due("left")
    assert once.is_due("right")
    once.clear("left")
    assert once.is_due("left")
    assert not once.is_due("right")


def test_with_a_pause_it_is_due_again_when_that_is_over() -> None:
    once = ReportOnce(again_after_ns=5)
    assert [now for now in range(20) if once.is_due("slow", now)] == [0, 5, 10, 15]
