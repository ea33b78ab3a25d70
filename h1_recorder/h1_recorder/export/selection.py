# SPDX-License-Identifier: Apache-2.0
"""Which episodes and which of their rows a dataset takes, where it is split, and how much each row weighs. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_recorder.episode.content import stretches
from h1_recorder.episode.episode import Episode
from h1_recorder.episode.info import OUTCOMES
from h1_recorder.export.arm_response import Phases

Array = npt.NDArray[Any]

SPLITS = ("runs", "segments", "none")
PHASES = ("policy", "human")
WEIGHTS = ("sirius", "human", "success", "uniform")
PRE_INTERVENTION_NS = 1_000_000_000
"""The second before a person takes over: what the policy did there led to it (Sirius, arXiv 2211.08416, 4.2)."""
CORRECTED_RAD = 0.05
"""A person who moved no joint so far has corrected nothing, but only ended the run."""
ROW_KINDS = ("demonstration", "intervention", "pre_intervention", "policy", "unsuccessful")
"""`unsuccessful`: the policy's rows in an episode that was no success, or before a person's correction."""


@dataclass(frozen=True)
class Selection:
    """What is taken of the episodes.

    Attributes:
        outcomes, epochs: of episodes; empty: any.
        since: recorded at that time or later.
        phase: of rows; empty: both.
        only_valid: leave out rows whose action is none.
        split: `runs`: an unbroken run of one phase is an episode of the dataset; `segments`: an unbroken run of rows;
            `none`: all of a file. A row that is left out always splits.
        val_share: of whole files that make the validation split, 0..1.
        val_seed: which ones.
    """

    outcomes: tuple[str, ...] = ()
    epochs: tuple[int, ...] = ()
    since: datetime | None = None
    phase: str = ""
    only_valid: bool = False
    split: str = "runs"
    val_share: float = 0.0
    val_seed: int = 0

    def __post_init__(self) -> None:
        if unknown := set(self.outcomes) - set(OUTCOMES):
            raise ValueError(f"outcome '{min(unknown)}'; known are {', '.join(OUTCOMES)}")
        if self.phase and self.phase not in PHASES:
            raise ValueError(f"phase '{self.phase}'; known are {', '.join(PHASES)}")
        if self.split not in SPLITS:
            raise ValueError(f"split '{self.split}'; known are {', '.join(SPLITS)}")
        if not 0.0 <= self.val_share < 1.0:
            raise ValueError(f"share of validation {self.val_share}; expected 0 or more, and less than 1")

    def takes(self, attributes: Mapping[str, Any]) -> bool:
        """Whether an episode with these attributes is asked for."""
        if self.outcomes and attributes["outcome"] not in self.outcomes:
            return False
        if self.epochs and int(attributes["epoch"]) not in self.epochs:
            return False
        return self.since is None or recorded_at(attributes) >= self.since

    def runs(self, rows: Phases, valid: Array, known: Array) -> tuple[tuple[int, int], ...]:
        """First row and row after the last of each episode that the dataset makes of a file.

        Args:
            rows: of the file.
            valid: (T,) bool, the row has an action.
            known: (T,) bool, the row has all that the dataset has of a row.
        """
        asked = known.copy()
        if self.phase:
            asked &= rows.phase == self.phase
        if self.only_valid:
            asked &= valid
        columns = [asked]
        if self.split != "none":
            columns.append(rows.segment)
        if self.split == "runs":
            columns.append(rows.phase)
        return tuple((first, last) for first, last in stretches(*columns) if asked[first])


def recorded_at(attributes: Mapping[str, Any]) -> datetime:
    """When an episode began; UTC where the file names no zone."""
    when = datetime.fromisoformat(str(attributes["timestamp"]))
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def validation(uuids: Sequence[str], share: float, seed: int) -> list[bool]:
    """Which of the episodes make the validation split.

    An episode's lot depends on its uuid and the seed alone, so that it stays where it is when others come or go. Of two
    or more episodes at least one is in each split.
    """
    lots = [int.from_bytes(hashlib.sha256(f"{seed} {uuid}".encode()).digest()[:8], "big") / 2**64 for uuid in uuids]
    drawn = [lot < share for lot in lots]
    if share > 0 and len(lots) > 1:
        drawn[int(np.argmin(lots))] = True
        drawn[int(np.argmax(lots))] = False
    return drawn


def pre_intervention(episode: Episode) -> Array:
    """(T,) bool: policy rows in the second before a person took over."""
    return _before_handover(episode.phase == "human", episode.stamps["tick"])


def _before_handover(human: Array, tick: Array) -> Array:
    marked = np.zeros(len(human), bool)
    for taken_over in np.flatnonzero(human[1:] & ~human[:-1]) + 1:
        handover = tick[taken_over - 1]  # the policy's last row: until the arms are compliant there are none
        marked |= ~human & (tick > handover - PRE_INTERVENTION_NS) & (tick <= handover)
    return marked


def is_corrected(human: Array, segment: Array, qpos: Array) -> Array:
    """(T,) bool: the row is of a person's unbroken run in which a joint moved by more than `CORRECTED_RAD`.

    Args:
        human: (T,) bool, a person guides.
        segment: (T,) number of the unbroken run of rows.
        qpos: (T, 14) rad, measured.
    """
    found = np.zeros(len(human), bool)
    for first, last in stretches(human, segment):
        if human[first]:
            found[first:last] = np.abs(qpos[first:last] - qpos[first]).max() > CORRECTED_RAD
    return found


def row_kinds(episode: Episode) -> Array:
    """(T,) int, an index into `ROW_KINDS`; a person's rows are a demonstration if no policy ran in that episode."""
    return kinds_of(
        episode.phase == "human",
        episode.segment,
        episode.stamps["tick"],
        episode.qpos,
        succeeded=episode.attributes["outcome"] == "success",
    )


