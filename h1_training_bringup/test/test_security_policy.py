# SPDX-License-Identifier: Apache-2.0
"""The security policy as a file: what is written can be read, and what is no policy is refused by name."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_share_directory
from hypothesis import given, settings
from hypothesis import strategies as st

from h1_training_bringup.session.security_policy import NODES, PolicyError, Rules, Seen, policy_xml, rules_in

SHARE = Path(get_package_share_directory("h1_training_bringup"))
NAMES = st.frozensets(st.from_regex(r"/?[a-z_]{1,8}(/[a-z_]{1,8}){0,2}", fullmatch=True), max_size=4)
RULES = st.builds(Rules, publish=NAMES, subscribe=NAMES, request=NAMES, reply=NAMES)


@given(st.dictionaries(st.sampled_from(NODES), RULES))
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_what_is_read(rules: dict[str, Rules]) -> None:
    assert rules_in(policy_xml(rules, "/alice")) == rules


@pytest.mark.parametrize("namespace", ["/", "/alice", "/lab/alice"])
def test_names_are_relative_to_the_namespace_but_for_those_that_no_namespace_changes(namespace: str) -> None:
    space = namespace.rstrip("/")
    published = [f"{space}/sim/arm_sdk", f"{space}/arm_status", "/rosout", "/diagnostics"]
    seen = Seen("arm_driver", namespace, {"publish": published, "reply": [f"{space}/arm_driver/set_mode"]})
    assert seen.rules() == Rules(
        publish=frozenset({"/arm_sdk", "arm_status", "/rosout", "/diagnostics"}),
        reply=frozenset({"arm_driver/set_mode"}),
    )


def test_a_namespace_stands_in_enclave_and_profile() -> None:
    root = ElementTree.fromstring(policy_xml({"recorder": Rules(publish=frozenset({"recorder/status"}))}, "/alice"))
    (enclave,) = root.iter("enclave")
    (profile,) = root.iter("profile")
    assert enclave.get("path") == "/alice/recorder"
    assert (profile.get("ns"), profile.get("node")) == ("/alice", "recorder")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<policy", "is not XML"),
        ('<policy version="9"/>', "expected a policy of 0.2.0"),
        (policy_xml({"a": Rules(publish=frozenset({"t"}))}).replace("ALLOW", "DENY"), "is not understood"),
        (policy_xml({"a": Rules()}).replace('node="a"', 'node=""'), "is no name"),
    ],
)
def test_what_is_no_policy_is_refused_with_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        rules_in(text)


def test_only_those_who_must_command_the_motors_may() -> None:
    allowed = rules_in((SHARE / "security/policies.xml").read_text())
    assert {node for node, rules in allowed.items() if "/arm_sdk" in rules.publish} == {"arm_driver", "arm_guard"}
    assert {node for node, rules in allowed.items() if "arm_driver/set_mode" in rules.request} == {"session_manager"}
    assert {node for node, rules in allowed.items() if "policy/action" in rules.publish} == {"policy_bridge"}


def test_the_simulations_middleware_is_bound_to_the_loopback_interface() -> None:
    space = {"d": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    root = ElementTree.parse(SHARE / "security/this_machine_only.xml").getroot()
    assert [item.text for item in root.iterfind(".//d:interfaceWhiteList/d:address", space)] == ["127.0.0.1"]
    assert [item.text for item in root.iterfind(".//d:useBuiltinTransports", space)] == ["false"]
