# SPDX-License-Identifier: Apache-2.0
"""Reports when the system's clock is set: by NTP on a machine that woke up with a wrong one, or by a person.

Some libraries wait by it, and when it is set back by a minute, they wait a minute longer.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import struct
import threading
import time
from collections.abc import Callable

_TFD_TIMER_ABSTIME, _TFD_TIMER_CANCEL_ON_SET = 1, 2
_FAR_S = 1 << 40
_libc = ctypes.CDLL(None, use_errno=True)


class ClockWatch:
    """A thread that sleeps until the clock is set (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET), then calls.

    Args:
        on_set: called in that thread, each time.

    Raises:
        OSError: the kernel cannot report it.
    """

    def __init__(self, on_set: Callable[[], object]) -> None:
        self._on_set = on_set
        self._timer, self._end = _timer(), os.eventfd(0)
        self._thread = threading.Thread(target=self._wait_for_set, name="clock_watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        os.eventfd_write(self._end, 1)
        self._thread.join()
        os.close(self._timer)
        os.close(self._end)

    def _wait_for_set(self) -> None:
        poll = select.poll()
        for fd in (self._timer, self._end):
            poll.register(fd, select.POLLIN)
        while self._end not in dict(poll.poll()):
            with contextlib.suppress(OSError):  # cancelled: the clock was set
                os.read(self._timer, 8)
            _arm(self._timer)
            self._on_set()


def _timer() -> int:
    """File descriptor of a timer that is due in ages, and that is readable when the clock is set."""
    fd: int = _libc.timerfd_create(time.CLOCK_REALTIME, os.O_CLOEXEC)
    if fd < 0:
        raise _error("timerfd_create")
    _arm(fd)
    return fd


def _arm(fd: int) -> None:
    when = struct.pack("4q", 0, 0, _FAR_S, 0)
    if _libc.timerfd_settime(fd, _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET, when, None) < 0:
        raise _error("timerfd_settime")


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}; this kernel does not report when the system's clock is set")
