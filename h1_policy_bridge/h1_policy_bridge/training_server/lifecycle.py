# SPDX-License-Identifier: Apache-2.0
"""From uploads to weights that serve: SERVING → COLLECTING → TRAINING → CHECKING → SWITCHING → SERVING.

A failure anywhere leaves the old weights serving and the epoch unchanged, and its reason in the status, which reaches
the operator. What failed is tried again after a growing wait, or as soon as further episodes come. Everything that
matters is on disk (`store.py`), so that a server that was killed goes on where it was.
"""

from __future__ import annotations

import logging
import math
import shutil
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from h1_policy_bridge.training_server.check import Checked, check, questions
from h1_policy_bridge.training_server.policy import Policy, Trainer, TrainingError
from h1_policy_bridge.training_server.store import UNTRAINED, Manifest, Served, Store, StoreError
from h1_policy_bridge.training_server.training import Training, TrainingJob
from h1_policy_bridge.training_server.uploads import Upload, Uploads, curve, uuids
from h1_training_node.parameter import parameter

SERVING, COLLECTING, TRAINING, CHECKING, SWITCHING = "SERVING", "COLLECTING", "TRAINING", "CHECKING", "SWITCHING"
_LOOK_S = 0.2
_LONGEST_RETRY_S = 3600.0
_MOST_REFUSED = 2
_log = logging.getLogger("policy_server")


@dataclass(frozen=True)
class LifeParameters:
    """When to train, and what is accepted."""

    calm_s: float = parameter(2.0, "train once no further episode has come for so long", unit="s", low=0.0)
    batch: int = parameter(0, "or as soon as there are so many new ones; 0: only when it is calm", low=0)
    limit_s: float = parameter(86400.0, "a training that takes longer is ended", unit="s", low=1.0)
    retry_s: float = parameter(60.0, "wait before a failed training is tried again; doubles", unit="s", low=0.1)
    worse_factor: float = parameter(1.5, "new weights' error on held-out rows, in that of the old", low=0.1)
    hold_out: int = parameter(
        1, "newest episodes that are kept for the check, once there are ten times as many; 0: no check", low=0
    )


@dataclass(frozen=True)
class Status:
    """What `/training_status` says; see docs/training_server.md. `curve`: see `uploads.curve`."""

    ready: bool
    epoch: int
    phase: str = SERVING
    progress: float | None = None
    reason: str = ""
    checkpoint: str = UNTRAINED
    curve: tuple[tuple[int, float, int], ...] = ()


@dataclass(frozen=True)
class Weights:
    """What serves a connection. `served` says which they are."""

    policy: Policy
    served: Served


