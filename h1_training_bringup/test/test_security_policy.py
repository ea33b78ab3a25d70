# SPDX-License-Identifier: Apache-2.0
"""What the security files allow; `test_session_watch.py` holds the policy against a running session."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from security_rules import rules_in

SHARE = Path(get_package_share_directory("h1_training_bringup"))


def test_only_those_who_must_command_the_motors_may() -> None:
    allowed = rules_in((SHARE / "security/policies.xml").read_text())
    assert {node for node, rules in allowed.items() if "/arm_sdk" in rules["publish"]} == {"arm_driver", "arm_guard"}
    asking = {node for node, rules in allowed.items() if "arm_driver/set_mode" in rules.get("request", ())}
    assert asking == {"session_manager"}
    assert {node for node, rules in allowed.items() if "policy/action" in rules["publish"]} == {"policy_bridge"}


def test_the_simulations_middleware_is_bound_to_the_loopback_interface() -> None:
    space = {"d": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    root = ElementTree.parse(SHARE / "security/this_machine_only.xml").getroot()
    assert [item.text for item in root.iterfind(".//d:interfaceWhiteList/d:address", space)] == ["127.0.0.1"]
    assert [item.text for item in root.iterfind(".//d:useBuiltinTransports", space)] == ["false"]
