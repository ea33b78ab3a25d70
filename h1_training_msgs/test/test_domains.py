# SPDX-License-Identifier: Apache-2.0
"""Two graphs on one machine never share a domain."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from h1_training_node.domain import DomainClaim, remove_abandoned_segments


def test_two_claims_get_two_domains_and_a_released_one_is_free_again() -> None:
    first, second = DomainClaim(), DomainClaim()
    assert first.domain_id != second.domain_id
    first.release()
    third = DomainClaim()
    assert third.domain_id == first.domain_id
    second.release()
    third.release()


def test_a_domain_stays_claimed_while_a_child_that_was_handed_the_lock_lives() -> None:
    claim = DomainClaim()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[claim.fileno()])
    claim.release()
    while_it_lives = DomainClaim()
    child.communicate(b"\n")
    after_release = DomainClaim()
    assert while_it_lives.domain_id != claim.domain_id
    assert after_release.domain_id == claim.domain_id
    while_it_lives.release()
    after_release.release()


def test_only_memory_of_dead_processes_is_removed(tmp_path: Path) -> None:
    dead, alive, young = (f"fastrtps_{digit * 16}" for digit in "012")
    for name in (dead, alive, young):
        (tmp_path / name).write_bytes(bytes(8))
        (tmp_path / f"{name}_el").touch()
    (tmp_path / "fastrtps_port7410_el").touch()
    for path in tmp_path.iterdir():
        if young not in path.name:
            os.utime(path, (0, 0))
    with (tmp_path / f"{alive}_el").open() as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)  # as Fast DDS does
        assert remove_abandoned_segments(tmp_path) == 1
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {alive, f"{alive}_el", young, f"{young}_el", "fastrtps_port7410_el"}