class LifeCycle:
    """Runs in a thread of its own; `weights` and `status` may be read from any.

    Args:
        store: claimed by the caller.
        uploads: the folder; None: nothing is ever trained.
        trainer: loads weights.
        job: names the trainer and its settings for the training's process.
        parameters: see there.
        first_epoch: served if nothing ever was, and the least one from now on.
        ignore_present: episodes that lie there when nothing ever served do not count.
    """

    def __init__(
        self,
        store: Store,
        uploads: Uploads | None,
        trainer: Trainer,
        job: tuple[str, dict[str, Any]],
        parameters: LifeParameters,
        *,
        first_epoch: int = 0,
        ignore_present: bool = False,
    ) -> None:
        self._store, self._uploads, self._trainer, self._parameters = store, uploads, trainer, parameters
        self._trainer_name, self._settings = job
        self._retired: list[Policy] = []
        self._closed: Policy | None = None
        self._known: set[str] = set()
        self._waiting: set[str] = set()
        self._changed_s = self._not_before_s = 0.0
        self._failures = 0
        self._unloadable: int | None = None  # epoch of a rollback that failed
        self._stop = threading.Event()
        self.weights = self._begin(first_epoch, ignore_present)
        self._unfinished = store.unfinished()
        self.status = Status(True, self.weights.served.epoch, checkpoint=self.weights.served.checkpoint)

    def _begin(self, first_epoch: int, ignore_present: bool) -> Weights:
        """Load what served last.

        Raises:
            StoreError: it cannot be loaded; says how to serve another one.
        """
        served = self._store.served()
        if served is None:
            present = sorted(uuids(self._uploads.look())) if ignore_present and self._uploads is not None else []
            served = self._store.serve(Served(first_epoch, present=tuple(present)), "first start")
        elif served.epoch < first_epoch:
            served = self._store.serve(replace(served, epoch=first_epoch), "a later --first-epoch")
        self._known = self._store.known_uuids()
        try:
            return Weights(self._loaded(served.checkpoint), served)
        except (TrainingError, StoreError) as error:
            raise StoreError(
                f"checkpoint {served.checkpoint}, which served last, cannot be loaded: {error}; "
                f"roll back to another one: policy_server --checkpoints {self._store.folder} --rollback NAME"
            ) from None

    def _loaded(self, name: str) -> Policy:
        if name != UNTRAINED and (wrong := self._store.is_sound(name)):
            raise TrainingError(wrong)
        return self._trainer.load(self._store.path(name))

    def run(self) -> None:
        """Until `end`. Nothing that happens here ends the serving."""
        while not self._stop.wait(_LOOK_S):
            try:
                self.step(time.monotonic())
            except Exception as error:  # e.g. a full disk in the middle of a listing
                _log.exception("the life cycle stumbled")
                self._fail(f"{type(error).__name__}: {error}")

    def close_retired(self, in_use: set[int]) -> None:
        """Close policies that serve no more, but for those whose `id` is `in_use`."""
        for policy in [policy for policy in self._retired if id(policy) not in in_use]:
            self._retired.remove(policy)
            policy.close()

    def close(self) -> None:
        """Close all policies, each once; nothing is served any more."""
        self.close_retired(set())
        if self._closed is not self.weights.policy:
            self._closed = self.weights.policy
            self._closed.close()

    def end(self) -> None:
        """Come to an end; a training under way is ended and begun again at the next start."""
        self._stop.set()

    def step(self, now_s: float) -> None:
        """Look whether there is anything to do, and do it."""
        self._follow_state(now_s)
        if self._uploads is None:
            return
        uploads = self._uploads.look()
        self.status = replace(self.status, curve=curve(uploads))
        if self._unfinished is not None and now_s >= self._not_before_s:
            self._finish(self._unfinished, uploads)
        fresh = uuids(uploads) - self._known
        if not fresh:
            self._note(SERVING, reason=self._refusals() if not self._failures else self.status.reason)
            return
        if fresh != self._waiting:
            self._waiting, self._changed_s, self._not_before_s = fresh, now_s, 0.0
        is_calm = now_s - self._changed_s >= self._parameters.calm_s
        if now_s < self._not_before_s:
            return
        if not is_calm and not 0 < self._parameters.batch <= len(fresh):
            self._note(COLLECTING, reason=f"{len(fresh)} new episodes")
            return
        self._train(uploads)

    def _follow_state(self, now_s: float) -> None:
        """Somebody rolled back: serve what the store says now."""
        served = self._store.served()
        if served is None or served.epoch == self.weights.served.epoch:
            return
        if served.epoch == self._unloadable and now_s < self._not_before_s:
            return
        try:
            self._switch(Weights(self._loaded(served.checkpoint), served))
        except (TrainingError, StoreError) as error:
            self._unloadable = served.epoch
            self._fail(f"rollback to {served.checkpoint} failed: {error}")

    def _finish(self, manifest: Manifest, uploads: list[Upload]) -> None:
        """Check what was trained, and serve it; a server that was killed in between, or a full disk, left it undone."""
        self._unfinished = None
        asked = manifest.held_out or manifest.episodes[-1:] if self._parameters.hold_out else ()
        files = {source.file for source in asked}
        try:
            self._accept(manifest, [upload.path for upload in uploads if upload.source.file in files])
        except (TrainingError, StoreError) as error:
            self._fail(str(error))
        except OSError as error:
            self._unfinished = manifest  # it is whole on disk: tried again after a wait
            self._fail(_said(error))

    def _train(self, uploads: list[Upload]) -> None:
        made: Path | None = None
        try:
            made = self._store.making()
            held_out = self._held_out(uploads)
            manifest = self._trained(uploads, held_out, made)
            if manifest is None:
                return
            self._known |= uuids(uploads)
            self._finish(manifest, uploads)
        except (TrainingError, StoreError, OSError) as error:
            self._fail(_said(error))
        finally:
            if made is not None:
                shutil.rmtree(made, ignore_errors=True)

    def _held_out(self, uploads: list[Upload]) -> list[Upload]:
        count = min(self._parameters.hold_out, len(uploads) // 10)
        newest = sorted(uploads, key=lambda upload: upload.path.stat().st_mtime_ns)
        return newest[len(newest) - count :]

    def _trained(self, uploads: list[Upload], held_out: list[Upload], made: Path) -> Manifest | None:
        """Train, and give the checkpoint its name. None: the server is to end.

        Raises:
            TrainingError: it came to nothing.
            OSError: it could not be written.
        """
        used = [upload for upload in uploads if upload not in held_out]
        parent = self.weights.served.checkpoint
        previous = self._store.path(parent)
        dataset = self._store.folder / "dataset"
        dataset.mkdir(exist_ok=True)
        weights = made / "weights"
        weights.mkdir()
        job = TrainingJob(
            trainer=self._trainer_name,
            settings=self._settings,
            episodes=[str(upload.path) for upload in used],
            dataset=str(dataset),
            previous=str(previous or ""),
            out=str(weights),
        )
        training = Training(job, made, self._parameters.limit_s)
        while not training.is_over:
            self._note(TRAINING, progress=training.progress, reason=training.doing)
            if self._stop.wait(_LOOK_S):
                training.end()
                return None
        if training.failure:
            raise TrainingError(training.failure)
        return self._store.commit(
            weights,
            Manifest(
                name="",
                parent=parent,
                trainer=self._trainer_name,
                settings=self._settings,
                episodes=tuple(upload.source for upload in used),
                held_out=tuple(upload.source for upload in held_out),
                metrics=training.metrics,
            ),
        )

    def _accept(self, manifest: Manifest, episodes: list[Path]) -> None:
        """Serve what was trained, if it can be asked about rows of `episodes`.

        Without any held out these are some that it was trained on, on which it is not compared with what serves.
        """
        self._note(CHECKING)
        try:
            policy = self._loaded(manifest.name)
        except Exception as error:  # whatever stumbles over nonsense, it must not serve
            self._refuse(manifest, Checked(f"it cannot be loaded: {_said(error)}", 0, math.nan, math.nan))
        learns = getattr(self._trainer, "learns", True)
        try:
            asked = questions(episodes) if learns else []
            is_compared = manifest.held_out and self.weights.served.checkpoint != UNTRAINED
            previous = self.weights.policy if is_compared else None
            result = check(policy, previous, asked, self._parameters.worse_factor)
            if result.reason:
                self._refuse(manifest, result)
            self._store.note_check(manifest.name, result.document())
            self._note(SWITCHING)
            served = self._store.advance(self.weights.served, manifest.name, _why(manifest, result))
            if served is None:
                self._refuse(manifest, replace(result, reason="a rollback came in between"))
        except BaseException:
            policy.close()
            raise
        self._switch(Weights(policy, served))

    def _refuse(self, manifest: Manifest, result: Checked) -> NoReturn:
        self._store.note_check(manifest.name, result.document())
        raise TrainingError(f"checkpoint {manifest.name} is kept but does not serve: {result.reason}")

    def _switch(self, weights: Weights) -> None:
        before, self.weights = self.weights, weights
        self._failures, self._waiting = 0, set()
        self.status = replace(
            self.status,
            epoch=weights.served.epoch,
            phase=SERVING,
            progress=None,
            reason=self._refusals(),
            checkpoint=weights.served.checkpoint,
        )
        _log.info("epoch %d: checkpoint %s serves", weights.served.epoch, weights.served.checkpoint)
        self._retired.append(before.policy)

    def _fail(self, reason: str) -> None:
        self._failures += 1
        wait_s = min(self._parameters.retry_s * 2 ** (self._failures - 1), _LONGEST_RETRY_S)
        self._not_before_s = time.monotonic() + wait_s
        self._note(SERVING, reason=reason)
        _log.error("no new weights: %s", reason)

    def _refusals(self) -> str:
        refused = self._uploads.refused if self._uploads is not None else {}
        shown = [f"{file}: {why}" for file, why in list(refused.items())[:_MOST_REFUSED]]
        more = len(refused) - len(shown)
        return "; ".join([*shown, *([f"{more} more do not count"] if more > 0 else [])])

    def _note(self, phase: str, *, progress: float | None = None, reason: str = "") -> None:
        self.status = replace(self.status, phase=phase, progress=progress, reason=reason[:500])


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, (TrainingError, StoreError)) else f"{type(error).__name__}: {error}"


def _why(manifest: Manifest, result: Checked) -> str:
    return f"trained on {len(manifest.episodes)} episodes, checked with {result.rows} rows"
