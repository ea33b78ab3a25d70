# SPDX-License-Identifier: Apache-2.0
"""The episode in work, and what the session asks of the recorder about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum

from h1_session_manager.memory import epoch_directory
from h1_session_manager.observed import Observed
from h1_session_manager.parameters import SessionParameters
from h1_session_manager.service_calls import ServiceCalls
from h1_session_manager.steps import Steps, Wait
from h1_session_manager.values import Recorder, Reply
from h1_training_node.message_numbers import RecorderState

_SILENT_S = 10.0
"""A recorder that is silent for so long while it saves is taken for gone."""


class EpisodeState(Enum):
    """What has become of the episode."""

    NONE = "none"
    OPEN = "open"
    CLOSING = "closing"
    SAVED = "saved"
    FAILED = "failed"
    DISCARDED = "discarded"


class Episode:
    """One episode after the other: opened, closed, labelled, discarded.

    Attributes:
        id, index: the recorder's name of it, e.g. `epoch1/episode_0`, and the number in that; before the first "", -1.
        state, outcome, end_reason: what has become of it, and what the recorder writes into it.
    """

    def __init__(self, calls: ServiceCalls, observed: Observed, config: SessionParameters) -> None:
        self._calls = calls
        self._observed = observed
        self._config = config
        self.state = EpisodeState.NONE
        self.id = ""
        self.index = -1
        self.outcome = "unlabeled"
        self.end_reason = "operator"
        self._started_ns = 0

    @property
    def is_open(self) -> bool:
        """Whether its journal is open, as far as we know."""
        return self.state is EpisodeState.OPEN

    def start(self, epoch: int, number: int, dummies: tuple[str, ...]) -> Steps[str]:
        """Open a journal; returns the reason if the recorder could not."""
        attributes = {**json.loads(self._config.episode_attributes), "dummy_cameras": list(dummies)}
        attributes["checkpoint"] = self._observed.policy.checkpoint if self._observed.policy is not None else ""
        if self._config.config_sha256:
            attributes["config_sha256"] = self._config.config_sha256
        fields = {
            "directory": epoch_directory(self._config.save_dir, epoch),
            "epoch": epoch,
            "episode": number,
            "task": self._config.task,
            "prompt": self._config.policy_prompt,
            "attributes_json": json.dumps(attributes),
        }
        reply = yield from self._calls.call("recorder/start", fields)
        if not reply.accepted:
            return reply.reason or "the recorder refused"
        self.state, self.id = EpisodeState.OPEN, str(reply.fields.get("episode_id", ""))
        self.index = int(self.id.rpartition("_")[2]) if self.id.rpartition("_")[2].isdigit() else number
        self.reset_labels()
        self._started_ns = self._observed.now_ns
        return ""

    def reset_labels(self) -> None:
        """As a new or resumed episode has them."""
        self.outcome, self.end_reason = "unlabeled", "operator"

    def close(self, within_s: float | None = None) -> Steps[str]:
        """Close the journal and wait for the episode; returns the reason if there is none. May be called again."""
        timeout_s = self._config.save_timeout_s if within_s is None else within_s
        if "recorder" in self._observed.lost:
            self.state = EpisodeState.FAILED
            return "the recorder was lost"
        if self.state is EpisodeState.OPEN:
            self.state = EpisodeState.CLOSING
            fields = {"episode_id": self.id, "end_reason": self.end_reason, "outcome": self.outcome}
            reply = yield from self._calls.call("recorder/finish", fields)
            if not reply.accepted and self._result() is None and not self.is_saving():
                self.state = EpisodeState.FAILED
                return reply.reason or "the recorder refused"
        if self.state is not EpisodeState.CLOSING:
            return ""
        ended = yield Wait(lambda: self._result() or self._recorder_is_gone(), timeout_s)
        result = self._result()
        if result is not None and result.state is RecorderState.SAVED:
            self.state = EpisodeState.SAVED
            return ""
        self.state = EpisodeState.FAILED
        if result is not None:
            return result.last_error or "the recorder names no reason"
        return "recorder went silent" if ended else f"recorder did not finish within {timeout_s:.0f} s"

    def discard(self, why: str) -> Steps[str]:
        """Have the open episode thrown away; returns the reason if the recorder did not."""
        reply = yield from self._calls.call("recorder/discard", {"episode_id": self.id, "why": why})
        if not reply.accepted:
            return reply.reason or "the recorder refused"
        self.state = EpisodeState.DISCARDED
        return ""

    def post_discard(self, why: str, then: Callable[[Reply], None]) -> None:
        """Have the finished episode thrown away, without waiting."""
        fields = {"episode_id": self.id, "why": why}
        self._calls.post("recorder/discard", fields, then, self._observed.now_ns)

    def post_label(self, outcome: str, then: Callable[[Reply], None]) -> None:
        """Set the finished episode's outcome, without waiting."""
        fields = {"episode_id": self.id, "outcome": outcome}
        self._calls.post("recorder/label", fields, then, self._observed.now_ns)

    def closed_by_recorder(self) -> str:
        """The reason if the recorder closed the open episode by itself (disk full, it was asked to end)."""
        result = self._result()
        if self.state is not EpisodeState.OPEN or (result is None and not self.is_saving()):
            return ""
        return (result.last_error if result is not None else "") or "the recorder closed the episode"

    def is_saving(self) -> bool:
        """Whether the recorder still makes the episode."""
        status = self._own_status()
        return status is not None and status.state is RecorderState.SAVING

    def _own_status(self) -> Recorder | None:
        """The recorder's status if it is about this episode. Ids are used again, hence the stamp."""
        status = self._observed.recorder
        if status is None or status.episode_id != self.id or status.stamp_ns < self._started_ns:
            return None
        return status

    def _result(self) -> Recorder | None:
        status = self._own_status()
        return status if status is not None and status.state in (RecorderState.SAVED, RecorderState.FAILED) else None

    def _recorder_is_gone(self) -> bool:
        return self._observed.age_s("recorder") > max(_SILENT_S, self._config.status_timeout_s)
