# SPDX-License-Identifier: Apache-2.0
"""The training server's life: uploads become weights that serve, and no fault takes the old ones away."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from training_server_builders import OWN, QUICK, Life, Served, episode, observation, own_path, own_trainer, serving

from h1_policy_bridge.training_server.policy import TrainingError
from h1_policy_bridge.training_server.store import UNTRAINED, Store, StoreError
from h1_training_testing import wait_until


def small(folder: Path, *arguments: str, **variables: str) -> Any:
    return serving("--trainer", "small", "--watch-dir", str(folder), *QUICK, *arguments, **variables)


def test_uploads_become_weights_that_move_the_arms_and_the_epoch_rises(tmp_path: Path) -> None:
    with small(tmp_path) as served:
        before = WebsocketClientPolicy("127.0.0.1", served.port)
        assert not before.infer(observation())["actions"].any(), "the untrained policy holds"
        for number in range(3):
            episode(tmp_path, number)
        status = served.until("weights", epoch=1)
        assert status["ready"] and status["phase"] == "SERVING"
        after = WebsocketClientPolicy("127.0.0.1", served.port)
        metadata = after.get_server_metadata()
        assert (metadata["epoch"], metadata["checkpoint"]) == (1, status["checkpoint"])
        assert np.abs(after.infer(observation())["actions"]).max() > 0.002, "what was shown is aimed at"
        assert not before.infer(observation())["actions"].any(), (
            "a connection keeps the weights that its metadata named"
        )
        manifest = Store(tmp_path / "checkpoints").manifest(status["checkpoint"])
        assert [source.file for source in manifest.episodes] == [
            f"training_session_epoch0/episode_{number}.hdf5" for number in range(3)
        ]
        assert manifest.parent == UNTRAINED
        assert manifest.metrics["samples"] > 10


def test_the_old_weights_go_on_serving_while_a_training_is_under_way(tmp_path: Path) -> None:
    slow = ("--trainer", "scripted", "--set", "training_s=1.5")
    with serving(*slow, "--watch-dir", str(tmp_path), *QUICK) as served:
        client = WebsocketClientPolicy("127.0.0.1", served.port)
        episode(tmp_path)
        served.until("a training", phase="TRAINING", epoch=0, ready=True)
        assert client.infer(observation())["actions"].shape == (50, 14)
        served.until("progress", phase="TRAINING", progress=lambda share: share is not None and share > 0.3)
        served.until("weights", epoch=1)


def test_what_lay_there_may_count_as_past_and_rewriting_or_removing_it_trains_nothing(tmp_path: Path) -> None:
    past = episode(tmp_path, 0)
    with serving("--trainer", "scripted", "--watch-dir", str(tmp_path), "--from-now-on", *QUICK) as served:
        episode(tmp_path, 0, outcome="failure")
        time.sleep(1.0)
        assert served.status()["epoch"] == 0
        past.unlink()
        episode(tmp_path, 1)
        served.until("weights of the new one", epoch=1)


def test_a_corrupt_episode_is_named_and_the_others_are_trained_on(tmp_path: Path) -> None:
    with small(tmp_path) as served:
        broken = tmp_path / "training_session_epoch0" / "episode_7.hdf5"
        broken.parent.mkdir()
        broken.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(4000))
        served.until("the reason", reason=lambda text: "episode_7.hdf5" in text, epoch=0)
        episode(tmp_path, 0)
        status = served.until("weights", epoch=1)
        assert "episode_7.hdf5" in status["reason"]


def test_an_image_that_does_not_decode_is_named_with_its_row_and_the_old_weights_serve_on(tmp_path: Path) -> None:
    import h5py

    with small(tmp_path) as served:
        hidden = episode(tmp_path / "elsewhere", 0)
        with h5py.File(hidden, "r+") as file:
            images = file["observations/images/ego_cam"]
            for row in range(len(images)):
                images[row] = images[row][:40]
        target = tmp_path / "training_session_epoch0"
        target.mkdir()
        hidden.rename(target / "episode_0.hdf5")
        status = served.until("the reason", reason=lambda text: "ego_cam" in text and "image" in text)
        assert (status["epoch"], status["ready"], status["checkpoint"]) == (0, True, UNTRAINED)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Served, Callable[[str], None], Path]]:
    """A server with a trainer of one's own, which does what a file says."""
    order, folder = own_trainer(tmp_path), tmp_path / "uploads"
    arguments = (*OWN, "--watch-dir", str(folder), *QUICK, "--limit-s", "10")
    with serving(*arguments, PYTHONPATH=own_path(tmp_path)) as served:
        yield served, order, folder


