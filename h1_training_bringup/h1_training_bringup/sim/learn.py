# SPDX-License-Identifier: Apache-2.0
"""`make learn`: a robot that gets better. Episodes with corrections, training, evaluation on objects it never met.

With `--fast` all of it runs in this process at virtual time, without files; else over the real graph
(`learn_graph.py`): real HDF5, real upload, the real training server. Both evaluate at virtual time.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from h1_policy_bridge.training_server.policy import Policy
from h1_policy_bridge.training_server.rows import EpisodeRows, is_correction, runs
from h1_policy_bridge.training_server.small import HoldPolicy, SmallSettings, fit, samples
from h1_training_bringup.sim.cameras import CameraParameters
from h1_training_bringup.sim.learning_curve import FIXED, SEALED, CurveRow, missed, save, table, wilson
from h1_training_bringup.sim.scene import SceneObject, scene_object
from h1_training_bringup.sim.task import REACH, TASKS
from h1_training_bringup.sim.virtual_session import VirtualSession
from h1_training_node.parameter import from_values
from h1_training_node.process import interruption

ABLATIONS: dict[str, dict[str, Any]] = {
    "": {},
    "zeros": {"labels": "zeros", "rows": "human"},
    "policy_only": {"rows": "policy"},
    "demonstrations": {"rows": "human"},
    "policy_rows": {"policy_weight": 1.0},
    "lookahead1": {"lookahead_rows": 1},
    "split_none": {"split": "none"},
    "blind": {"sees": "blind"},
}
"""Settings of the small trainer; `demonstrations` also means that no policy runs before the person."""
FIRST_EPISODES = 16
EVALUATED = 48
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SETS = {FIXED: 5000, SEALED: 9000}
"""Epoch numbers whose objects no episode has."""
_EVALUATION_SCENES = 0
_GREY = SceneObject((0.62, 0.0, -0.025), 0.3, (128, 128, 128), 0)


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        seed: of robot, scenes and person.
        epochs: trainings.
        episodes: before each but the first.
        first_episodes: before the first.
        evaluated: objects in a set.
        ablation: one of `ABLATIONS`.
        changes_scenes: also evaluate the last weights where something is other than in all episodes.
        only_ends: evaluate the untrained policy and the last weights alone.
        task: one of `task.TASKS`.
    """

    seed: int = 1
    epochs: int = 6
    episodes: int = 6
    first_episodes: int = FIRST_EPISODES
    evaluated: int = EVALUATED
    ablation: str = ""
    changes_scenes: bool = True
    only_ends: bool = False
    task: str = REACH


@dataclass
class Collected:
    """What is known of the episodes so far."""

    episodes: list[EpisodeRows] = field(default_factory=list)
    human_rows: int = 0
    newest: int = 0
    newest_corrected: int = 0
    newest_human_s: float = 0.0

    def begin_epoch(self) -> None:
        """The next episodes are the newest."""
        self.newest, self.newest_corrected, self.newest_human_s = 0, 0, 0.0

    def add(self, rows: EpisodeRows) -> None:
        """One more episode."""
        corrections = [run for run in runs(rows) if is_correction(rows, run)]
        self.episodes.append(rows)
        self.human_rows += int(rows.is_human.sum())
        self.newest += 1
        self.newest_corrected += bool(corrections)
        self.newest_human_s += sum(run.stop - run.start for run in corrections) / 50


class Evaluator:
    """Runs weights on a set of objects, at virtual time."""

    def __init__(self, plan: Plan, **changed: Any) -> None:
        self._plan = plan
        self._session = VirtualSession(plan.seed, scene_seed=_EVALUATION_SCENES, task=plan.task, **changed)

    def row(self, policy: Policy, epoch: int, collected: Collected, train_s: float, objects: str = FIXED) -> CurveRow:
        """One row of the curve."""
        timed = Timed(policy)
        attempts = self._plan.evaluated
        first = _SETS.get(objects, _SETS[FIXED])
        results = [
            self._session.episode(timed, first, number, corrects=False, records=False) for number in range(attempts)
        ]
        successes = sum(result.succeeded for result in results)
        low, high = wilson(successes, attempts)
        return CurveRow(
            seed=self._plan.seed,
            epoch=epoch,
            episodes=len(collected.episodes),
            human_rows=collected.human_rows,
            corrections_per_episode=round(collected.newest_corrected / max(collected.newest, 1), 3),
            human_s=round(collected.newest_human_s / max(collected.newest, 1), 2),
            train_s=round(train_s, 2),
            infer_ms=round(statistics.median(timed.times_ms), 2),
            successes=successes,
            attempts=attempts,
            success=round(successes / attempts, 3),
            success_low=round(low, 3),
            success_high=round(high, 3),
            ablation=self._plan.ablation,
            objects=objects,
        )


