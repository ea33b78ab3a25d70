# SPDX-License-Identifier: Apache-2.0
"""Which rows a dataset takes, where it splits, which files validate, and what rows weigh."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from export_builders import made
from hypothesis import given
from hypothesis import strategies as st

from h1_recorder.export.selection import (
    PRE_INTERVENTION_NS,
    ROW_KINDS,
    Selection,
    kind_weights,
    pre_intervention,
    row_kinds,
    validation,
)

EPISODE = made(("policy", 40), ("human", 30), ("policy", 60), ("human", 20), breaks_before=(55, 100))
RUNS = ((0, 40), (40, 55), (55, 70), (70, 100), (100, 130), (130, 150))
ALL = np.full(150, True)


@pytest.mark.parametrize(
    ("split", "expected"),
    [("runs", RUNS), ("segments", ((0, 55), (55, 100), (100, 150))), ("none", ((0, 150),))],
)
def test_a_dataset_splits_where_it_is_asked_to(split: str, expected: tuple[tuple[int, int], ...]) -> None:
    assert Selection(split=split).runs(EPISODE, ALL, ALL) == expected


@given(st.lists(st.tuples(st.sampled_from(["policy", "human"]), st.integers(1, 30)), min_size=1, max_size=8), st.data())
def test_no_run_crosses_a_handover_or_a_break_and_none_loses_a_row(
    runs: list[tuple[str, int]], data: st.DataObject
) -> None:
    length = sum(rows for _, rows in runs)
    breaks = data.draw(st.sets(st.integers(1, max(length - 1, 1)), max_size=4))
    episode = made(*runs, breaks_before=tuple(sorted(breaks)))
    found = Selection().runs(episode, np.full(length, True), np.full(length, True))
    assert [row for first, last in found for row in range(first, last)] == list(range(length))
    for first, last in found:
        assert len(set(episode.phase[first:last])) == 1 and len(set(episode.segment[first:last])) == 1


def test_rows_that_are_left_out_split_too() -> None:
    valid = ALL.copy()
    valid[[10, 69]] = False
    found = Selection(split="none", only_valid=True).runs(EPISODE, valid, ALL)
    assert found == ((0, 10), (11, 69), (70, 150))
    assert Selection(phase="human").runs(EPISODE, ALL, ALL) == ((40, 55), (55, 70), (130, 150))
    assert Selection(only_valid=True).runs(EPISODE, ~ALL, ALL) == ()


def test_episodes_are_chosen_by_outcome_epoch_and_time() -> None:
    attributes = EPISODE.attributes
    assert Selection().takes(attributes)
    assert Selection(outcomes=("success",), epochs=(3, 4)).takes(attributes)
    assert not Selection(outcomes=("failure", "unlabeled")).takes(attributes)
    assert not Selection(epochs=(2,)).takes(attributes)
    assert Selection(since=datetime(2026, 11, 27, 9, tzinfo=UTC)).takes(attributes)
    assert not Selection(since=datetime(2026, 11, 27, 9, 1, tzinfo=UTC)).takes(attributes)


@pytest.mark.parametrize(
    "wrong", [{"outcomes": ("good",)}, {"phase": "robot"}, {"split": "rows"}, {"val_share": 1.0}, {"val_share": -0.1}]
)
def test_a_choice_that_is_none_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Selection(**wrong)


@given(st.lists(st.uuids().map(str), min_size=2, max_size=60, unique=True), st.floats(0.01, 0.99), st.integers(0, 9))
def test_validation_takes_whole_files_and_leaves_some(uuids: list[str], share: float, seed: int) -> None:
    drawn = validation(uuids, share, seed)
    assert any(drawn) and not all(drawn)
    assert drawn == validation(uuids, share, seed)
    assert not any(validation(uuids, 0.0, seed))


def test_an_episode_keeps_its_split_when_others_come() -> None:
    uuids = [f"episode {number}" for number in range(400)]
    few, many = validation(uuids[:200], 0.2, 1), validation(uuids, 0.2, 1)
    assert sum(one != other for one, other in zip(few, many, strict=False)) <= 2, "but for the extremes"
    assert 50 < sum(many) < 110
    assert many != validation(uuids, 0.2, 2)


def test_the_second_before_a_person_takes_over_is_marked() -> None:
    marked = pre_intervention(EPISODE)
    tick = EPISODE.stamps["tick"]
    for handover in (39, 129):
        rows = (tick > tick[handover] - PRE_INTERVENTION_NS) & (tick <= tick[handover])
        assert marked[rows & (EPISODE.phase == "policy")].all()
    assert not marked[EPISODE.phase == "human"].any()
    assert marked.sum() == 40 + 30, "all of the first run, and of the second what lies after the break"


def test_rows_of_an_episode_without_a_policy_are_a_demonstration() -> None:
    assert set(row_kinds(made(("human", 20)))) == {ROW_KINDS.index("demonstration")}
    assert {ROW_KINDS[kind] for kind in row_kinds(EPISODE)} == {"intervention", "pre_intervention", "unsuccessful"}


@pytest.mark.parametrize(
    ("runs", "outcome", "expected"),
    [
        ((("policy", 80),), "success", ["policy"]),
        ((("policy", 80),), "failure", ["unsuccessful"]),
        ((("policy", 80),), "unlabeled", ["unsuccessful"]),
        ((("policy", 80), ("human", 30)), "success", ["unsuccessful", "pre_intervention", "intervention"]),
        ((("policy", 80), ("human", 4)), "success", ["policy", "pre_intervention", "intervention"]),
        (
            (("policy", 80), ("human", 30), ("policy", 80)),
            "success",
            ["unsuccessful", "pre_intervention", "intervention", "policy"],
        ),
    ],
)
def test_a_policys_rows_are_successful_after_the_last_correction_of_a_success(runs, outcome, expected) -> None:
    episode = made(*runs)
    kinds = row_kinds(replace(episode, attributes={**episode.attributes, "outcome": outcome}))
    found = [ROW_KINDS[kind] for kind in kinds]
    assert [kind for at, kind in enumerate(found) if at == 0 or found[at - 1] != kind] == expected


def test_success_weighs_a_person_fully_a_successful_policy_as_asked_and_nothing_else() -> None:
    weights = dict(zip(ROW_KINDS, kind_weights("success", (0, 200, 50, 650, 100), 0.5), strict=True))
    assert weights == {
        "demonstration": 1.0,
        "intervention": 1.0,
        "pre_intervention": 0.0,
        "policy": 0.5,
        "unsuccessful": 0.0,
    }


def test_sirius_gives_interventions_half_and_rows_before_them_nothing() -> None:
    rows = (100, 200, 50, 600, 50)
    weights = kind_weights("sirius", rows)
    mass = np.array(weights) * rows / sum(rows)
    assert np.allclose(mass, [0.1, 0.5, 0.0, 0.4 * 600 / 650, 0.4 * 50 / 650])


@given(st.sampled_from(["sirius", "human", "uniform"]), st.tuples(*[st.integers(0, 1000)] * 5).filter(any))
def test_weights_have_a_mean_of_one(scheme: str, rows: tuple[int, ...]) -> None:
    weights = np.array(kind_weights(scheme, rows))
    assert (weights >= 0).all()
    assert np.isclose((weights * rows).sum() / sum(rows), 1.0)