@pytest.mark.parametrize(
    ("does", "words"),
    [
        ("fails", "the loss is not finite"),
        ("dies", "killed by SIGKILL"),
        ("raises", "CUDA out of memory"),
        ("hangs", "not done within 10 s"),
        ("writes nothing", "wrote no weights"),
        ("writes nonsense", "could not convert"),
        ("writes nan", "not finite"),
        ("leaves the range", "leave the range of joint"),
    ],
)
def test_a_training_that_comes_to_nothing_leaves_the_old_weights_and_says_why(own, does: str, words: str) -> None:
    served, order, folder = own
    episode(folder, 0)
    good = served.until("first weights", epoch=1)
    order(does)
    for number in range(1, 11):
        episode(folder, number)
    bad = served.until("the reason", reason=lambda text: words in text)
    assert (bad["epoch"], bad["checkpoint"], bad["ready"]) == (1, good["checkpoint"], True)
    client = WebsocketClientPolicy("127.0.0.1", served.port)
    np.testing.assert_allclose(client.infer(observation())["actions"], 0.05)
    order("well")
    episode(folder, 11)
    served.until("weights again", epoch=2)


def test_weights_that_are_far_worse_on_held_out_rows_are_kept_but_do_not_serve(own) -> None:
    served, order, folder = own
    for number in range(10):
        episode(folder, number)
    served.until("first weights", epoch=1)
    order("is far worse")
    episode(folder, 10)
    status = served.until("the reason", reason=lambda text: "is kept but does not serve" in text)
    assert "error on held-out rows" in status["reason"]
    store = Store(folder / "checkpoints")
    kept = [name for name in store.names() if name != status["checkpoint"]]
    assert len(kept) == 1 and kept[0] in status["reason"]
    assert json.loads((store.folder / kept[0] / "check.json").read_text())["error_rad"] > 0.5
    held_out = [source.file for source in store.manifest(kept[0]).held_out]
    assert (status["epoch"], held_out) == (1, ["training_session_epoch0/episode_10.hdf5"])


def test_what_was_held_out_is_nothing_new_to_a_server_that_starts_again(own) -> None:
    served, _, folder = own
    written = [episode(folder, number) for number in range(10)]
    served.until("weights of all", epoch=1, phase="SERVING")
    store = Store(folder / "checkpoints")
    (held_out,) = store.manifest(store.names()[-1]).held_out
    assert held_out.file.endswith(written[-1].name)
    assert held_out.uuid in store.known_uuids()


@pytest.mark.parametrize("phase", ["TRAINING", "COLLECTING", "SERVING"])
def test_a_server_that_is_killed_goes_on_where_it_was(tmp_path: Path, phase: str) -> None:
    arguments = ("--trainer", "scripted", "--watch-dir", str(tmp_path), "--calm-s", "1.0", "--set", "training_s=1.0")
    first = Served(*arguments)
    try:
        episode(tmp_path, 0)
        first.until("first weights", epoch=1)
        if phase != "SERVING":
            episode(tmp_path, 1)
            first.until(phase, phase=phase)
        children = psutil.Process(first.process.pid).children(recursive=True)
    finally:
        first.process.kill()
        first.process.communicate()
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() for child in children), "no training outlives its server"
    with serving(*arguments) as again:
        assert again.status()["epoch"] >= 1
        assert not list((tmp_path / "checkpoints").glob(".making-*")) or again.status()["phase"] == "TRAINING"
        if phase != "SERVING":
            again.until("the second weights", epoch=2)


def test_a_folder_of_checkpoints_has_one_server_at_a_time(tmp_path: Path) -> None:
    arguments, refusal = ("--trainer", "scripted", "--watch-dir", str(tmp_path)), "another policy_server has these"
    with serving(*arguments), pytest.raises(AssertionError, match=refusal):
        Served(*arguments)


