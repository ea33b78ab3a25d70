# SPDX-License-Identifier: Apache-2.0
"""Uploads to a real `rsync --daemon`, by every form of its targets."""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_session_upload import files, source, uploaded  # noqa: F401  # a fixture

from h1_session_manager.upload.rsync import RsyncJob
from h1_session_manager.upload.uploader import Uploader
from h1_session_manager.values import Reached, Synced
from h1_training_testing import wait_until

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
NAMES = {"training_session_epoch1/episode_0.hdf5", "training_session_epoch1/episode_1.hdf5"}


@dataclass(frozen=True)
class Daemon:
    """Where it listens, and what its modules hold."""

    host: str
    port: int
    folder: Path


@contextlib.contextmanager
def serving(folder: Path, host: str = "127.0.0.1") -> Iterator[Daemon]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    for module in ("open", "guarded", "frozen"):
        (folder / module).mkdir(parents=True)
    secrets = folder / "secrets"
    secrets.write_text("kim:sesame\n")
    secrets.chmod(0o600)
    own = f"uid = {os.getuid()}\ngid = {os.getgid()}\nuse chroot = no\n"
    (folder / "rsyncd.conf").write_text(
        f"{own}[open]\npath = {folder / 'open'}\nread only = no\n"
        f"[guarded]\npath = {folder / 'guarded'}\nread only = no\nauth users = kim\nsecrets file = {secrets}\n"
        f"[frozen]\npath = {folder / 'frozen'}\nread only = yes\n"
    )
    command = ["rsync", "--daemon", "--no-detach", f"--config={folder / 'rsyncd.conf'}", f"--port={port}",
               f"--address={host}", f"--log-file={folder / 'log'}"]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(host, port), "the daemon", 15)
        yield Daemon(host, port, folder)
    finally:
        process.terminate()
        process.wait(10)


def answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), 0.2):
        return True
    return False


@pytest.fixture
def daemon(tmp_path) -> Iterator[Daemon]:
    with serving(tmp_path / "daemon") as running:
        yield running


def test_episodes_arrive_at_a_daemon_by_its_address(source, daemon):  # noqa: F811
    target = f"rsync://{daemon.host}:{daemon.port}/open/h1"
    assert uploaded(source, target)[0] == Synced(files=2)
    assert files(daemon.folder / "open" / "h1") == NAMES


def test_episodes_arrive_at_a_daemon_by_two_colons_and_a_port(source, daemon):  # noqa: F811
    target = f"{daemon.host}::open"
    assert uploaded(source, target, options=f"-az --port={daemon.port}")[0] == Synced(files=2)
    assert files(daemon.folder / "open") == NAMES


def test_a_daemon_on_ipv6_is_reached(source, tmp_path):  # noqa: F811
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    with serving(tmp_path / "daemon", "::1") as daemon:
        assert uploaded(source, f"rsync://[::1]:{daemon.port}/open")[0] == Synced(files=2)
        assert uploaded(source, "[::1]::open/again", options=f"-a --port={daemon.port}")[0] == Synced(files=2)
        assert files(daemon.folder / "open" / "again") == NAMES


def test_a_password_comes_from_a_file_and_is_never_asked_for(source, daemon, tmp_path):  # noqa: F811
    password = tmp_path / "password"
    password.write_text("sesame\n")
    password.chmod(0o600)
    target = f"rsync://kim@{daemon.host}:{daemon.port}/guarded"
    assert "does not accept user or password" in uploaded(source, target)[0].reason
    assert uploaded(source, target, options=f"-a --password-file={password}")[0] == Synced(files=2)


@pytest.mark.parametrize(
    ("module", "problem"),
    [
        ("nowhere", "has no such module"),
        ("frozen", "may not be written"),
        ("guarded", "does not accept user or password"),
    ],
)
def test_what_the_daemon_refuses_is_said_with_what_to_do(source, daemon, module, problem):  # noqa: F811
    synced, _ = uploaded(source, f"rsync://kim@{daemon.host}:{daemon.port}/{module}")
    assert problem in synced.reason
    assert not files(daemon.folder / "frozen")


def test_the_probe_before_an_episode_reaches_a_daemon_or_says_why_not(source, daemon):  # noqa: F811
    heard: list[object] = []
    for module in ("open", "nowhere"):
        Uploader(RsyncJob(str(source), f"rsync://{daemon.host}:{daemon.port}/{module}"), heard.append).probe()
        wait_until(lambda: isinstance(heard[-1] if heard else None, Reached), "the answer", 15)
        reached = heard.pop()
        assert (reached == Reached()) == (module == "open"), reached