def kinds_of(human: Array, segment: Array, tick: Array, qpos: Array, *, succeeded: bool) -> Array:
    """As `row_kinds`, for whoever has the rows in another form; see `is_corrected`.

    Args:
        human, segment, qpos: as there.
        tick: (T,) ns.
        succeeded: the episode's outcome.
    """
    kinds = np.where(human, 1 if not human.all() else 0, 3)
    corrected = np.flatnonzero(is_corrected(human, segment, qpos))
    is_good = np.arange(len(human)) > corrected.max(initial=-1)
    kinds[~human & ~(is_good & succeeded)] = 4
    kinds[_before_handover(human, tick)] = 2
    return kinds


def kind_weights(scheme: str, rows: Sequence[int], policy_weight: float = 1.0) -> list[float]:
    """The weight of a row of each of `ROW_KINDS`; their mean over all rows is 1, but for `success`.

    `sirius` (arXiv 2211.08416, section 4.2): interventions make up half, rows before them nothing, demonstrations what
    they are, the policy's other rows the rest. `human` takes a person's rows only, as HG-DAgger (1810.02890) aggregates
    and RaC (2509.07953) fine-tunes. `success`: a person's rows 1, rows of successful runs of the policy
    `policy_weight`, all else 0, as the training server's small policy learns. `uniform`: all alike.

    Args:
        scheme: one of `WEIGHTS`.
        rows: how many there are of each of `ROW_KINDS`.
        policy_weight: of `success`.
    """
    if scheme == "success":
        return [1.0, 1.0, 0.0, policy_weight, 0.0]
    share = np.asarray([*rows[:3], rows[3] + rows[4]], float) / max(sum(rows), 1)
    if scheme == "uniform" or not share.any():
        return [1.0] * len(ROW_KINDS)
    if scheme == "human":
        wanted = np.array([share[0], share[1], 0.0, 0.0])
    else:
        intervened = 0.5 if share[1] else 0.0
        wanted = np.array([share[0], intervened, 0.0, max(1 - intervened - share[0], 0.0)])
    wanted = np.where(share > 0, wanted, 0.0)
    if not wanted.any():
        return [1.0] * len(ROW_KINDS)
    weights = np.divide(wanted / wanted.sum(), share, out=np.zeros(len(share)), where=share > 0)
    return [float(weight) for weight in (*weights, weights[3])]
