# SPDX-License-Identifier: Apache-2.0
"""A ROS domain of one's own on this machine, for a simulation or a test run.

Fast DDS shares /dev/shm between network namespaces and containers, so discovery on LOCALHOST alone does not
keep two graphs apart; a domain id that nobody else holds does. It is held by a lock on a file, which the kernel
lets go when the holder and all children that were handed the lock have ended, however they end.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

FIRST_DOMAIN, LAST_DOMAIN = 40, 101
"""Below 40 people choose by hand; above 101 the ports reach into Linux's ephemeral range."""


class DomainsExhaustedError(RuntimeError):
    """Every domain id of the range is in use on this machine."""


class DomainClaim:
    """A domain id that no other claim on this machine has, until `release` or the end of this process.

    Raises:
        DomainsExhaustedError: none is left.
    """

    def __init__(self) -> None:
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
