# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F401, F811  (`source` is a fixture)
"""Uploads by the real rsync through a real sshd, and what is said of everything that goes wrong there."""

import os
import shutil
import subprocess

import pytest
from sshd_builders import can_serve, serving
from test_session_upload import files, source, uploaded

from h1_session_manager.upload import uploader
from h1_session_manager.upload.rsync import RsyncJob, free_bytes
from h1_session_manager.upload.uploader import Uploader, free_at
from h1_session_manager.values import Reached, Synced, SyncProgress
from h1_training_testing import wait_until

# `source` is the fixture of that module

pytestmark = [
    pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed"),
    pytest.mark.skipif(not can_serve(), reason="no sshd can be started here"),
]
EPISODES = {"training_session_epoch1/episode_0.hdf5", "training_session_epoch1/episode_1.hdf5"}


@pytest.fixture
def host(tmp_path):
    with serving(tmp_path / "host") as host:
        yield host


def sent(source, host, target, *, known_hosts="known_hosts", key=None, **settings):
    options = host.options(known_hosts)
    return uploaded(source, f"127.0.0.1:{target}", options=options, ssh_key=key or host.key, **settings)


def test_episodes_arrive_through_ssh_and_are_verified(source, host, tmp_path):
    target = tmp_path / "target"
    assert sent(source, host, target)[0] == Synced(files=2)
    assert files(target) == EPISODES
    for name in EPISODES:
        assert (target / name).read_bytes() == (source / name).read_bytes()


def test_a_key_that_is_not_there_is_named_before_anybody_is_asked(source, host, tmp_path):
    synced, _ = sent(source, host, tmp_path / "target", key=str(tmp_path / "no_key"), retries=3)
    assert f"rsync.ssh_key '{tmp_path / 'no_key'}' does not exist" in synced.reason
    assert "Connection" not in (host.folder / "sshd.log").read_text()


def test_a_key_that_the_host_does_not_know_is_named_at_once(source, host, tmp_path):
    synced, progress = sent(source, host, tmp_path / "target", key=host.other_key, retries=3)
    assert synced.reason.startswith("the host does not accept the key; check rsync.ssh_key")
    assert not any("attempt" in item.reason for item in progress)


def test_an_unknown_host_gets_nothing(source, host, tmp_path):
    synced, progress = sent(source, host, tmp_path / "target", known_hosts="none", retries=3)
    assert synced.reason.startswith("the host's key is not known here; log in once by hand")
    assert not any("attempt" in item.reason for item in progress)
    assert not (tmp_path / "target").exists()


def test_a_host_with_another_key_than_before_gets_nothing(source, host, tmp_path):
    synced, _ = sent(source, host, tmp_path / "target", known_hosts="changed_hosts", retries=3)
    assert synced.reason.startswith("the host has another key than before")
    assert not (tmp_path / "target").exists()


def test_a_host_that_does_not_answer_is_tried_again(source, tmp_path):
    with serving(tmp_path / "host") as host:
        pass
    synced, progress = sent(source, host, tmp_path / "target", retries=2)
    assert "Connection refused" in synced.reason
    waits = [item.reason for item in progress if "attempt" in item.reason]
    assert ["attempt 2 of 3 in 0.01 s" in waits[0], "attempt 3 of 3 in 0.02 s" in waits[1]] == [True, True]


def test_a_connection_cut_in_the_middle_goes_on_where_it_broke(source, tmp_path):
    # The first login loses its connection a second into a transfer that takes three; the next ones are whole.
    once = tmp_path / "cut_once"
    once.touch()
    cut = f"if rm {once} 2>/dev/null; then (sleep 1; kill -KILL $PPID) >/dev/null 2>&1 & fi"
    with serving(tmp_path / "host", f"ForceCommand {cut}; exec $SSH_ORIGINAL_COMMAND") as host:
        synced, progress = sent(source, host, tmp_path / "target", retries=2, bwlimit="100k")
    assert synced == Synced(files=2)
    broken = [item for item in progress if "attempt 2 of 3" in item.reason]
    assert broken
    assert broken[0].files_owed == 2
    for name in EPISODES:
        assert (tmp_path / "target" / name).read_bytes() == (source / name).read_bytes()
    assert not once.exists()


