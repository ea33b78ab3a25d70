# SPDX-License-Identifier: Apache-2.0
"""Two graphs on one machine never share a domain."""

import subprocess
import sys

from h1_training_node.domain import DomainClaim


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
