# SPDX-License-Identifier: Apache-2.0
"""One page drives, all may look."""

from h1_session_manager.web.controls import Controls

S = 1_000_000_000


def controls() -> Controls:
    return Controls(lost_after_ns=S)


def test_nobody_drives_until_a_page_takes_the_controls() -> None:
    desk = controls()
    page = desk.enter("10.0.0.1", may_drive=True)
    assert desk.driver is None and not desk.is_driving(page)
    assert desk.take(page, 0)
    assert desk.driver == page and desk.is_driving(page)


def test_a_spectator_cannot_take_the_controls() -> None:
    desk = controls()
    page = desk.enter("10.0.0.1", may_drive=False)
    assert not desk.take(page, 0)
    assert desk.driver is None


def test_the_last_one_to_take_the_controls_has_them() -> None:
    desk = controls()
    first, second = desk.enter("a", may_drive=True), desk.enter("b", may_drive=True)
    desk.take(first, 0)
    desk.take(second, 0)
    assert desk.driver == second and not desk.is_driving(first)


def test_a_driving_page_that_is_silent_is_lost_once_and_drives_no_more() -> None:
    desk = controls()
    page = desk.enter("a", may_drive=True)
    desk.take(page, 0)
    desk.heard(page, S // 2)
    assert desk.lost(S + S // 2) is None
    assert desk.lost(S + S // 2 + 1) == page
    assert desk.lost(9 * S) is None and desk.driver is None


def test_a_driving_page_that_is_closed_is_lost_in_its_time() -> None:
    desk = controls()
    page = desk.enter("a", may_drive=True)
    desk.take(page, 0)
    desk.leave(page)
    assert desk.pages == 0 and desk.driver == page
    assert desk.lost(2 * S) == page


def test_a_page_that_another_one_relieved_is_not_lost() -> None:
    desk = controls()
    first, second = desk.enter("a", may_drive=True), desk.enter("b", may_drive=True)
    desk.take(first, 0)
    desk.leave(first)
    desk.take(second, S // 2)
    assert desk.lost(S + 1) is None
    assert desk.pages == 1


def test_only_the_driving_page_keeps_itself_alive() -> None:
    desk = controls()
    first, second = desk.enter("a", may_drive=True), desk.enter("b", may_drive=True)
    desk.take(first, 0)
    desk.heard(second, 2 * S)
    assert desk.lost(2 * S) == first


def test_released_controls_are_not_lost() -> None:
    desk = controls()
    page = desk.enter("a", may_drive=True)
    desk.take(page, 0)
    desk.release(page)
    assert desk.driver is None and desk.lost(9 * S) is None