def test_a_rollback_is_one_command_and_a_new_epoch_and_what_was_trained_on_is_not_trained_on_again(
    tmp_path: Path,
) -> None:
    import subprocess

    from training_server_builders import MODULE

    with serving("--trainer", "scripted", "--watch-dir", str(tmp_path), *QUICK, "--set", "training_s=0.1") as served:
        names = []
        for number in range(2):
            episode(tmp_path, number)
            names.append(served.until("weights", epoch=number + 1)["checkpoint"])
        command = [sys.executable, "-m", MODULE, "--watch-dir", str(tmp_path), "--rollback"]
        wrong = subprocess.run([*command, "0099-abcdef01"], capture_output=True, text=True, check=False)
        assert wrong.returncode == 2 and names[0] in wrong.stderr
        done = subprocess.run([*command, names[0]], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == f"epoch 3: checkpoint {names[0]} serves from now on"
        served.until("the rollback", epoch=3, checkpoint=names[0])
        time.sleep(1.0)
        assert served.status()["epoch"] == 3
        episode(tmp_path, 2)
        newest = served.until("weights after the rollback", epoch=4)["checkpoint"]
        store = Store(tmp_path / "checkpoints")
        assert (store.manifest(newest).parent, store.manifest(names[0]).parent) == (names[0], UNTRAINED)


def test_a_rollback_to_what_cannot_be_loaded_says_so_until_it_can_and_is_tried_now_and_then(
    tmp_path, monkeypatch
) -> None:
    subject = Life(tmp_path, batch=1)
    for number in range(2):
        episode(tmp_path, number)
        subject.life.step(time.monotonic())
    first, second = subject.store.names()
    load, loaded = subject.life._trainer.load, []

    def full(checkpoint: Path | None) -> Any:
        loaded.append(checkpoint)
        raise TrainingError("CUDA out of memory")

    monkeypatch.setattr(subject.life._trainer, "load", full)
    subject.store.rollback(first)
    start = time.monotonic()
    for after_s in (0.0, 0.2, 0.4):
        subject.life.step(start + after_s)
    status = subject.life.status
    assert (status.epoch, status.checkpoint, len(loaded)) == (2, second, 1)
    assert status.reason == f"rollback to {first} failed: CUDA out of memory"
    monkeypatch.setattr(subject.life._trainer, "load", load)
    subject.life.step(start + 70.0)
    status = subject.life.status
    assert (status.epoch, status.checkpoint, status.reason) == (3, first, "")


def test_weights_are_asked_before_they_serve_also_where_nothing_was_held_out(own) -> None:
    served, order, folder = own
    order("writes nan")
    episode(folder, 0)
    status = served.until("the reason", reason=lambda text: "not finite" in text)
    assert (status["epoch"], status["checkpoint"]) == (0, UNTRAINED)
    order("leaves the range")
    episode(folder, 1)
    served.until("the reason", reason=lambda text: "leave the range of joint" in text, epoch=0)
    order("well")
    episode(folder, 2)
    served.until("weights", epoch=1)


def test_nothing_is_asked_where_nothing_is_to_be_held_out(tmp_path: Path) -> None:
    own_trainer(tmp_path)("writes nan")
    arguments = (*OWN, "--watch-dir", str(tmp_path / "uploads"), *QUICK, "--hold-out", "0")
    with serving(*arguments, PYTHONPATH=own_path(tmp_path)) as served:
        episode(tmp_path / "uploads", 0)
        served.until("weights", epoch=1)


def test_what_a_trainer_reports_arrives_whole_however_much_it_is(own) -> None:
    served, order, folder = own
    order("reports much")
    episode(folder, 0)
    name = served.until("weights", epoch=1)["checkpoint"]
    losses = Store(folder / "checkpoints").manifest(name).metrics["losses"]
    assert losses == [round(1 / (1 + step), 6) for step in range(50_000)]


def test_data_are_waited_for_until_they_are_calm(tmp_path: Path) -> None:
    life = Life(tmp_path).life
    episode(tmp_path, 0)
    seen = []
    for now_s in (10.0, 11.9):
        life.step(now_s)
        seen.append(life.status.phase)
    episode(tmp_path, 1)
    for now_s in (12.1, 14.0):
        life.step(now_s)
        seen.append(life.status.phase)
    assert (seen, life.status.epoch) == (["COLLECTING"] * 4, 0)
    life.step(14.2)
    assert (life.status.phase, life.status.epoch) == ("SERVING", 1)


def test_a_batch_is_trained_on_before_it_is_calm(tmp_path: Path) -> None:
    life = Life(tmp_path, batch=2).life
    episode(tmp_path, 0)
    life.step(10.0)
    assert life.status.epoch == 0
    episode(tmp_path, 1)
    life.step(10.1)
    assert life.status.epoch == 1


def test_what_failed_is_tried_again_after_a_wait_and_at_once_when_further_episodes_come(tmp_path, monkeypatch) -> None:
    life, trainings = Life(tmp_path, batch=1).life, []

    def full(uploads: list[Any]) -> None:
        trainings.append(len(uploads))
        life._fail("OSError: No space left on device")

    monkeypatch.setattr(life, "_train", full)
    episode(tmp_path, 0)
    start = time.monotonic()
    for after_s in (0.0, 30.0, 61.0, 62.0):
        life.step(start + after_s)
    assert trainings == [1, 1]
    assert life.status.reason == "OSError: No space left on device"
    episode(tmp_path, 1)
    life.step(start + 63.0)
    assert trainings == [1, 1, 2]


def test_a_full_disk_leaves_the_old_weights_and_says_so(tmp_path: Path, monkeypatch) -> None:
    subject = Life(tmp_path, batch=1)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    for place in ("making", "commit", "advance"):
        with monkeypatch.context() as patch:
            patch.setattr(subject.store, place, full)
            episode(tmp_path, len(place))
            subject.life.step(time.monotonic())
        status = subject.life.status
        assert (status.epoch, status.ready, status.phase) == (0, True, "SERVING")
        assert "No space left on device" in status.reason
        assert not list(subject.store.folder.glob(".making-*"))
    assert subject.store.served().epoch == 0


def test_a_checkpoint_is_whole_or_not_there_and_one_that_was_changed_does_not_serve(tmp_path: Path) -> None:
    subject = Life(tmp_path, batch=1)
    episode(tmp_path, 0)
    subject.life.step(time.monotonic())
    name = subject.life.status.checkpoint
    assert subject.store.is_sound(name) == ""
    (subject.store.folder / name / "generation.txt").write_text("9\n")
    assert "is not as it was written" in subject.store.is_sound(name)
    with pytest.raises(StoreError, match="roll back to another one"):
        Life(tmp_path)
    with pytest.raises(StoreError, match="is not as it was written"):
        subject.store.rollback(name)
    subject.store.rollback(UNTRAINED)
    assert Life(tmp_path).life.status.checkpoint == UNTRAINED


def test_requests_are_answered_by_one_set_of_weights_each_while_they_are_switched(own) -> None:
    served, _, folder = own
    stop, values = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            client = WebsocketClientPolicy("127.0.0.1", served.port)
            values.append((client.get_server_metadata()["epoch"], float(client.infer(observation())["actions"][0, 0])))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        episode(folder, 0)
        served.until("weights", epoch=1)
        wait_until(lambda: any(epoch == 1 for epoch, _ in values), "the new weights answer")
    finally:
        stop.set()
        thread.join()
    assert {epoch for epoch, _ in values} == {0, 1}
    assert all(value == pytest.approx(0.05 * epoch) for epoch, value in values)


def test_a_training_has_the_lowest_priority_and_ends_with_its_server(tmp_path: Path) -> None:
    arguments = ("--trainer", "scripted", "--set", "training_s=60", "--watch-dir", str(tmp_path), *QUICK)
    with serving(*arguments) as served:
        episode(tmp_path, 0)
        served.until("a training", phase="TRAINING", progress=lambda share: share is not None and share > 0)
        (child,) = psutil.Process(served.process.pid).children()
        assert child.nice() == 19
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(20) == 0
        assert not child.is_running()