def _can_mount() -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _can_mount(), reason="a small disk for the target needs root")
def test_a_full_target_is_reported(source, tmp_path):
    target = tmp_path / "small"
    target.mkdir()
    # A disk of 100 kB that only this sshd sees, and that goes with it.
    mount = f'mount -t tmpfs -o size=100k none {target} && exec "$@"'
    with serving(tmp_path / "host", before=("unshare", "--mount", "sh", "-c", mount, "sh")) as host:
        synced, progress = sent(source, host, target, retries=3)
    # rsync's receiver may go before its last words have come through; the target is then asked for its free space.
    assert synced.reason.startswith("the target is full; free some space there")
    assert not any("attempt" in item.reason for item in progress)
    assert progress[-1].files_owed == 2


def test_a_target_that_may_not_be_written_is_reported(source, host, tmp_path):
    (tmp_path / "file").touch()
    synced, _ = sent(source, host, tmp_path / "file" / "deeper", retries=3)
    assert "check rsync.target" in synced.reason or "check the target" in synced.reason


def test_a_host_without_rsync_is_reported_with_how_to_install_it(source, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    without = f"ForceCommand PATH={empty}; $SSH_ORIGINAL_COMMAND"
    with serving(tmp_path / "host", without) as host:
        synced, progress = sent(source, host, tmp_path / "target", retries=3)
    assert synced.reason.startswith("rsync is not installed at the target; install it there")
    assert not any("attempt" in item.reason for item in progress)


def probed(job: RsyncJob) -> Reached:
    heard: list[SyncProgress | Synced | Reached] = []
    Uploader(job, heard.append).probe()
    wait_until(lambda: heard, "the answer of the target", 30)
    assert isinstance(heard[0], Reached)
    return heard[0]


def test_a_target_can_be_asked_whether_it_is_there_without_being_touched(source, host, tmp_path):
    job = RsyncJob(str(source), f"127.0.0.1:{tmp_path / 'target'}", host.options(), host.key)
    assert probed(job) == Reached("")
    assert not (tmp_path / "target").exists()
    stranger = RsyncJob(str(source), f"127.0.0.1:{tmp_path / 'target'}", host.options("none"), host.key)
    assert probed(stranger).reason.startswith("the host's key is not known here")


@pytest.mark.skipif(shutil.which("rrsync") is None, reason="rrsync is not installed")
def test_a_key_that_may_only_write_into_one_folder_is_enough(source, host, tmp_path):
    """As docs/security.md of h1_training_bringup advises: a target is then relative to the folder that rrsync names."""
    (tmp_path / "data").mkdir()
    authorized = host.folder / "authorized"
    authorized.write_text(f'restrict,command="rrsync -wo {tmp_path / "data"}" {authorized.read_text()}')
    assert uploaded(source, "127.0.0.1:alice", options=host.options(), ssh_key=host.key)[0] == Synced(files=2)
    assert files(tmp_path / "data/alice") == EPISODES
    reached: list[object] = []
    uploader = Uploader(RsyncJob(str(source), "127.0.0.1:alice", host.options(), host.key), reached.append)
    uploader.probe()
    wait_until(lambda: reached, "the answer")
    assert reached == [Reached()]


def test_a_target_without_space_for_what_is_owed_is_reported_before_sending(source, host, tmp_path, monkeypatch):
    job = RsyncJob(str(source), f"127.0.0.1:{tmp_path / 'not there yet'}", host.options(), host.key)
    assert free_at(job) == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.5)
    monkeypatch.setattr(uploader, "free_at", lambda _job: 1000)
    assert probed(job).reason.startswith("0 MB free at the target, ")


def test_the_space_at_a_target_that_cannot_be_asked_is_not_known(source, tmp_path):
    for target in ("rsync://host/module", "host::module"):
        assert RsyncJob(str(source), target).space_command() is None
    with serving(tmp_path / "host") as host:
        pass
    assert free_at(RsyncJob(str(source), f"127.0.0.1:{tmp_path}", host.options(), host.key)) is None
    printed = ("", "df: no such file", "Filesystem\n/dev/x 9 8 7 1% /a")
    assert [free_bytes(text) for text in printed] == [None, None, 7168]
