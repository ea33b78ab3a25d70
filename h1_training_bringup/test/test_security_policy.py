"""The security policy as a file: what it allows, and that what is no policy is refused by name."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_share_directory
from security_rules import NODES, PolicyError, Rules, relative, rules_in

SHARE = Path(get_package_share_directory("h1_training_bringup"))
POLICY = """<policy version="0.2.0"><enclaves><enclave path="/a"><profiles><profile ns="/" node="a">
<topics publish="ALLOW"><topic>t</topic></topics><services reply="ALLOW"><service>a/s</service></services>
</profile></profiles></enclave></enclaves></policy>"""


def test_a_policy_is_read_by_node_and_kind() -> None:
    assert rules_in(POLICY) == {"a": Rules(publish=frozenset({"t"}), reply=frozenset({"a/s"}))}


def test_the_file_has_each_node_of_the_session_in_an_enclave_of_its_own() -> None:
    root = ElementTree.parse(SHARE / "security/policies.xml").getroot()
    enclaves = {
        enclave.get("path"): [p.get("node") for p in enclave.iter("profile")] for enclave in root.iter("enclave")
    }
    assert enclaves == {f"/{node}": [node] for node in NODES}
    assert {profile.get("ns") for profile in root.iter("profile")} == {"/"}


@pytest.mark.parametrize("namespace", ["/", "/alice", "/lab/alice"])
def test_names_are_relative_to_the_namespace_but_for_those_that_no_namespace_changes(namespace: str) -> None:
    space = namespace.rstrip("/")
    published = [f"{space}/sim/arm_sdk", f"{space}/arm_status", "/rosout", "/diagnostics"]
    assert relative(namespace, published) == {"/arm_sdk", "arm_status", "/rosout", "/diagnostics"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<policy", "is not XML"),
        ('<policy version="9"/>', "expected a policy of 0.2.0"),
        (POLICY.replace("ALLOW", "DENY"), "is not understood"),
        (POLICY.replace('node="a"', 'node=""'), "is no name"),
        (POLICY.replace("</profiles>", '<profile ns="/" node="a"/></profiles>'), "was there before"),
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
