# SPDX-License-Identifier: Apache-2.0
"""Labels of a person's rows: measured lag, look-ahead, commands; where rows have an action at all."""

from __future__ import annotations

import json

import numpy as np
import pytest
from export_builders import NEXT_ROW, made

from h1_recorder.episode.episode import Episode
from h1_recorder.export.arm_response import LabelError, fitted, is_commanded, response
from h1_recorder.export.labels import Labelling, ahead_rows, has_action, labelled, later

UNKNOWN = fitted([])


def following(lag: int, friction_nm: float = 0.0) -> Episode:
    """A policy moves all joints up and down; they follow `lag` rows later, held back by dry friction."""
    episode = made(("policy", 400), ("human", 100))
    rows = np.arange(500)
    motion = 0.3 * np.sin(rows / 30)[:, None] * np.ones(14)
    episode.qpos[:], episode.qvel[:] = motion, 0.5 * np.cos(rows / 30)[:, None] * np.ones(14)
    episode.action[: 400 - lag] = motion[lag:400]
    episode.stamps["action"][400 - lag :] = -1
    episode.applied_action[:400] = (motion + friction_nm / 100 * np.sign(episode.qvel))[:400]
    return episode


@pytest.mark.parametrize("lag", [2, 5])
def test_the_lag_of_the_arms_is_measured_from_the_policys_rows(lag: int) -> None:
    model = fitted([response(following(lag))])
    assert model.lookahead_rows == lag
    assert np.allclose(model.lag_rows, lag, atol=0.1)


def test_responses_of_episodes_add_up_to_that_of_all() -> None:
    one, other = response(following(2)), response(following(4))
    assert 2 < np.median(fitted([one, other]).lag_rows) < 4
    assert np.array_equal((one + other).error, (other + one).error)


def test_a_lag_is_not_made_up_where_nothing_moved_or_no_policy_ran() -> None:
    still = following(3)
    still.qvel[:] = 0.0
    for episode in (still, made(("human", 200))):
        model = fitted([response(episode)])
        assert model.lookahead_rows is None and model.spread_rows is None and not model.dry_nm.any()
    with pytest.raises(LabelError, match="give it: --lookahead ROWS"):
        labelled(made(("human", 50)), Labelling("lookahead"), UNKNOWN)


def test_dry_friction_is_found_in_what_the_driver_had_to_lead_by() -> None:
    assert np.allclose(fitted([response(following(3, friction_nm=0.6))]).dry_nm, 0.6, atol=0.05)


def test_a_look_ahead_label_is_where_the_person_had_the_joints_so_many_rows_later() -> None:
    episode = made(("policy", 20), ("human", 30))
    for rows in (1, 4):
        found = labelled(episode, Labelling("lookahead", rows), UNKNOWN)
        assert np.array_equal(found[:20], episode.action[:20])
        assert np.allclose(found[20 : 50 - rows], episode.qpos[20 + rows :])
        assert np.allclose(found[50 - rows :], episode.qpos[-1]), "beyond the end it stays there"


def test_no_label_looks_across_a_break_or_a_handover() -> None:
    episode = made(("human", 30), ("policy", 20), ("human", 30), breaks_before=(65,))
    found = labelled(episode, Labelling("lookahead", 5), UNKNOWN)
    for last in (29, 64, 79):
        assert np.allclose(found[last - 4 : last + 1], episode.qpos[last])


def test_a_command_leads_by_delay_stopping_distance_and_friction() -> None:
    episode, model = made(("human", 60)), fitted([response(following(3, friction_nm=0.6))])
    found = labelled(episode, Labelling("command"), model)
    expected = later(episode.qpos.astype(float), 0.028 * 50) + 0.5**2 / (2 * 15.0) + model.dry_nm / 100
    assert np.allclose(found, expected, atol=1e-3)


def test_a_command_never_leads_by_more_friction_than_joints_have() -> None:
    episode = made(("human", 60))
    held_back = fitted([response(following(3, friction_nm=50.0))])
    most = labelled(episode, Labelling("command"), held_back) - labelled(episode, Labelling("command"), UNKNOWN)
    assert np.allclose(most, 0.05, atol=1e-5)


@pytest.mark.parametrize("attribute", ["gains", "limits"])
@pytest.mark.parametrize("value", [None, "", "[]", json.dumps({"kp": [0.0] * 14}), json.dumps({"kp": "x"})])
def test_what_a_command_needs_and_was_not_recorded_is_named(attribute: str, value: str | None) -> None:
    episode = made(("human", 20))
    episode.attributes.pop(attribute)
    if value is not None:
        episode.attributes[attribute] = value
    with pytest.raises(LabelError, match=f"attribute '{attribute}' has no 14 positive values .* --labels lookahead"):
        labelled(episode, Labelling("command"), UNKNOWN)
    assert len(labelled(episode, NEXT_ROW, UNKNOWN)) == 20


def test_rows_without_an_action_of_their_own_are_distinguished() -> None:
    episode = made(("policy", 20), ("human", 20), ("policy", 10))
    episode.stamps["action"][:3] = -1  # before the first action the arms hold
    episode.stamps["action"][17:20] -= 200_000_000  # the policy fell silent
    commanded = is_commanded(episode)
    assert set(np.flatnonzero(~commanded)) == {0, 1, 2, 17, 18, 19, *range(20, 40)}
    valid = has_action(episode, commanded, ahead_rows(Labelling("lookahead", 4), UNKNOWN, 50))
    assert set(np.flatnonzero(~valid)) == {0, 1, 2, 17, 18, 19, 36, 37, 38, 39}
