# SPDX-License-Identifier: Apache-2.0
"""A ROS domain of one's own on this machine, for a simulation or a test run, and what earlier ones left behind.

Fast DDS shares /dev/shm between network namespaces and containers, so discovery on LOCALHOST alone does not
keep two graphs apart; a domain id that nobody else holds does. It is held by a lock on a file, which the kernel
lets go when the holder and all children that were handed the lock have ended, however they end.

The simulation can never move, or be taken for, a real robot: its nodes refuse to run but on this machine only, and on
topics of their own.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from h1_training_node.parameter import ParameterError

FIRST_DOMAIN, LAST_DOMAIN = 40, 101
"""Below 40 people choose by hand; above 101 the ports reach into Linux's ephemeral range."""

SHARED_MEMORY = Path("/dev/shm")
_SEGMENT_LOCK = re.compile(r"(fastrtps_[0-9a-f]{16})_el")
_STARTING_S = 60.0
"""A process that starts may have made the file and not yet locked it."""


def remove_abandoned_segments(folder: Path = SHARED_MEMORY) -> int:
    """Remove the shared memory of Fast DDS processes that were killed; returns of how many.

    A process locks `fastrtps_<id>_el` for as long as it lives. Without this, each killed one costs 8 MB until the
    machine is restarted. Files of other users stay.
    """
    removed = 0
    for path in folder.glob("fastrtps_*_el"):
        name = _SEGMENT_LOCK.fullmatch(path.name)
        try:
            if name is None or time.time() - path.stat().st_mtime < _STARTING_S:
                continue
            with path.open("r+") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (folder / name[1]).unlink(missing_ok=True)
                path.unlink()
        except OSError:
            continue
        removed += 1
    return removed


class DomainsExhaustedError(RuntimeError):
    """Every domain id of the range is in use on this machine."""


class DomainClaim:
    """A domain id that no other claim on this machine has, until `release` or the end of this process.

    Makes space first: `remove_abandoned_segments`.

    Raises:
        DomainsExhaustedError: none is left.
    """

    def __init__(self) -> None:
        remove_abandoned_segments()
        folder = Path(tempfile.gettempdir()) / f"h1_training_domains.{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        for domain_id in range(FIRST_DOMAIN, LAST_DOMAIN + 1):
            handle = (folder / str(domain_id)).open("w")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.close()
                continue
            self.domain_id = domain_id
            self._handle: IO[str] = handle
            os.set_inheritable(handle.fileno(), True)
            return
        raise DomainsExhaustedError(f"ROS domains {FIRST_DOMAIN} to {LAST_DOMAIN} are all in use; end a session first")

    def fileno(self) -> int:
        """The lock's descriptor: a child that is handed it keeps the domain claimed for as long as it lives."""
        return self._handle.fileno()

    def release(self) -> None:
        """Let others have it."""
        self._handle.close()


_VARIABLE, _REQUIRED = "ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"


def require_this_machine_only(environ: Mapping[str, str]) -> None:
    """Refuse to go on unless discovery is limited to this machine.

    Raises:
        ParameterError: it is not; says how to set it.
    """
    if (found := environ.get(_VARIABLE, "")) != _REQUIRED:
        raise ParameterError(
            f"the simulation starts only on this machine by itself: {_VARIABLE} is '{found}', expected {_REQUIRED}. "
            f"Run `export {_VARIABLE}={_REQUIRED}` first"
        )


def require_own_topic(resolved: str, name: str) -> None:
    """Refuse to go on if somebody remapped a simulated topic to another name, say the robot's.

    Raises:
        ParameterError: `resolved` does not end in `/` and `name`.
    """
    if not resolved.endswith(f"/{name}"):
        raise ParameterError(f"the simulation's topic '{name}' has been remapped to '{resolved}'; remove the remapping")