class Timed:
    """A policy that is timed, in this process' CPU time: a busy machine makes no policy slower."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.times_ms: list[float] = []

    def infer(self, observation: dict[str, Any]) -> dict[str, Any]:
        """See `Policy`."""
        began_s = time.process_time()
        reply = self._policy.infer(observation)
        self.times_ms.append(1e3 * (time.process_time() - began_s))
        return reply

    def close(self) -> None:
        """See `Policy`."""
        self._policy.close()


def fast(plan: Plan, report: Callable[[CurveRow], None]) -> list[CurveRow]:
    """The whole loop in this process; `report` gets each row as it is known."""
    settings = from_values(SmallSettings, ABLATIONS[plan.ablation])
    session, evaluator, collected = VirtualSession(plan.seed, task=plan.task), Evaluator(plan), Collected()
    policy: Policy = HoldPolicy()
    rows = [evaluator.row(policy, 0, collected, 0.0)]
    report(rows[0])
    for epoch in range(1, plan.epochs + 1):
        collected.begin_epoch()
        for number in range(plan.first_episodes if epoch == 1 else plan.episodes):
            drives = None if plan.ablation == "demonstrations" else policy
            found = session.episode(drives, epoch - 1, number, corrects=True, records=True).rows
            assert found is not None
            collected.add(found)
        began_s = time.process_time()
        policy = fit(samples(collected.episodes, settings), settings)
        train_s = time.process_time() - began_s
        if epoch == plan.epochs or not plan.only_ends:
            rows.append(evaluator.row(policy, epoch, collected, train_s))
            report(rows[-1])
    rows.append(evaluator.row(policy, plan.epochs, collected, rows[-1].train_s, SEALED))
    report(rows[-1])
    return rows + (changed_scenes(plan, policy, collected, report) if plan.changes_scenes else [])


def changed_scenes(
    plan: Plan, policy: Policy, collected: Collected, report: Callable[[CurveRow], None]
) -> list[CurveRow]:
    """The last weights where something is other than in all episodes."""
    variants: dict[str, dict[str, Any]] = {
        "grey distractor": {"further": [_GREY]},
        "light 0.7": {"cameras": CameraParameters(seed=plan.seed, light=0.7)},
        "pale object": {"saturation": 0.5},
        "second object": {"further": [scene_object(7777, 3, 3)]},
    }
    rows = []
    for name, changed in variants.items():
        rows.append(Evaluator(plan, **changed).row(policy, plan.epochs, collected, 0.0, name))
        report(rows[-1])
    return rows


class Interrupted(BaseException):
    """A signal asks for the end: what was started ends on the way out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `learn`: 0, 1 if the curve stays below its bar, 2 without one, 128 + N after signal N."""
    options = parse(sys.argv[1:] if arguments is None else arguments)

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)  # a second one must not cut the ending short
        raise Interrupted(signal.Signals(number))

    for number in _ENDING:
        signal.signal(number, interrupt)
    try:
        return run(options)
    except Interrupted as asked:
        received: signal.Signals = asked.args[0]
        print(f"{interruption(received)}; all that was started has ended", file=sys.stderr)
        return 128 + received


def run(options: argparse.Namespace) -> int:
    """All seeds; the status of `main`."""
    failures = 0
    for seed in range(options.seed, options.seed + options.seeds):
        is_reach = options.task == REACH
        changes_scenes = options.changes_scenes and not options.ablation and seed == options.seed and is_reach
        plan = Plan(
            seed,
            options.epochs,
            options.episodes,
            options.first_episodes,
            options.evaluated,
            options.ablation,
            changes_scenes,
            options.only_ends,
            options.task,
        )
        print(f"seed {seed}{', ablation ' + plan.ablation if plan.ablation else ''}", flush=True)
        if options.fast:
            rows = fast(plan, lambda row: print(table([row]).splitlines()[-1], flush=True))
        else:
            from h1_training_bringup.sim.learn_graph import LearnError, over_the_graph

            try:
                rows = over_the_graph(plan, options.out, options.trainer)
            except LearnError as error:
                print(f"[ERROR] {error}", file=sys.stderr)
                return 2
        print(table(rows), flush=True)
        save(rows, options.out, by_person=not is_reach)
        complaints = [] if plan.ablation or not is_reach else missed(rows)
        for complaint in complaints:
            print(f"below the bar: {complaint}", flush=True)
        failures += bool(complaints)
    print(f"saved {options.out / 'curve.png'} and curve.json")
    return int(failures > max(0, options.seeds - 1) // 4)  # one of five may


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="learn", description=__doc__.partition("\n")[0])
    parser.add_argument("--fast", action="store_true", help="in this process, at virtual time")
    parser.add_argument("--epochs", type=int, default=6, help="trainings (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=6, help="before each but the first (default: %(default)s)")
    parser.add_argument(
        "--first-episodes", type=int, default=FIRST_EPISODES, help="before the first (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of robot, scenes, person (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="so many seeds, from --seed on (default: %(default)s)")
    parser.add_argument("--evaluated", type=int, default=EVALUATED, help="objects in a set (default: %(default)s)")
    parser.add_argument(
        "--no-changed-scenes",
        dest="changes_scenes",
        action="store_false",
        help="leave out the last weights' evaluation in changed scenes, which the first seed has",
    )
    parser.add_argument(
        "--only-ends", action="store_true", help="with --fast: evaluate the untrained policy and the last weights alone"
    )
    parser.add_argument(
        "--task", choices=TASKS, default=REACH, help="what is learned; pushing has no bar (default: %(default)s)"
    )
    parser.add_argument("--ablation", choices=tuple(ABLATIONS), default="", help="leave one thing out")
    parser.add_argument(
        "--trainer", type=Path, help="settings of your own training command, a YAML file; not with --fast"
    )
    parser.add_argument("--out", type=Path, help="folder (default: data/learn, to push data/learn/push)")
    options = parser.parse_args(arguments)
    options.out = options.out or Path("data/learn") / ("" if options.task == REACH else options.task)
    numbers = ("epochs", "episodes", "first_episodes", "seeds", "evaluated")
    if wrong := [name for name in numbers if getattr(options, name) < 1]:
        parser.error(f"--{wrong[0].replace('_', '-')} must be 1 or more")
    if options.fast and options.trainer:
        parser.error("--trainer needs the real graph: leave out --fast")
    if options.only_ends and not options.fast:
        parser.error("--only-ends needs --fast")
    return options


if __name__ == "__main__":
    sys.exit(main())
