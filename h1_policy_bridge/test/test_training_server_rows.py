# SPDX-License-Identifier: Apache-2.0
"""What a row teaches and how much it counts; the small policy learns what was shown and nothing it cannot see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from training_server_builders import HUMAN_ROWS, POLICY_ROWS, episode

from h1_policy_bridge.training_server.check import check, questions
from h1_policy_bridge.training_server.policy import TrainingError
from h1_policy_bridge.training_server.rows import (
    EpisodeRows,
    is_correction,
    read_rows,
    runs,
    sample_weights,
    way_points,
)
from h1_policy_bridge.training_server.small import HoldPolicy, KernelPolicy, SmallSettings, colourfulness, fit, samples
from h1_recorder.episode import episode as episode_file
from h1_recorder.export.selection import kind_weights, row_kinds

AHEAD = np.array([5, 25, 50])


def rows(*parts: tuple[bool, int, float], succeeded: bool = True, seed: int = 0) -> EpisodeRows:
    """Runs of (a person's?, rows, how far all joints move), one after the other; a spot in the image says how far."""
    qpos, human, segment, far = [], [], [], 0.0
    for number, (is_human, count, distance) in enumerate(parts):
        qpos.append(far + distance * np.linspace(0, 1, count)[:, None] * np.ones(14))
        human += [is_human] * count
        segment += [number] * count
        far += distance
    image = np.full((224, 224, 3), 128, np.uint8)
    cv2.circle(image, (round(112 + 200 * far), 112), 12, (255, 0, 0), -1)
    q, is_human_row = np.concatenate(qpos), np.array(human)
    action = np.where(is_human_row[:, None], 0.0, q + 0.01)
    tick = 20_000_000 * np.arange(len(q))
    return EpisodeRows("made", q, action, is_human_row, np.array(segment, np.int32), tick, succeeded, lambda _: image)


def test_runs_break_where_the_phase_or_the_time_breaks(tmp_path: Path) -> None:
    found = read_rows(episode(tmp_path, 0))
    assert [(run.start, run.stop, run.is_human) for run in runs(found)] == [
        (0, POLICY_ROWS, False),
        (POLICY_ROWS, POLICY_ROWS + HUMAN_ROWS, True),
    ]
    assert found.image(0).shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("parts", "succeeded", "expected"),
    [
        ([(False, 80, 0.1), (True, 50, 0.2)], True, [{0.0}, {1.0}]),
        ([(False, 80, 0.1), (True, 10, 0.01)], True, [{0.5, 0.0}, {1.0}]),
        ([(False, 80, 0.1), (True, 10, 0.01)], False, [{0.0}, {1.0}]),
        ([(False, 80, 0.1), (True, 50, 0.2), (False, 80, 0.1)], True, [{0.0}, {1.0}, {0.5}]),
    ],
)
def test_a_persons_rows_count_and_a_policys_only_if_nobody_had_to_correct_them(parts, succeeded, expected) -> None:
    made = rows(*parts, succeeded=succeeded)
    weights = sample_weights(made, 0.5)
    assert [set(weights[run.start : run.stop]) for run in runs(made)] == expected


def test_rows_weigh_what_an_export_gives_them(tmp_path: Path) -> None:
    path = episode(tmp_path, 0)
    read = episode_file.read(path)
    exported = np.array(kind_weights("success", [], 0.5))[row_kinds(read)]
    np.testing.assert_array_equal(sample_weights(read_rows(path), 0.5), exported)
    assert set(exported) == {0.0, 1.0}


def test_letting_the_arms_be_is_no_correction() -> None:
    made = rows((False, 50, 0.1), (True, 30, 0.04), (True, 30, 0.06))
    assert [is_correction(made, run) for run in runs(made)] == [False, False, True]


def test_a_persons_row_teaches_where_the_arms_are_later_a_policys_what_it_put_out_and_none_beyond_its_run() -> None:
    made = rows((False, 60, 0.6), (True, 60, 0.6))
    policy, human = runs(made)
    np.testing.assert_allclose(way_points(made, policy, 10, AHEAD, 2), made.action[[15, 35, 59]])
    np.testing.assert_allclose(way_points(made, human, 70, AHEAD, 2), made.qpos[[77, 97, 119]])


def learned(**settings: object) -> tuple[KernelPolicy, list[EpisodeRows]]:
    shown = [rows((True, 100, float(goal))) for goal in np.linspace(-0.4, 0.4, 9)]
    chosen = SmallSettings(**settings)
    return fit(samples(shown, chosen), chosen), [rows((True, 100, goal)) for goal in (-0.25, 0.05, 0.33)]


def aimed_at(policy: KernelPolicy, made: EpisodeRows) -> float:
    """Where all joints are to be in a second, from the middle of the demonstration, in the mean."""
    images = {"cam_head": made.image(0)}
    reply = policy.infer({"state": made.qpos[40].astype(np.float32), "images": images, "prompt": ""})
    assert reply["actions"].shape == (50, 14) and reply["actions"].dtype == np.float32
    return float(reply["actions"][-1].mean())


