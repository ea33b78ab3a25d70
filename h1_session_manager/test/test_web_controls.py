# SPDX-License-Identifier: Apache-2.0
"""One page drives, all may look."""

from h1_session_manager.web.controls import Controls

S = 1_000_000_000


def controls() -> Controls:
    return Controls(lost_after_ns=S)


def test_nobody_drives_until_a_page_takes_the_controls() -> None:
    held = controls()
    page = held.enter("10.0.0.1", may_drive=True)
    assert held.driver is None and not held.is_driving(page)
    assert held.take(page, 0)
    assert held.driver == page and held.is_driving(page)


def test_a_spectator_cannot_take_the_controls() -> None:
    held = controls()
    page = held.enter("10.0.0.1", may_drive=False)
    assert not held.take(page, 0)
    assert held.driver is None


def test_the_last_one_to_take_the_controls_has_them() -> None:
    held = controls()
    first, second = held.enter("a", may_drive=True), held.enter("b", may_drive=True)
    held.take(first, 0)
    held.take(second, 0)
    assert held.driver == second and not held.is_driving(first)


def test_a_driving_page_that_is_silent_is_lost_once_and_drives_no_more() -> None:
    held = controls()
    page = held.enter("a", may_drive=True)
    held.take(page, 0)
    held.heard(page, S // 2)
    assert held.lost(S + S // 2) is None
    assert held.lost(S + S // 2 + 1) == page
    assert held.lost(9 * S) is None and held.driver is None


def test_a_driving_page_that_is_closed_is_lost_in_its_time() -> None:
    held = controls()
    page = held.enter("a", may_drive=True)
    held.take(page, 0)
    held.leave(page)
    assert held.pages == 0 and held.driver == page
    assert held.lost(2 * S) == page


def test_a_page_that_another_one_relieved_is_not_lost() -> None:
    held = controls()
    first, second = held.enter("a", may_drive=True), held.enter("b", may_drive=True)
    held.take(first, 0)
    held.leave(first)
    held.take(second, S // 2)
    assert held.lost(S + 1) is None
    assert held.pages == 1


def test_only_the_driving_page_keeps_itself_alive() -> None:
    held = controls()
    first, second = held.enter("a", may_drive=True), held.enter("b", may_drive=True)
    held.take(first, 0)
    held.heard(second, 2 * S)
    assert held.lost(2 * S) == first


def test_released_controls_are_not_lost() -> None:
    held = controls()
    page = held.enter("a", may_drive=True)
    held.take(page, 0)
    held.release(page)
    assert held.driver is None and held.lost(9 * S) is None
