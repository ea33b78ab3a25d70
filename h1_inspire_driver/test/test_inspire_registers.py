# SPDX-License-Identifier: Apache-2.0
"""The register map: numbers in and out."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h1_inspire_driver.registers import (
    LEAVE,
    ImplausibleError,
    angles_of,
    faults_of,
    forces_of,
    opening_of,
    raw_angle,
    signed,
    unpacked_bytes,
)


def test_a_thousand_is_open_and_zero_is_closed() -> None:
    assert opening_of(1000) == 1.0
    assert opening_of(0) == 0.0


@given(st.integers(0, 1000))
def test_an_angle_survives_the_way_there_and_back(angle: int) -> None:
    assert raw_angle(opening_of(angle)) == angle


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_finite_opening_becomes_an_angle_in_range(opening: float) -> None:
    assert 0 <= raw_angle(opening) <= 1000


def test_nan_leaves_the_finger() -> None:
    assert raw_angle(math.nan) == LEAVE


def test_registers_are_signed_in_twos_complement() -> None:
    assert signed([0, 1, 0x7FFF, 0x8000, 0xFFFF, 0xF060]) == (0, 1, 32767, -32768, -1, -4000)


def test_six_bytes_come_out_of_three_registers_in_either_order() -> None:
    assert unpacked_bytes([0x0102, 0x0304, 0x0506], high_first=True) == (1, 2, 3, 4, 5, 6)
    assert unpacked_bytes([0x0102, 0x0304, 0x0506], high_first=False) == (2, 1, 4, 3, 6, 5)


def test_an_angle_that_overshoots_a_little_is_taken_as_it_is() -> None:
    assert angles_of([0xFFFE, 1003, 0, 1000, 500, 1]) == (-2, 1003, 0, 1000, 500, 1)


@pytest.mark.parametrize("registers", [[2000, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0x8000]])
def test_an_angle_that_is_none_is_refused_by_name(registers: list[int]) -> None:
    with pytest.raises(ImplausibleError, match=r"ANGLE_ACT of (little|thumb rotation)"):
        angles_of(registers)


def test_a_force_that_is_none_is_refused() -> None:
    assert forces_of([0xF060, 4000, 0, 0, 0, 0])[:2] == (-4000, 4000)
    with pytest.raises(ImplausibleError, match="FORCE_ACT of ring is 20000"):
        forces_of([0, 20000, 0, 0, 0, 0])


def test_faults_are_named_by_finger() -> None:
    assert faults_of((0, 0, 0, 0b101, 0, 0), (2, 7, 2, 2, 2, 2)) == (
        "ring actuator fault",
        "index stalled",
        "index over-current",
    )
