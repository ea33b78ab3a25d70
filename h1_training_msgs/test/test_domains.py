"""Two graphs on one machine never share a domain."""

from h1_training_node.domain import DomainClaim


def test_two_claims_get_two_domains_and_a_released_one_is_free_again() -> None:
    first, second = DomainClaim(), DomainClaim()
    assert first.domain_id != second.domain_id
    first.release()
    third = DomainClaim()
    assert third.domain_id == first.domain_id
    second.release()
    third.release()
