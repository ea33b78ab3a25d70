# SPDX-License-Identifier: Apache-2.0
"""Reads files that may be damaged in a child process: HDF5 loops for ever over some of them, and dies of others.

`read()` and `summary()` themselves run in the process that calls them; whoever reads files of unknown origin there
(of an upload, of a disk that failed) has them read once `in_child` before.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_CPU_S, _MB_A_CPU_S = 10, 5
"""CPU time in which a sound file is read and decoded several times over: so much, and a second more for so many MB."""
_MORE_BYTES, _TIMES_FILE = 256_000_000, 4
"""Memory that a child may take beyond its parent's, and so many times its files. A damaged length is a string of
gigabytes to HDF5, which it would have read."""
_MORE_BYTES_IF_SLOW, _THREAD_BYTES = 13_000_000, 16_000_000
"""For each time `slow`, since what is slow draws or encodes; and for each core, since libraries start threads."""
_PR_SET_PDEATHSIG = 1


class ChildError(RuntimeError):
    """The child did not come to an end of its own; the message says what became of it."""


def in_child(work: Callable[[], int], *paths: Path, slow: int = 1) -> int:
    """The exit status of `work`, done in a child whose output comes out here; its CPU time and memory are bounded.

    An exception of `work` is a status of 1; the child ends with its parent.

    Args:
        work: to do.
        paths: files that it reads; the larger, the longer it may take.
        slow: how many times the CPU time of reading a file it may take.

    Raises:
        ChildError: it was ended by a signal.
    """
    sys.stdout.flush()
    size = sum(path.stat().st_size for path in paths if path.is_file())
    incoming, outgoing = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if end_with_parent(parent):
                os.close(incoming)
                sys.stdout = os.fdopen(outgoing, "w", encoding="utf-8", errors="backslashreplace")
                _set_limits(slow, size)
                status = work()
                sys.stdout.flush()
        finally:
            os._exit(status)
    os.close(outgoing)
    with os.fdopen(incoming, encoding="utf-8") as output:
        for line in output:
            sys.stdout.write(line)
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended):
        number = os.WTERMSIG(ended)
        why = "takes for ever" if number == signal.SIGXCPU else f"ended the program that read it ({_name(number)})"
        raise ChildError(f"damaged: {why}")
    return os.WEXITSTATUS(ended)


def _set_limits(slow: int, size: int) -> None:
    """Of CPU time and memory, for files of `size` bytes."""
    cpu_s = slow * (_CPU_S + size // (_MB_A_CPU_S * 1_000_000))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))  # at both at once it is SIGKILL, which says less
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    more = _MORE_BYTES + slow * _MORE_BYTES_IF_SLOW + (os.cpu_count() or 1) * _THREAD_BYTES + _TIMES_FILE * size
    status = Path("/proc/self/status").read_text()
    held = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (held + more, held + more))


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def end_with_parent(parent: int) -> bool:
    """In a child: die when `parent` does; False if it is dead already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    return os.getppid() == parent
