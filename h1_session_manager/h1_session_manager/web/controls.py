# SPDX-License-Identifier: Apache-2.0
"""Several pages may look, one drives: who that is, and whether it is still there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """An open page.

    Attributes:
        id: number of its connection.
        name: what the others are shown.
        may_drive: whether its token allows it.
    """

    id: int
    name: str
    may_drive: bool


class Controls:
    """Times are ns of the session clock.

    Args:
        lost_after_ns: silence of the driving page that counts as lost.
    """

    def __init__(self, lost_after_ns: int) -> None:
        self._lost_after_ns = lost_after_ns
        self._pages: dict[int, Page] = {}
        self._driver: int | None = None
        self._heard_ns = 0
        self._closed: set[int] = set()
        self._next = 1

    @property
    def driver(self) -> Page | None:
        """The page that drives, or None."""
        return None if self._driver is None else self._pages.get(self._driver)

    @property
    def pages(self) -> int:
        """How many pages are open."""
        return len(self._pages.keys() - self._closed)

    def enter(self, address: str, *, may_drive: bool) -> Page:
        """A page was opened."""
        page = Page(self._next, f"page {self._next} ({address})", may_drive)
        self._next += 1
        self._pages[page.id] = page
        return page

    def leave(self, page: Page) -> None:
        """A page was closed. The one that drove is reported as lost, in its time."""
        if self._driver == page.id:
            self._closed.add(page.id)
        else:
            self._pages.pop(page.id, None)

    def take(self, page: Page, now_ns: int) -> bool:
        """`page` drives from now on, whoever did so before; False if it may not."""
        if not page.may_drive:
            return False
        self._forget_closed()
        self._driver, self._heard_ns = page.id, now_ns
        return True

    def release(self, page: Page) -> None:
        """`page` drives no more."""
        if self._driver == page.id:
            self._driver = None

    def heard(self, page: Page, now_ns: int) -> None:
        """A sign of life."""
        if self._driver == page.id:
            self._heard_ns = now_ns

    def is_driving(self, page: Page) -> bool:
        """Whether `page` has the controls."""
        return self._driver == page.id

    def lost(self, now_ns: int) -> Page | None:
        """The driving page if it has fallen silent: reported once, from then on nobody drives."""
        page = self.driver
        if page is None or now_ns - self._heard_ns <= self._lost_after_ns:
            return None
        self._driver = None
        self._forget_closed()
        return page

    def _forget_closed(self) -> None:
        for number in self._closed:
            self._pages.pop(number, None)
        self._closed.clear()
