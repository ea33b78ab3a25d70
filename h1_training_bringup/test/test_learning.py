# SPDX-License-Identifier: Apache-2.0
"""The loop learns: demonstrations at virtual time, a training, unseen objects; and the curve that shows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from h1_policy_bridge.training_server.rows import EpisodeRows
from h1_policy_bridge.training_server.small import HoldPolicy, SmallSettings, fit, samples
from h1_training_bringup.arm_driver.parameters import ArmParameters
from h1_training_bringup.arm_driver.stiff import collision_model
from h1_training_bringup.sim import learning_curve
from h1_training_bringup.sim.learn import Evaluator, Plan, parse
from h1_training_bringup.sim.learning_curve import FIXED, SEALED, CurveRow, missed, wilson
from h1_training_bringup.sim.virtual_session import VirtualSession

DEMONSTRATIONS, EVALUATED, UNSEEN = 14, 12, 5000
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def session() -> VirtualSession:
    return VirtualSession(1)


@pytest.fixture(scope="module")
def demonstrations(session: VirtualSession) -> list[EpisodeRows]:
    """A person's demonstrations, as a recorder would have them."""
    found = [session.episode(None, 0, number, corrects=True, records=True) for number in range(DEMONSTRATIONS)]
    assert all(one.corrected_m is not None and one.corrected_m < 0.03 for one in found), "a person can show the task"
    return [one.rows for one in found if one.rows is not None]


def test_every_object_lies_where_the_arm_driver_lets_the_arms_reach_it(demonstrations) -> None:
    parameters = ArmParameters()
    model = collision_model(parameters)
    nearest = min(model.distances(q, 0.0).min() for rows in demonstrations for q in rows.qpos[::10])
    assert nearest > parameters.min_distance_m + 0.003


def successes(session: VirtualSession, policy: object) -> int:
    found = [session.episode(policy, UNSEEN, number, corrects=False, records=False) for number in range(EVALUATED)]
    return sum(one.succeeded for one in found)


def test_one_training_lifts_success_on_unseen_objects_from_nothing_above_what_chance_reaches(
    session, demonstrations
) -> None:
    assert successes(session, HoldPolicy()) == 0
    settings = SmallSettings()
    assert successes(session, fit(samples(demonstrations, settings), settings)) >= 8


@pytest.mark.parametrize("sees", ["caption", "blind"])
def test_a_policy_that_sees_only_where_a_caption_would_be_or_nothing_learns_nothing(
    session, demonstrations, sees: str
) -> None:
    settings = SmallSettings(sees=sees)
    assert successes(session, fit(samples(demonstrations, settings), settings)) <= 1, (
        "a hand that goes to the middle meets few"
    )


def test_zeros_as_labels_teach_nothing(session, demonstrations) -> None:
    settings = SmallSettings(labels="zeros")
    assert successes(session, fit(samples(demonstrations, settings), settings)) == 0


def test_an_episode_has_a_policys_rows_then_the_persons_and_the_operator_is_stricter_than_the_test(session) -> None:
    found = session.episode(HoldPolicy(), 3, 3, corrects=True, records=True)
    assert (found.verdict, found.succeeded) == ("stuck", False)
    assert found.policy_s == pytest.approx(1.5, abs=0.1)
    assert found.human_s > 2.0 and found.corrected_m < 0.03
    rows = found.rows
    human = np.flatnonzero(rows.is_human)
    assert not rows.is_human[: human[0]].any() and rows.is_human[human[0] :].all()
    assert not rows.action[human].any() and rows.action[: human[0]].any()
    assert rows.image(0).shape == (224, 224, 3)


def test_the_same_seed_shows_the_same_again() -> None:
    one, other = (VirtualSession(2).episode(None, 1, 1, corrects=True, records=True).rows.qpos for _ in range(2))
    np.testing.assert_array_equal(one, other)


def row(epoch: int, success: float, *, objects: str = FIXED, **changes: object) -> CurveRow:
    low, high = wilson(round(48 * success), 48)
    made = CurveRow(
        1, epoch, 6 * epoch, 900, 0.2, 1.0, 3.0, 1.0, round(48 * success), 48, success, low, high, "", objects
    )
    return replace(made, **changes)