def test_the_small_policy_aims_where_the_image_says_for_goals_that_it_never_met() -> None:
    policy, unseen = learned()
    for made in unseen:
        assert aimed_at(policy, made) == pytest.approx(made.qpos[92].mean(), abs=0.05)


@pytest.mark.parametrize("settings", [{"labels": "zeros"}, {"split": "none"}])
def test_without_labels_a_policy_aims_at_zero(settings: dict[str, str]) -> None:
    policy, unseen = learned(**settings)
    for made in unseen:
        assert abs(aimed_at(policy, made)) < 0.06


def test_the_policys_own_rows_teach_nothing_unless_they_are_asked_for() -> None:
    episodes = [rows((False, 80, 0.1)), rows((True, 100, 0.3))]
    default, asked = samples(episodes, SmallSettings()), samples(episodes, SmallSettings(policy_weight=0.5))
    assert default.is_human.all() and set(asked.weight) == {0.5, 1.0}
    np.testing.assert_array_equal(asked.weight == 1.0, asked.is_human)


@pytest.mark.long
def test_what_a_policy_repeats_of_itself_does_not_choose_how_it_learns() -> None:
    goals = np.random.default_rng(1).uniform(-0.4, 0.4, 8)
    shown = [rows((True, 100, float(goal))) for goal in goals]
    unlike = [replace(one, image=other.image) for one, other in zip(shown, shown[::-1], strict=True)]
    repeated = [rows((False, 100, float(goal))) for goal in np.linspace(-0.4, 0.4, 24)]
    settings = SmallSettings(policy_weight=1.0)
    errors = [
        fit(samples(episodes, settings), settings).metrics["left_out_rms_rad"]
        for episodes in (unlike, [*unlike, *repeated])
    ]
    assert errors[1] > 0.8 * errors[0], "the error on what the person showed, however well the rest is foretold"


def test_weights_survive_their_file_and_another_file_is_refused(tmp_path: Path) -> None:
    policy, unseen = learned()
    policy.save(tmp_path / "policy.npz")
    again = KernelPolicy.read(tmp_path / "policy.npz")
    assert aimed_at(again, unseen[0]) == pytest.approx(aimed_at(policy, unseen[0]), abs=1e-3)
    (tmp_path / "other.npz").write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="no weights of the small policy"):
        KernelPolicy.read(tmp_path / "other.npz")
    np.savez(tmp_path / "pickled.npz", maps=np.array([{}], dtype=object))
    with pytest.raises(TrainingError, match="no weights of the small policy"):
        KernelPolicy.read(tmp_path / "pickled.npz")


def test_nothing_to_learn_from_is_an_error_that_says_so() -> None:
    with pytest.raises(TrainingError, match="0 samples; at least"):
        fit(samples([], SmallSettings()), SmallSettings())


def test_the_untrained_policy_holds() -> None:
    state = np.linspace(-0.3, 0.3, 14).astype(np.float32)
    image = np.zeros((224, 224, 3), np.uint8)
    actions = HoldPolicy().infer({"state": state, "images": {"cam_head": image}, "prompt": ""})["actions"]
    np.testing.assert_array_equal(actions, np.tile(state, (50, 1)))


def test_a_policy_with_hands_is_checked_with_the_hands_in_its_state(tmp_path: Path) -> None:
    path = episode(tmp_path, 0)
    assert {question.observation["state"].shape for question in questions([path])} == {(14,)}
    with h5py.File(path, "r+") as file:
        file["hand_action"] = file["hand_command"] = np.full((POLICY_ROWS + HUMAN_ROWS, 12), 0.5, np.float32)
        hands = np.full((POLICY_ROWS + HUMAN_ROWS, 12), 0.25, np.float32)
        hands[: POLICY_ROWS + 20] = np.nan  # they had not reported yet
        file["observations/hand_qpos"] = hands
    asked = questions([path])
    assert len(asked) == (HUMAN_ROWS - 20) // 10
    for question in asked:
        state = question.observation["state"]
        assert (state.shape, state.dtype, set(state[14:])) == ((26,), np.float32, {0.25})


@pytest.mark.parametrize(("horizon", "reason"), [(50, ""), (16, ""), (5, ""), (4, "have shape (4, 14)")])
def test_a_policy_of_shorter_chunks_is_compared_as_far_as_they_go(tmp_path: Path, horizon: int, reason: str) -> None:
    asked = questions([episode(tmp_path, 0)])

    class Holding(HoldPolicy):
        def infer(self, observation: dict[str, Any]) -> dict[str, Any]:
            return {"actions": super().infer(observation)["actions"][:horizon]}

    found = check(Holding(), HoldPolicy(), asked, factor=1.5)
    assert reason in found.reason and bool(reason) == bool(found.reason)
    assert np.isfinite(found.error_rad) == (not reason)


def test_grey_is_not_colourful_and_the_blind_see_nothing() -> None:
    image = np.full((224, 224, 3), 90, np.uint8)
    assert not colourfulness(image).any()
    image[:50, :50] = (200, 30, 30)
    image[215:, 100:] = (30, 200, 30)
    assert colourfulness(image).max() > 60
    assert not colourfulness(image, "blind").any()
    seen = colourfulness(image, "caption")
    assert not seen[:58].any() and seen[61:].max() > 60
