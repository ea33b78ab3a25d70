# SPDX-License-Identifier: Apache-2.0
"""Recorded chunks: every strategy is given the very same ones."""

from __future__ import annotations

import numpy as np
import pytest
from policy_recording import Recording, record

from h1_policy_bridge.strategies import STRATEGIES, TICK_NS, StrategyConfig

MS = 1_000_000


def motion(ticks: int = 250) -> np.ndarray:
    return np.sin(0.02 * np.arange(ticks))[:, None] * np.linspace(0.1, 0.4, 14)


def undecided(state: np.ndarray, now_ns: int) -> np.ndarray:
    """Goes on from the state, with an error that depends on the moment."""
    tick = now_ns // TICK_NS
    ahead = np.sin(0.02 * (tick + np.arange(50)))[:, None] * np.linspace(0.1, 0.4, 14)
    return ahead + np.random.default_rng(tick).normal(0, 0.02, 14)


def recording() -> Recording:
    return record(undecided, motion(), lambda: 200 * MS)


def test_every_strategy_plays_chunks_of_the_recording_and_of_where_its_arms_are():
    made = recording()
    for name, make in STRATEGIES.items():
        played = made.played(lambda make=make: make(StrategyConfig()), 150)
        for chunk in played.chunks:
            tick = int(np.argmin(np.abs(made.actions - chunk.actions).max(axis=(1, 2))))
            np.testing.assert_array_equal(made.actions[tick], chunk.actions)
            assert np.linalg.norm(made.states[tick] - chunk.state) < 0.2, name


def test_playing_a_recording_again_gives_the_same():
    made = recording()
    first, again = (made.played(lambda: STRATEGIES["blend"](StrategyConfig()), 150) for _ in range(2))
    np.testing.assert_array_equal(first.positions, again.positions)


def test_a_strategy_that_waits_is_given_what_was_seen_from_where_it_waits():
    made = recording()
    played = made.played(lambda: STRATEGIES["open_loop"](StrategyConfig()), 150)
    assert played.held_ticks >= 10
    assert np.abs(played.chunks[1].actions[0] - played.chunks[0].actions[-1]).max() < 0.1


def test_a_recording_is_a_file_that_holds_no_program(tmp_path):
    made, path = recording(), tmp_path / "chunks.npz"
    made.save(path)
    read = Recording.load(path)
    np.testing.assert_array_equal(read.actions, made.actions)
    np.testing.assert_array_equal(read.latency_ns, made.latency_ns)
    np.savez(path, states=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        Recording.load(path)


def test_a_policy_that_fails_cannot_be_recorded():
    with pytest.raises(ValueError, match="no chunk at some ticks"):
        record(lambda state, now_ns: None, motion(3), lambda: 0)
