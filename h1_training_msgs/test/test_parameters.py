# SPDX-License-Identifier: Apache-2.0
"""A parameter that cannot be used is named, with what is allowed."""

from dataclasses import dataclass

import pytest
from rclpy.node import Node

from h1_training_node.base_node import declared
from h1_training_node.parameter import ParameterError, from_values, parameter
from h1_training_testing import Graph


@dataclass(frozen=True)
class Config:
    rate: float = parameter(50.0, "rows per second", unit="Hz", low=1.0, high=100.0)
    host: str = parameter("localhost", "peer")
    mode: str = parameter("auto", "format", choices=("auto", "bare"))
    gains: tuple[float, ...] = parameter((1.0, 2.0), "gains", low=0.0)

    def __post_init__(self) -> None:
        if len(self.gains) != 2:
            raise ValueError(f"'gains' has {len(self.gains)} values; expected 2")


def test_a_whole_number_is_good_enough_for_a_float() -> None:
    assert from_values(Config, {"rate": 30}).rate == 30.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 500.0}, "'rate' is 500.0 Hz; the greatest allowed is 100.0 Hz"),
        ({"rate": float("nan")}, "'rate' is nan"),
        ({"rate": True}, "'rate' is True"),
        ({"rate": "fast"}, "'rate' is 'fast'"),
        ({"mode": "maybe"}, "expected one of auto, bare"),
        ({"gains": [1.0, -1.0]}, "'gains' is -1.0; the least allowed is 0.0"),
        ({"gains": [1.0]}, "'gains' has 1 values; expected 2"),
        ({"gains": 3.0}, "expected a list"),
        ({"hots": "x"}, "unknown parameter 'hots'; did you mean 'host'?"),
    ],
)
def test_an_unusable_value_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        from_values(Config, values, owner="camera")


def node_with(*arguments: str) -> Node:
    return Node("probe", cli_args=["--ros-args", *arguments])


def test_a_node_refuses_a_misspelt_parameter_with_the_nearest_name(graph: Graph) -> None:
    node = graph.add(node_with("-p", "hst:=example"))
    with pytest.raises(ParameterError, match=r"/probe: unknown parameter 'hst'; did you mean 'host'\?"):
        declared(node, Config)


def test_a_node_reads_what_it_is_given_and_describes_the_rest(graph: Graph) -> None:
    node = graph.add(node_with("-p", "rate:=20", "-p", "gains:=[3.0, 4.0]"))
    config = declared(node, Config)
    assert (config.rate, config.gains, config.host) == (20.0, (3.0, 4.0), "localhost")
    descriptor = node.describe_parameter("rate")
    assert descriptor.description == "rows per second [Hz]"
    assert descriptor.read_only