def test_what_is_below_the_bar_is_named() -> None:
    good = [row(0, 0.0), row(6, 0.96), row(6, 0.92, objects=SEALED)]
    assert missed(good) == []
    assert "untrained" in missed([row(0, 0.1), *good[1:]])[0]
    assert "epoch 6, sealed objects: 0.800" in missed([*good[:2], row(6, 0.8, objects=SEALED)])[0]
    assert "corrections an episode" in missed([good[0], row(6, 0.96, corrections_per_episode=0.5), good[2]])[0]
    assert "a training took" in missed([good[0], row(6, 0.96, train_s=11.0), good[2]])[0]
    assert "an inference takes" in missed([good[0], row(6, 0.96, infer_ms=6.0), good[2]])[0]
    assert missed([*good, row(6, 0.1, objects="pale object")]) == [], "what is only looked at has no bar"


def test_wilsons_interval_is_the_known_one() -> None:
    assert wilson(9, 10) == pytest.approx((0.596, 0.982), abs=1e-3)
    assert wilson(0, 48)[0] == 0.0 and wilson(0, 48)[1] == pytest.approx(0.074, abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_curve_keeps_what_other_seeds_and_ablations_came_to(tmp_path: Path) -> None:
    learning_curve.save([row(0, 0.0), row(6, 0.9)], tmp_path)
    learning_curve.save([row(0, 0.0, seed=2)], tmp_path)
    learning_curve.save([row(6, 0.0, ablation="zeros")], tmp_path)
    learning_curve.save([row(0, 0.0), row(6, 0.96)], tmp_path)
    rows = learning_curve.load(tmp_path / "curve.json")
    assert sorted((one.seed, one.ablation, one.success) for one in rows) == [
        (1, "", 0.0),
        (1, "", 0.96),
        (1, "zeros", 0.0),
        (2, "", 0.0),
    ]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "curve.json").write_text("[{]")
    assert learning_curve.load(tmp_path / "curve.json") == []
    learning_curve.save([row(0, 0.0)], tmp_path)
    assert len(learning_curve.load(tmp_path / "curve.json")) == 1
    assert (tmp_path / "curve.json.unreadable").read_text() == "[{]", "it may be of another version"


def test_the_two_sets_of_objects_share_none_with_each_other_or_with_the_episodes() -> None:
    from h1_training_bringup.sim.learn import _SETS
    from h1_training_bringup.sim.scene import scene_object

    sets = [{scene_object(epoch, number, 0).position_m for number in range(48)} for epoch in (*_SETS.values(), 0, 1, 5)]
    assert sum(len(one) for one in sets) == len(set().union(*sets)) == 5 * 48


def test_a_row_counts_successes_and_times_inferences() -> None:
    from h1_training_bringup.sim.learn import Collected

    made = Evaluator(Plan(seed=1, evaluated=2)).row(HoldPolicy(), 0, Collected(), 0.0)
    assert (made.successes, made.attempts, made.episodes, made.corrections_per_episode) == (0, 2, 0, 0.0)
    assert 0 < made.infer_ms < 5


@pytest.mark.parametrize(
    "arguments",
    [
        ["--epochs", "0"],
        ["--ablation", "nothing"],
        ["--fast", "--trainer", "x.yaml"],
        ["--seeds", "-1"],
        ["--only-ends"],
        ["--task", "lift"],
    ],
)
def test_a_command_line_that_cannot_work_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2


def test_each_task_has_a_curve_of_its_own(tmp_path: Path) -> None:
    assert parse([]).out == Path("data/learn")
    assert parse(["--task", "push"]).out == Path("data/learn/push")
    assert parse(["--task", "push", "--out", str(tmp_path)]).out == tmp_path


def test_human_seconds_are_what_two_ways_of_teaching_are_compared_by(tmp_path: Path) -> None:
    rows = [row(0, 0.0), row(6, 0.9, human_rows=500), row(6, 0.8, human_rows=2000, ablation="demonstrations")]
    for by_person in (False, True):
        learning_curve.draw(rows, tmp_path / f"{by_person}.png", by_person=by_person)
    assert (tmp_path / "True.png").read_bytes() != (tmp_path / "False.png").read_bytes()
