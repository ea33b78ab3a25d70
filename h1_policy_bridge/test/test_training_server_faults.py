# SPDX-License-Identifier: Apache-2.0
"""Killed at any moment, on a disk that is really full: old weights serve on, and nothing that was trained is lost."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from training_server_builders import OWN, QUICK, Life, Served, episode, observation, own_path, own_trainer, serving

from h1_policy_bridge.training_server.store import Store

SWEEP = """
import json, os, signal, sys, time
from pathlib import Path
from h1_policy_bridge.training_server import lifecycle
from h1_policy_bridge.training_server.store import Store
from h1_policy_bridge.training_server.training import make_trainer
from h1_policy_bridge.training_server.uploads import Uploads

uploads, folder = map(Path, sys.argv[1:])

class Training:  # in this process: what is looked at is what comes after it
    is_over, failure, metrics = True, "", {}
    def __init__(self, job, workplace, limit_s): (Path(job.out) / "generation.txt").write_text("1\\n")

lifecycle.Training = Training

def life(store):
    chosen = lifecycle.LifeParameters(calm_s=0.0)
    return lifecycle.LifeCycle(store, Uploads(uploads), make_trainer("scripted", {}), ("scripted", {}), chosen)

def killed_at(count, store):
    '''Steps with a kill at the `count`-th sync or rename; in a process of its own.'''
    if pid := os.fork(): return os.waitpid(pid, 0)[1]
    store.claim()
    alive = life(store)
    def counting(function):
        def counted(*arguments):
            global left
            left -= 1
            if left == 0: os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments)
        return counted
    globals()["left"] = count
    os.fsync, Path.replace, Path.rename = counting(os.fsync), counting(Path.replace), counting(Path.rename)
    alive.step(time.monotonic())
    os._exit(0)

for count in range(1, 100):
    status = killed_at(count, Store(folder / str(count)))
    store = Store(folder / str(count))
    before = store.served()
    store.claim()
    again = life(store)
    again.step(time.monotonic())
    print(json.dumps({
        "count": count, "killed": os.WIFSIGNALED(status), "before": before.epoch, "after": again.status.epoch,
        "checkpoints": store.names(), "sound": [store.is_sound(name) for name in store.names()],
        "left": [path.name for path in store.folder.glob(".making-*")], "reason": again.status.reason,
    }))
    if not os.WIFSIGNALED(status): break
