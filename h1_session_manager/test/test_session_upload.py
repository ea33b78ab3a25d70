# SPDX-License-Identifier: Apache-2.0
"""Uploads by the real rsync to a local folder, and what it says of failures."""

import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from h1_session_manager.upload.ledger import FILE_NAME, FileState, Ledger
from h1_session_manager.upload.programs import FileProgress, validate
from h1_session_manager.upload.rsync import RsyncJob, differing_files, failure, parse_progress
from h1_session_manager.upload.rsync_options import ALLOWED
from h1_session_manager.upload.uploader import Patience, Uploader
from h1_session_manager.values import Synced, SyncProgress
from h1_training_node.message_numbers import SyncState
from h1_training_testing import wait_until

ONLY_FOR_OTHERS = frozenset({"--port=", "--password-file=", "--sockopts=", "--contimeout="})
"""Options that mean nothing for a folder of this machine."""

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


def uploaded(
    source: Path, target: Path | str, *, retries: int = 0, validate=None, background: bool = False, **settings
) -> tuple[Synced, list[SyncProgress]]:
    heard: list[object] = []
    job = RsyncJob(str(source), str(target), **settings)
    Uploader(job, heard.append, patience=Patience(retries, 0.01), validate=validate).start(background=background)
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
    (source / FILE_NAME).unlink()
    assert "1 files differ" in uploaded(source, target)[0].reason
    assert "episode_0.hdf5" in uploaded(source, target)[0].reason
    synced, progress = uploaded(source, target, retries=1)
    assert synced == Synced(files=2)
    assert any("attempt 2 of 2" in item.reason and item.files_owed == 1 for item in progress)
    assert (target / name).read_bytes() == (source / name).read_bytes()


def test_what_was_verified_is_not_looked_at_again(source, tmp_path, monkeypatch):
    uploaded(source, tmp_path / "target")
    assert Ledger.load(source, str(tmp_path / "target")).unverified() == {}
    monkeypatch.setenv("PATH", str(tmp_path))  # no rsync any more: nothing is asked of it
    assert uploaded(source, tmp_path / "target")[0] == Synced(files=2)


def test_a_label_that_comes_later_another_target_or_a_broken_ledger_makes_files_unverified(source, tmp_path):
    target = str(tmp_path / "target")
    uploaded(source, target)
    name = "training_session_epoch1/episode_0.hdf5"
    os.utime(source / name, ns=(1, 1))
    assert set(Ledger.load(source, target).unverified()) == {name}
    assert Ledger.load(source, target).unverified_epochs() == {1}
    assert len(Ledger.load(source, "elsewhere").unverified()) == 2
    (source / FILE_NAME).write_text("{")
    assert len(Ledger.load(source, target).unverified()) == 2


def test_a_file_that_changes_while_it_is_sent_is_not_remembered(source, tmp_path):
    ledger = Ledger.load(source, "t")
    files = ledger.unverified()
    name = "training_session_epoch1/episode_0.hdf5"
    os.utime(source / name, ns=(1, 1))
    ledger.add(files, 0.0)
    assert set(Ledger.load(source, "t").unverified()) == {name}


def test_a_damaged_file_is_named_and_stays_while_the_others_go(source, tmp_path):
    synced, progress = uploaded(
        source, tmp_path / "target", validate=lambda path, _nice: "no rows" if path.name == "episode_0.hdf5" else ""
    )
    assert "1 damaged, not sent: training_session_epoch1/episode_0.hdf5: no rows" in synced.reason
    assert files(tmp_path / "target") == {"training_session_epoch1/episode_1.hdf5"}
    assert progress[-1].state is SyncState.FAILED
    assert progress[-1].files_owed == 1


def test_the_file_being_checked_is_named_before_it_is_sent(source, tmp_path):
    _, progress = uploaded(source, tmp_path / "target", validate=lambda _path, _nice: "")
    checked = [item.file for item in progress if item.file.endswith(", checking)")]
    name = "training_session_epoch1/episode_{}.hdf5 ({} of 2, checking)"
    assert checked == [name.format(0, 1), name.format(1, 2)]


