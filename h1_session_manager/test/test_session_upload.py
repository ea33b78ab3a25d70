"""Uploads by the real rsync to a local folder, and what it says of failures."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from h1_session_manager.rsync import RsyncJob, RsyncOptionError, differing_files, meaning, parse_progress
from h1_session_manager.uploader import Uploader
from h1_session_manager.values import Synced, SyncProgress, SyncState
from h1_training_node.testing import wait_until

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / "data with a space"
    epoch = folder / "training_session_epoch1"
    epoch.mkdir(parents=True)
    (epoch / "episode_0.hdf5").write_bytes(os.urandom(200_000))
    (epoch / "episode_1.hdf5").write_bytes(os.urandom(100_000))
    (epoch / ".episode_2.mcap").write_bytes(b"open journal")
    (epoch / ".lock").touch()
    (epoch / ".discarded").mkdir()
    (epoch / ".discarded" / "episode_9.hdf5").write_bytes(b"no")
    (folder / ".session_state.json").write_text("{}")
    return folder


def uploaded(source: Path, target: Path | str, **settings) -> tuple[Synced, list[SyncProgress]]:
    heard: list[object] = []
    Uploader(RsyncJob(str(source), str(target), **settings), heard.append).start()
    wait_until(lambda: any(isinstance(item, Synced) for item in heard), "the end of the upload", 30)
    return next(item for item in heard if isinstance(item, Synced)), [i for i in heard if isinstance(i, SyncProgress)]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_episodes_arrive_whole_and_hidden_files_stay(source, tmp_path):
    synced, progress = uploaded(source, tmp_path / "target" / "deep")
    assert synced == Synced(files=2)
    target = tmp_path / "target" / "deep"
    assert files(target) == {"training_session_epoch1/episode_0.hdf5", "training_session_epoch1/episode_1.hdf5"}
    for name in files(target):
        assert (target / name).read_bytes() == (source / name).read_bytes()
    assert progress[0].state is SyncState.RUNNING
    assert progress[-1].state is SyncState.DONE
    assert max(item.progress for item in progress) == 1.0


def test_a_file_that_differs_at_the_target_is_sent_again_even_with_size_and_time_alike(source, tmp_path):
    target = tmp_path / "target"
    uploaded(source, target)
    name = "training_session_epoch1/episode_0.hdf5"
    status = (target / name).stat()
    (target / name).write_bytes(bytes(status.st_size))
    os.utime(target / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    synced, _ = uploaded(source, target)
    assert "1 files differ" in synced.reason
    assert "episode_0.hdf5" in synced.reason


def test_a_second_upload_finds_nothing_to_do(source, tmp_path):
    uploaded(source, tmp_path / "target")
    assert uploaded(source, tmp_path / "target")[0] == Synced(files=2)


def test_a_local_file_is_never_touched(source, tmp_path):
    before = {name: (source / name).read_bytes() for name in files(source)}
    uploaded(source, tmp_path / "target")
    assert {name: (source / name).read_bytes() for name in files(source)} == before


def test_a_shell_is_never_asked(source, tmp_path):
    target = tmp_path / "$(touch pwned); `touch pwned`"
    assert uploaded(source, target)[0].reason == ""
    assert target.is_dir()
    assert not Path("pwned").exists()


def test_a_missing_rsync_is_told_with_what_to_do(source, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert uploaded(source, tmp_path / "target")[0].reason == "rsync is not installed; install it (apt install rsync)"


def test_a_target_that_cannot_be_made_is_named(source, tmp_path):
    (tmp_path / "file").touch()
    assert str(tmp_path / "file" / "x") in uploaded(source, tmp_path / "file" / "x")[0].reason


def test_a_missing_source_is_named(tmp_path):
    assert "does not exist" in uploaded(tmp_path / "none", tmp_path / "target")[0].reason


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("-avz '", "cannot be split"),
        ("-avz /etc", "'/etc', which is no option"),
        ("-a --remove-source-files", "does not allow"),
    ],
)
def test_options_that_cannot_be_used_are_named(source, tmp_path, options, told):
    assert told in uploaded(source, tmp_path / "target", options=options)[0].reason


def test_an_option_that_rsync_does_not_know_is_explained(source, tmp_path):
    assert "check rsync.options" in uploaded(source, tmp_path / "target", options="-a --nonsense")[0].reason


@pytest.mark.parametrize("target", ["", "-e sh"])
def test_a_target_that_is_none_is_refused(target):
    with pytest.raises(RsyncOptionError, match="is no target"):
        RsyncJob("/data", target).upload_command()


def test_the_key_is_handed_to_ssh_in_one_argument_that_rsync_understands():
    command = RsyncJob("/data", "robot@host:/data", ssh_key="/home/kim's keys/id").upload_command()
    shell = command[command.index("-e") + 1]
    assert shell.startswith("ssh ")
    assert "-i '/home/kim''s keys/id'" in shell
    assert "BatchMode=yes" in shell
    assert command[-3:] == ["--", "/data/", "robot@host:/data"]


def test_no_key_no_argument_for_it():
    command = RsyncJob("/data", "robot@host:/data").upload_command()
    assert "-i" not in command[command.index("-e") + 1]


def test_a_remote_shell_among_the_options_is_kept():
    command = RsyncJob("/data", "robot@host:/data", options="-az -e 'ssh -p 2222'", ssh_key="/k").upload_command()
    assert command.count("-e") == 1
    assert command[command.index("-e") + 1].startswith("ssh -p 2222 -o BatchMode=yes")


def test_a_local_target_needs_no_ssh():
    assert "-e" not in RsyncJob("/data", "/backup/a:b").upload_command()


def test_rsync_that_hangs_is_ended(source, tmp_path, monkeypatch):
    fake = tmp_path / "bin" / "rsync"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("h1_session_manager.uploader._MARGIN_S", 0.0)
    assert "stood still" in uploaded(source, tmp_path / "target", timeout_s=0.5)[0].reason
    assert not subprocess.run(["pgrep", "-f", str(fake)], capture_output=True, check=False).stdout


def test_an_upload_can_be_ended(source, tmp_path, monkeypatch):
    heard: list[object] = []
    uploader = Uploader(RsyncJob(str(source), str(tmp_path / "target"), bwlimit="1k"), heard.append)
    uploader.start()
    wait_until(lambda: heard, "the beginning of the upload")
    wait_until(lambda: uploader._process is not None, "rsync")
    uploader.stop(5.0)
    wait_until(lambda: any(isinstance(item, Synced) for item in heard), "the result")
    assert "owed" in heard[-1].reason
    assert "training_session_epoch1/episode_0.hdf5" not in files(tmp_path / "target")


def test_progress_lines_are_read():
    progress = parse_progress("     32,768  10%  5.25MB/s    0:01:02 (xfr#1, to-chk=2/4)")
    assert (progress.share, progress.bytes_sent, progress.seconds_left) == (0.1, 32768, 62.0)
    assert progress.bytes_per_second == 5.25 * 1024**2
    assert parse_progress("training_session_epoch1/episode_0.hdf5") is None


def test_only_files_count_as_different():
    lines = ["<f+++++++++ a/episode_0.hdf5", "cd+++++++++ a/", ".d..t...... ./", "<fc.T...... b c.hdf5"]
    assert differing_files(lines) == ["a/episode_0.hdf5", "b c.hdf5"]


def test_exit_statuses_say_what_to_do():
    assert meaning(255, "Permission denied (publickey).\n").startswith("ssh could not log in; check rsync.target")
    assert "Permission denied" in meaning(255, "Permission denied (publickey).\nrsync error: unexplained error\n")
    assert meaning(99, "") == "rsync ended with status 99"
