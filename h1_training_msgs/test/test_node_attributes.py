# SPDX-License-Identifier: Apache-2.0
"""No node assigns an attribute that rclpy's Node or BaseNode has: it would break services or events in silence."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from rcl_interfaces.srv import GetParameters

from h1_training_node.base_node import BaseNode
from h1_training_testing import Graph

PACKAGES = ("h1_training_bringup", "h1_inspire_driver", "h1_policy_bridge", "h1_recorder", "h1_session_manager")


def node_classes() -> Iterator[tuple[Path, ast.ClassDef]]:
    for package in PACKAGES:
        spec = find_spec(package)
        for folder in spec.submodule_search_locations or () if spec is not None else ():
            for path in sorted(Path(folder).rglob("*_node.py")):
                for node in ast.walk(ast.parse(path.read_text())):
                    if isinstance(node, ast.ClassDef) and any("Node" in ast.unparse(base) for base in node.bases):
                        yield path, node


def assigned(node: ast.ClassDef) -> set[str]:
    """Names of `self.NAME = ...` in the class."""
    return {
        target.attr
        for target in ast.walk(node)
        if isinstance(target, ast.Attribute)
        and isinstance(target.ctx, ast.Store)
        and isinstance(target.value, ast.Name)
        and target.value.id == "self"
    }


def test_no_node_assigns_an_attribute_of_its_base(graph: Graph) -> None:
    taken = {*vars(graph.add(BaseNode("probe"))), *dir(BaseNode)}
    found = [(path, node) for path, node in node_classes()]
    if not found:
        pytest.skip("none of the other packages is there")
    offenders = [f"{path.name}: {node.name}.{name}" for path, node in found for name in assigned(node) & taken]
    assert offenders == []


def test_parameters_of_a_node_can_be_read_by_service(graph: Graph) -> None:
    node = graph.add(BaseNode("with_parameters"))
    node.declare_parameter("rate", 5.0)
    client = graph.add(BaseNode("asking")).create_client(GetParameters, "with_parameters/get_parameters")
    graph.spin_until(client.service_is_ready, "the service is there")
    future = client.call_async(GetParameters.Request(names=["rate"]))
    graph.spin_until(future.done, "an answer")
    assert future.result().values[0].double_value == 5.0