"""


def test_killed_at_any_sync_or_rename_it_goes_on_from_there_and_trains_nothing_twice(tmp_path: Path) -> None:
    episode(tmp_path / "uploads", 0)
    command = [sys.executable, "-c", textwrap.dedent(SWEEP), str(tmp_path / "uploads"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(found) > 10 and not found[-1]["killed"], "every one of them was reached"
    assert {one["before"] for one in found} == {0, 1}, "before the switch and after it"
    for one in found:
        assert (one["after"], one["sound"], one["left"], one["reason"]) == (1, [""], [], ""), one


@pytest.fixture
def order(tmp_path: Path) -> Callable[[str], None]:
    return own_trainer(tmp_path)


def watching(folder: Path) -> tuple[str, ...]:
    """The arguments of a server that trains from `folder`/uploads."""
    return (*OWN, "--watch-dir", str(folder / "uploads"), *QUICK)


@contextmanager
def to_be_killed(folder: Path) -> Iterator[Served]:
    """A server with one episode, which SIGKILL ends with the block."""
    first = Served(*watching(folder), PYTHONPATH=own_path(folder))
    try:
        episode(folder / "uploads", 0)
        yield first
    finally:
        first.process.kill()
        first.process.communicate()


def test_killed_while_it_loads_new_weights_it_checks_and_serves_them_at_the_next_start(tmp_path, order) -> None:
    store = Store(tmp_path / "uploads" / "checkpoints")
    with to_be_killed(tmp_path) as first:
        served = first.until("first weights", epoch=1)
        order("loads slowly")
        episode(tmp_path / "uploads", 1)
        status = first.until("the check", phase="CHECKING")
        assert (status["epoch"], status["checkpoint"], status["ready"]) == (1, served["checkpoint"], True)
        client = WebsocketClientPolicy("127.0.0.1", first.port)
        np.testing.assert_allclose(client.infer(observation())["actions"], 0.05)
    made = store.names()
    order("fails")  # no training is needed any more
    with serving(*watching(tmp_path), PYTHONPATH=own_path(tmp_path)) as again:
        status = again.until("the weights that were made", epoch=2)
        assert (status["checkpoint"], store.names()) == (made[-1], made)


def test_killed_on_the_wire_while_it_switches_it_serves_the_old_weights_to_the_last_and_the_new_ones_after(
    tmp_path, order
) -> None:
    store = Store(tmp_path / "uploads" / "checkpoints")
    with to_be_killed(tmp_path) as first:
        served = first.until("first weights", epoch=1)
        with (store.folder / ".changing").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # as a rollback that is under way: the switch waits for it
            episode(tmp_path / "uploads", 1)
            status = first.until("the switch", phase="SWITCHING")
            assert (status["epoch"], status["checkpoint"], status["ready"]) == (1, served["checkpoint"], True)
            client = WebsocketClientPolicy("127.0.0.1", first.port)
            assert client.get_server_metadata()["epoch"] == 1
            np.testing.assert_allclose(client.infer(observation())["actions"], 0.05)
            first.process.kill()
            assert first.process.wait(10) == -signal.SIGKILL
    made, state = store.names(), store.served()
    assert state is not None and (state.epoch, state.checkpoint, len(made)) == (1, served["checkpoint"], 2)
    order("fails")  # no training is needed any more
    with serving(*watching(tmp_path), PYTHONPATH=own_path(tmp_path)) as again:
        status = again.until("the weights that were made", epoch=2)
        assert (status["checkpoint"], status["phase"], store.names()) == (made[-1], "SERVING", made)
        assert WebsocketClientPolicy("127.0.0.1", again.port).get_server_metadata()["checkpoint"] == made[-1]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"needs to mount a file system: {mount.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_on_a_disk_that_is_full_the_old_weights_serve_and_training_goes_on_once_there_is_space(
    tmp_path: Path, order, small_disk: Path
) -> None:
    folder, checkpoints = tmp_path / "uploads", small_disk / "checkpoints"
    arguments = (*OWN, "--watch-dir", str(folder), "--checkpoints", str(checkpoints), *QUICK)
    with serving(*arguments, PYTHONPATH=own_path(tmp_path)) as served:
        episode(folder, 0)
        good = served.until("first weights", epoch=1)
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(4096))
        order("writes much")
        episode(folder, 1)
        bad = served.until("the reason", reason=lambda text: "No space left on device" in text)
        assert (bad["epoch"], bad["checkpoint"], bad["ready"]) == (1, good["checkpoint"], True)
        client = WebsocketClientPolicy("127.0.0.1", served.port)
        np.testing.assert_allclose(client.infer(observation())["actions"], 0.05)
        filler.unlink()
        served.until("weights again", epoch=2)


def test_a_write_that_fails_in_the_middle_leaves_no_checkpoint_and_is_tried_again(tmp_path: Path, order) -> None:
    folder = tmp_path / "uploads"
    with serving(*OWN, "--watch-dir", str(folder), *QUICK, PYTHONPATH=own_path(tmp_path)) as served:
        process = psutil.Process(served.process.pid)
        process.rlimit(psutil.RLIMIT_FSIZE, (100_000, psutil.RLIM_INFINITY))  # the training inherits it
        order("writes much")
        episode(folder, 0)
        bad = served.until("the reason", reason=lambda text: "File too large" in text)
        assert (bad["epoch"], bad["ready"]) == (0, True)
        assert Store(folder / "checkpoints").names() == []
        process.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
        served.until("weights", epoch=1)


def test_weights_whose_state_could_not_be_written_are_served_once_it_can(tmp_path: Path, monkeypatch) -> None:
    subject = Life(tmp_path, batch=1)
    episode(tmp_path, 0)
    start = time.monotonic()
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(subject.store, "advance", full)
        subject.life.step(start)
    made = subject.store.names()
    assert (subject.life.status.epoch, len(made)) == (0, 1)
    assert "No space left on device" in subject.life.status.reason
    subject.life.step(start + 1.0)
    assert subject.life.status.epoch == 0, "it waits"
    subject.life.step(start + 70.0)
    assert (subject.life.status.epoch, subject.store.names()) == (1, made), "served without a second training"
