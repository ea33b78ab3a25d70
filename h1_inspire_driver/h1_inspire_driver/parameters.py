# SPDX-License-Identifier: Apache-2.0
"""The parameters of inspire_driver. Defaults are Unitree's convention for the H1-2, and gentle.

Addresses: `Headless_driver_l.py` and `Headless_driver_r.py` of inspire_hand_ws; its `Headless_driver_double.py` has
left and right the other way round. If the wrong hand moves, swap the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from h1_training_node.forms import check_host
from h1_training_node.parameter import parameter


@dataclass(frozen=True)
class DriverParameters:
    """Where the hands are, how fast they are read and written, how fast and hard they may move."""

    left_host: str = parameter(
        "192.168.123.211", "address of the left hand; empty: no left hand is fitted", check=check_host
    )
    left_port: int = parameter(6000, "Modbus TCP port of the left hand", low=1, high=65535)
    right_host: str = parameter(
        "192.168.123.210", "address of the right hand; empty: no right hand is fitted", check=check_host
    )
    right_port: int = parameter(6000, "Modbus TCP port of the right hand", low=1, high=65535)
    unit_id: int = parameter(1, "Modbus unit id of both hands", low=0, high=255)
    rate_hz: float = parameter(25.0, "how often each hand is read and published", unit="Hz", low=20.0, high=100.0)
    write_rate_hz: float = parameter(20.0, "most writes to one hand", unit="Hz", low=1.0, high=20.0)
    min_change_raw: int = parameter(5, "raw angle changes below this are not written", unit="1/1000", low=0, high=50)
    speed_raw: int = parameter(500, "SPEED_SET of every finger; 1000 is full travel in 0.6 s", low=1, high=1000)
    force_g: int = parameter(
        500,
        "FORCE_SET of every finger, at which it stops closing; the hand keeps it by itself if this driver dies, so it "
        "must harm neither what it holds nor a person's finger for as long as nobody comes",
        unit="g",
        low=0,
        high=1000,
    )
    answer_timeout_s: float = parameter(
        2.0, "longest wait for a hand's answer; hands pause for up to 1.5 s", unit="s", low=0.05, high=5.0
    )
    reconnect_pause_s: float = parameter(
        0.35,
        "pause before the first reconnection; the hand frees its only client slot 0.3 s after a close",
        unit="s",
        low=0.3,
        high=5.0,
    )
    reconnect_pause_max_s: float = parameter(2.0, "longest pause between reconnections", unit="s", low=0.3, high=60.0)
    command_timeout_s: float = parameter(0.2, "a command older than this is ignored", unit="s", low=0.02, high=0.2)
    session_timeout_s: float = parameter(
        0.5, "session/state silent for this long: the fingers stop", unit="s", low=0.1, high=0.5
    )
    bytes_high_first: bool = parameter(
        True,
        "order of the two bytes in the registers of ERROR, STATUS and TEMP; the vendor's SDK has the high one first",
    )

    def __post_init__(self) -> None:
        if not (self.left_host or self.right_host):
            raise ValueError(
                "left_host and right_host are both empty: there is no hand to drive; leave inspire_driver out"
            )
        if self.reconnect_pause_max_s < self.reconnect_pause_s:
            raise ValueError(
                f"reconnect_pause_max_s is {self.reconnect_pause_max_s:g} s; expected no less than reconnect_pause_s,"
                f" which is {self.reconnect_pause_s:g} s"
            )
        ends = {(self.left_host, self.left_port), (self.right_host, self.right_port)}
        if len(ends) == 1:
            raise ValueError(f"left and right are both {self.left_host}:{self.left_port}; a hand serves one client")