def test_the_recorders_own_check_judges_each_file(source, tmp_path):
    reason = validate(source / "training_session_epoch1" / "episode_0.hdf5", False)
    assert reason  # whatever words the recorder has for bytes that are no episode


def test_a_recorder_that_is_not_there_is_reported_with_what_to_do(source, tmp_path, monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    reason = uploaded(source, tmp_path / "target", validate=validate)[0].reason
    assert "h1_recorder is not installed here" in reason
    assert not (tmp_path / "target").exists()


def test_files_owed_fall_to_none(source, tmp_path):
    progress = uploaded(source, tmp_path / "target")[1]
    assert progress[0].files_owed == 2
    assert progress[-1].files_owed == 0


@pytest.fixture
def niceness(tmp_path, monkeypatch):
    """Where each rsync writes its niceness; the first one after `hangs` was made only waits."""
    file, hangs = tmp_path / "niceness", tmp_path / "hangs"
    fake = tmp_path / "bin" / "rsync"
    fake.parent.mkdir()
    wait = f"rmdir {hangs} 2>/dev/null && exec sleep 60"
    fake.write_text(f'#!/bin/sh\nnice >> {file}\n{wait}\nexec {shutil.which("rsync")} "$@"\n')
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    return file


def test_an_upload_in_the_background_runs_at_low_priority_and_says_so(source, tmp_path, niceness):
    checked = []
    result = uploaded(
        source, tmp_path / "target", background=True, validate=lambda _path, nice: checked.append(nice) or ""
    )[0]
    assert result == Synced(files=2, background=True)
    assert set(niceness.read_text().split()) == {"19"} and checked == [True, True]


def test_an_upload_that_is_waited_for_does_not_wait_for_a_slow_one_in_the_background(source, tmp_path, niceness):
    (tmp_path / "hangs").mkdir()
    heard: list[object] = []
    uploader = Uploader(RsyncJob(str(source), str(tmp_path / "target")), heard.append)
    uploader.start(background=True)
    wait_until(lambda: not (tmp_path / "hangs").exists(), "rsync hangs", 30)
    uploader.start()
    wait_until(lambda: any(isinstance(item, Synced) for item in heard), "the end of both", 30)
    assert heard[-1] == Synced(files=2) and niceness.read_text().split()[-1] == str(os.nice(0))
    assert not [item for item in heard[:-1] if isinstance(item, Synced) or item.state is SyncState.FAILED]


def test_an_upload_that_took_over_from_the_background_is_tried_again_as_any_other(source, tmp_path, monkeypatch):
    """Its rsync: the first only waits, the second loses its connection, the third is the real one."""
    fake, calls = tmp_path / "bin" / "rsync", tmp_path / "calls"
    fake.parent.mkdir()
    fake.write_text(
        f"#!/bin/sh\necho >> {calls}\ncase $(wc -l < {calls}) in\n1) exec sleep 60;;\n2) exit 12;;\nesac\n"
        f'exec {shutil.which("rsync")} "$@"\n'
    )
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    heard: list[object] = []
    uploader = Uploader(RsyncJob(str(source), str(tmp_path / "target")), heard.append, patience=Patience(1, 0.01))
    uploader.start(background=True)
    wait_until(calls.exists, "rsync hangs", 30)
    uploader.start()
    wait_until(lambda: any(isinstance(item, Synced) for item in heard), "the end of both", 30)
    assert heard[-1] == Synced(files=2)
    assert any(isinstance(item, SyncProgress) and "attempt 2 of 2" in item.reason for item in heard)


def test_an_upload_that_is_waited_for_follows_the_one_in_the_background(source, tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    def slow(_path: Path, low_priority: bool) -> str:
        begun.set()
        go_on.wait(30)
        return ""

    heard: list[object] = []
    uploader = Uploader(RsyncJob(str(source), str(tmp_path / "target")), heard.append, validate=slow)
    uploader.start(background=True)
    assert begun.wait(30)
    (source / "training_session_epoch1" / "episode_2.hdf5").write_bytes(b"finished meanwhile")
    uploader.start()
    go_on.set()
    wait_until(lambda: any(isinstance(item, Synced) for item in heard), "the end of both", 30)
    assert [item for item in heard if isinstance(item, Synced)] == [Synced(files=3)]
    assert len(files(tmp_path / "target")) == 3


def test_a_second_upload_finds_nothing_to_do(source, tmp_path):
    uploaded(source, tmp_path / "target")
    assert uploaded(source, tmp_path / "target")[0] == Synced(files=2)


def test_a_local_file_is_never_touched(source, tmp_path):
    before = {name: (source / name).read_bytes() for name in files(source)}
    uploaded(source, tmp_path / "target")
    assert {name: (source / name).read_bytes() for name in files(source) - {FILE_NAME}} == before


def test_a_shell_is_never_asked(source, tmp_path):
    target = tmp_path / "$(touch pwned); `touch pwned`"
    assert uploaded(source, target)[0].reason == ""
    assert target.is_dir()
    assert not Path("pwned").exists()


def test_a_missing_rsync_is_reported_with_what_to_do(source, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (
        uploaded(source, tmp_path / "target")[0].reason == "rsync is not installed here; install it (apt install rsync)"
    )


def test_a_target_that_cannot_be_made_is_named(source, tmp_path):
    (tmp_path / "file").touch()
    assert str(tmp_path / "file" / "x") in uploaded(source, tmp_path / "file" / "x")[0].reason


def test_a_missing_source_is_named(tmp_path):
    assert "does not exist" in uploaded(tmp_path / "none", tmp_path / "target")[0].reason


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("-avz '", "cannot be split"),
        ("-avz /etc", "'/etc', which is no option"),
        ("-a --remove-source-files", "rsync.options holds '--remove-source-files', which is not allowed"),
        ("-a --remove-sent-files", "'--remove-sent-files', which is not allowed"),  # an old alias of the one above
        ("-a --remove-so", "'--remove-so', which is not allowed"),  # rsync takes abbreviations
        ("-a --delete", "'--delete', which is not allowed"),
        ("-avn", "'-n', which is not allowed: it sends nothing"),
        ("-a --exclude=*.hdf5", "it leaves files out, which would be owed for ever"),
        ("-au", "it leaves files at the target that differ"),
        ("-a --checksum-choice=none", "without checksums nothing proves an upload"),
        ("-a --compress-level", "without its value"),
        ("-a -e 'ssh -p 22'", "holds '-e', which means nothing for"),
        ("-a --password-file=/x", "holds '--password-file=/x', which means nothing for"),
        ("-a --nonsense", "'--nonsense', which is not allowed"),
    ],
)
def test_options_that_cannot_be_used_are_named(source, tmp_path, options, problem):
    assert problem in uploaded(source, tmp_path / "target", options=options)[0].reason


@pytest.mark.parametrize("option", [option for option in ALLOWED if option not in ONLY_FOR_OTHERS])
def test_every_allowed_option_leaves_an_upload_whole(source, tmp_path, option):
    """With the real rsync: what is allowed is known to it, and keeps no file from arriving."""
    value = {"--chmod=": "F640", "--chown=": f"{os.getuid()}", "--usermap=": "*:0", "--groupmap=": "*:0",
             "--compress-choice=": "zlib", "--checksum-choice=": "md5", "--address=": "127.0.0.1",
             "--skip-compress=": "gz", "--rsync-path=": "rsync", "--bwlimit=": "1m"}.get(option, "1")  # fmt: skip
    synced, _ = uploaded(source, tmp_path / "target", options=f"-a {option}{value if option.endswith('=') else ''}")
    assert synced == Synced(files=2)
    assert len(files(source)) == 6 + 1, "nothing is gone here; the ledger is new"


def test_rsync_that_hangs_is_ended(source, tmp_path, monkeypatch):
    fake = tmp_path / "bin" / "rsync"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("h1_session_manager.upload.uploader._MARGIN_S", 0.0)
    assert "stood still" in uploaded(source, tmp_path / "target", timeout_s=0.5)[0].reason
    assert not subprocess.run(["pgrep", "-f", str(fake)], capture_output=True, check=False).stdout


def test_an_upload_can_be_ended(source, tmp_path, monkeypatch):
    heard: list[object] = []
    uploader = Uploader(RsyncJob(str(source), str(tmp_path / "target"), bwlimit="1k"), heard.append)
    uploader.start()
    wait_until(lambda: heard, "the beginning of the upload")
    wait_until(lambda: uploader._run._process is not None, "rsync")
    uploader.stop(5.0)
    wait_until(lambda: any(isinstance(item, Synced) for item in heard), "the result")
    assert "owed" in heard[-1].reason
    assert "training_session_epoch1/episode_0.hdf5" not in files(tmp_path / "target")


UPLOADS = """
import sys, time
from pathlib import Path
from h1_session_manager.upload.programs import validate
from h1_session_manager.upload.rsync import RsyncJob
from h1_session_manager.upload.uploader import Uploader
Uploader(RsyncJob(*sys.argv[1:3]), print, validate=validate if "check" in sys.argv else None).start()
time.sleep(60)
"""


@pytest.mark.parametrize("what", ["send", "check"])
def test_what_an_upload_runs_ends_with_the_session_however_that_ends(source, tmp_path, what, monkeypatch):
    """Beside the next session's upload an rsync of the last one would write to the same files."""
    running = tmp_path / "pid"
    fake = tmp_path / "bin" / ("rsync" if what == "send" else "h1_recorder/lib/h1_recorder/episodes")
    fake.parent.mkdir(parents=True)
    fake.write_text(f"#!/bin/sh\necho $$ > {running}\nexec sleep 60\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    index = tmp_path / "bin/h1_recorder/share/ament_index/resource_index/packages"
    index.mkdir(parents=True)
    (index / "h1_recorder").touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'bin/h1_recorder'}:{os.environ['AMENT_PREFIX_PATH']}")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with subprocess.Popen([sys.executable, "-c", UPLOADS, str(source), str(tmp_path / "target"), what]) as session:
        wait_until(lambda: running.exists() and running.read_text().strip(), f"it begins to {what}", 30)
        session.kill()
    program = Path("/proc") / running.read_text().strip() / "cmdline"
    wait_until(lambda: not program.exists() or b"sleep" not in program.read_bytes(), "its end", 10)


def test_progress_lines_are_read():
    progress = parse_progress("     32,768  10%  5.25MB/s    0:01:02 (xfr#1, to-chk=2/4)")
    assert (progress.progress, progress.bytes_sent, progress.seconds_left) == (0.1, 32768, 62.0)
    assert progress.bytes_per_second == 5.25 * 1024**2
    assert parse_progress("training_session_epoch1/episode_0.hdf5") is None


def test_only_files_count_as_different():
    lines = ["<f+++++++++ a/episode_0.hdf5", "cd+++++++++ a/", ".d..t...... ./", "<fc.T...... b c.hdf5"]
    assert differing_files(lines) == ["a/episode_0.hdf5", "b c.hdf5"]


def test_exit_statuses_say_what_to_do():
    refused = failure(255, "Permission denied (publickey).\nrsync error: unexplained error\n")
    assert str(refused).startswith("the host does not accept the key; check rsync.ssh_key")
    assert "Permission denied" in str(refused)
    assert not refused.is_passing
    assert failure(255, "Connection refused\n").is_passing
    assert str(failure(99, "")) == "rsync ended with status 99"


def test_progress_names_the_file_which_one_it_is_and_its_own_share():
    progress = FileProgress({"a": FileState(1000, 0), "b": FileState(4000, 0)})
    texts = []
    for line in ("sending incremental file list", "a", "   500  10%  1.00MB/s  0:00:04", "b",
                 "  3,000  60%  1.00MB/s  0:00:02 (xfr#1, to-chk=1/3)"):  # fmt: skip
        progress.take(line)
        texts.append(progress.text)
    assert texts == ["", "a (1 of 2, 0%)", "a (1 of 2, 50%)", "b (2 of 2, 0%)", "b (2 of 2, 62%)"]


def test_progress_of_a_real_upload_goes_file_by_file_and_names_what_is_owed(source, tmp_path):
    _, progress = uploaded(source, str(tmp_path / "target"))
    running = [item for item in progress if item.state is SyncState.RUNNING and item.file]
    assert running[-1].file.startswith("training_session_epoch1/episode_1.hdf5 (2 of 2, ")
    assert all(item.files_owed == 2 for item in running)
