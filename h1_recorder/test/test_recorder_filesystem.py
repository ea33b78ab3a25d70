# SPDX-License-Identifier: Apache-2.0
"""A save on disks that lack one ability or another: real ones where they can be had, else one error after the other."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from recorder_builders import START_NS, append, names_in, open_journal, ordinary

from h1_recorder.__main__ import main
from h1_recorder.episode.save import label_episode, save_journal
from h1_recorder.episode.validate import problems
from h1_recorder.recorder import filesystem
from h1_recorder.recorder.filesystem import free_bytes, lacking, mapped, preallocate, rename_new, sync_file, sync_folder
from h1_recorder.recorder.journal_file import read_journal
from h1_training_node.folder_lock import FolderInUseError, FolderLock
from h1_training_testing import wait_until

SAMPLE = Path(__file__).parent / "data/format_1.mcap"

OF_LINK = (
    *("EACCES", "EDQUOT", "EFAULT", "EIO", "ELOOP", "EMLINK", "ENAMETOOLONG", "ENOENT", "ENOMEM", "ENOSPC", "ENOTDIR"),
    *("EPERM", "EROFS", "EXDEV", "EINVAL", "ENOSYS", "EOPNOTSUPP"),
)
OF_RENAMEAT2 = (
    *("EACCES", "EBUSY", "EDQUOT", "EFAULT", "EINVAL", "EISDIR", "ELOOP", "EMLINK", "ENAMETOOLONG", "ENOMEM", "ENOSPC"),
    *("ENOTDIR", "EPERM", "EROFS", "EXDEV", "ENOSYS", "EOPNOTSUPP", "EIO"),
)
OF_FSYNC_LOST = ("EIO", "ENOSPC", "EDQUOT", "EBADF")
OF_FSYNC_UNABLE = ("EINVAL", "EROFS", "ENOSYS", "EOPNOTSUPP", "ENOTTY")
OF_OPENING_A_FOLDER = ("EACCES", "EINVAL", "EIO", "EISDIR", "ENFILE", "ENOMEM", "EPERM", "ENOSYS")
OF_CHMOD = ("EACCES", "EFAULT", "EIO", "ELOOP", "ENOENT", "ENOMEM", "ENOTDIR", "EPERM", "EROFS", "ENOTSUP", "ENOSYS")
OF_FLOCK = ("EINTR", "EINVAL", "ENOLCK", "EBADF", "ENOSYS", "EOPNOTSUPP", "EIO")
OF_FALLOCATE = (*("EBADF", "EINTR", "EINVAL", "EIO", "ENODEV", "ENOSYS", "EOPNOTSUPP", "EPERM", "ESPIPE", "ETXTBSY"),)
OF_STATVFS = ("EINTR", "EIO", "ELOOP", "ENOMEM", "ENOSYS", "EOVERFLOW", "EBADF")
OF_MMAP = ("EACCES", "EAGAIN", "EBADF", "EINVAL", "ENFILE", "ENODEV", "ENOMEM", "EOVERFLOW", "EPERM", "ENOSYS")
OF_TRUNCATE = ("EACCES", "EFBIG", "EINTR", "EINVAL", "EIO", "EPERM", "EROFS", "ENOSYS")


def refusing(name: str) -> Any:
    number = getattr(errno, name)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return Path(shutil.copyfile(SAMPLE, tmp_path / ".episode_0.mcap"))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("mine")
    return source, target


@pytest.mark.parametrize("of_renameat2", OF_RENAMEAT2)
def test_where_renameat2_fails_a_hard_link_renames(
    of_renameat2: str, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "_renameat2", refusing(of_renameat2))
    rename_new(*files)
    assert files[1].read_text() == "mine" and not files[0].exists()


@pytest.mark.parametrize("of_link", OF_LINK)
def test_where_neither_is_possible_a_plain_rename_does_and_replaces_nothing(
    of_link: str, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "_renameat2", refusing("EINVAL"))
    monkeypatch.setattr(os, "link", refusing(of_link))
    files[1].write_text("another's")
    with pytest.raises(FileExistsError):
        rename_new(*files)
    assert files[1].read_text() == "another's" and files[0].read_text() == "mine"
    files[1].unlink()
    rename_new(*files)
    assert files[1].read_text() == "mine" and not files[0].exists()


@pytest.mark.parametrize("ways", [0, 1, 2])
def test_no_way_of_renaming_replaces_a_file(
    ways: int, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_renameat2", "_link_and_unlink")[:ways]:
        monkeypatch.setattr(filesystem, name, refusing("ENOSYS"))
    files[1].write_text("another's")
    with pytest.raises(FileExistsError, match="the name is taken"):
        rename_new(*files)
    assert files[1].read_text() == "another's" and files[0].read_text() == "mine"


def test_a_link_whose_source_stays_is_taken_back(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "_renameat2", refusing("ENOSYS"))
    unlink = Path.unlink

    def refuse_source(path: Path, *more: Any, **others: Any) -> None:
        refusing("EPERM")() if path == files[0] else unlink(path, *more, **others)

    monkeypatch.setattr(Path, "unlink", refuse_source)
    rename_new(*files)
    assert files[1].read_text() == "mine" and not files[0].exists()


@pytest.mark.parametrize("name", OF_FSYNC_UNABLE)
def test_a_file_that_cannot_be_synced_is_no_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fdatasync", refusing(name))
    sync_file(0)


@pytest.mark.parametrize("name", OF_FSYNC_LOST)
def test_a_file_whose_data_are_lost_is_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fdatasync", refusing(name))
    with pytest.raises(OSError, match=os.strerror(getattr(errno, name))):
        sync_file(0)


@pytest.mark.parametrize("name", [*OF_FSYNC_LOST, *OF_FSYNC_UNABLE])
def test_a_folder_that_cannot_be_synced_is_no_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", refusing(name))
    assert not sync_folder(tmp_path)


@pytest.mark.parametrize("name", OF_OPENING_A_FOLDER)
def test_a_folder_that_cannot_be_opened_is_no_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", refusing(name))
    assert not sync_folder(tmp_path)


@pytest.mark.parametrize("name", OF_FALLOCATE)
def test_space_that_cannot_be_kept_is_looked_for(
    name: str, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "_fallocate", lambda *_: getattr(errno, name))
    preallocate(files[0], 1000)
    monkeypatch.setattr(filesystem, "free_bytes", lambda _: 999)
    with pytest.raises(OSError, match="No space left"):
        preallocate(files[0], 1000)
    monkeypatch.setattr(filesystem, "free_bytes", lambda _: None)
    preallocate(files[0], 1000)


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EFBIG"])
def test_space_that_is_not_there_is_an_error(
    name: str, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "_fallocate", lambda *_: getattr(errno, name))
    with pytest.raises(OSError, match=os.strerror(getattr(errno, name))):
        preallocate(files[0], 1000)


@pytest.mark.parametrize("name", OF_STATVFS)
def test_a_disk_that_does_not_say_what_is_free_is_no_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", refusing(name))
    assert free_bytes(tmp_path) is None


@pytest.mark.parametrize("name", OF_MMAP)
def test_a_file_that_cannot_be_mapped_is_read(
    name: str, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmap, "mmap", refusing(name))
    assert bytes(mapped(files[0], whole=True)) == b"mine"


@pytest.mark.parametrize(
    ("where", "what", "names"),
    [
        (os, "link", OF_LINK),
        (os, "chmod", OF_CHMOD),
        (os, "fsync", ("EIO", "EINVAL")),
        (os, "statvfs", OF_STATVFS),
        (os, "utime", ("EACCES", "EPERM", "EROFS", "ENOSYS")),
        (os, "truncate", OF_TRUNCATE),
        (fcntl, "flock", OF_FLOCK),
        (mmap, "mmap", OF_MMAP),
    ],
)
def test_an_episode_is_saved_and_labelled_without_it_whatever_the_error(
    where: Any, what: str, names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "_renameat2", refusing("EINVAL"))
    for name in names:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copyfile(SAMPLE, folder / ".episode_0.mcap")
        with monkeypatch.context() as here:
            here.setattr(where, what, refusing(name))
            path = Path(save_journal(folder / ".episode_0.mcap").path)
            label_episode(path, "failure")
        assert problems(path) == [], name
        assert names_in(folder) == {"episode_0.hdf5", ".episode_0.mcap"}, name


def test_nothing_is_missing_here(tmp_path: Path) -> None:
    assert lacking(tmp_path / "not there yet") == []
    assert names_in(tmp_path / "not there yet") == set()


@pytest.mark.parametrize(
    ("where", "what", "says"),
    [
        (os, "fdatasync", "cannot sync files"),
        (os, "fsync", "cannot sync folders"),
        (os, "link", "cannot rename without replacing"),
        (os, "fchmod", "has no permissions"),
        (os, "statvfs", "does not say how much is free"),
        (fcntl, "flock", "has no locks: a lease file"),
    ],
)
def test_the_probe_says_what_is_missing_and_what_follows(
    where: Any, what: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "_renameat2", refusing("EINVAL"))
    monkeypatch.setattr(where, what, refusing("ENOSYS"))
    (line,) = lacking(tmp_path)
    assert line.startswith(says) and ": " in line


def test_the_probe_says_what_a_save_cannot_do_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "rename", refusing("ENOSYS"))
    assert lacking(tmp_path) == ["cannot be used: Function not implemented; nothing is recorded there"]
    (tmp_path / "file").write_text("")
    assert lacking(tmp_path / "file")[0].startswith("cannot be used: ")


# ---- real disks


def mounting(*options: str) -> bool:
    return os.getuid() == 0 and subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0


@pytest.fixture
def poor_disk(tmp_path: Path) -> Iterator[Path]:
    """A FUSE file system that can do hardly anything."""
    pytest.importorskip("mfusepy", exc_type=(ImportError, OSError))  # without libfuse it cannot be imported
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no FUSE here")
    store, place = tmp_path / "store", Path(tempfile.mkdtemp(dir=tmp_path))
    store.mkdir()
    program = Path(__file__).with_name("recorder_poor_disk.py")
    server = subprocess.Popen([sys.executable, str(program), str(store), str(place)], stderr=subprocess.PIPE)
    try:
        wait_until(lambda: place.is_mount() or server.poll() is not None, "it is mounted")
        if server.poll() is not None:
            pytest.skip("FUSE may not be mounted here")
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False, capture_output=True)
        server.kill()
        server.wait()


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Path]:
    """An overlay, as a container's root is one."""
    base = tmp_path / "tmpfs"
    place = tmp_path / "merged"
    for folder in (base, place):
        folder.mkdir()
    if not mounting("-t", "tmpfs", "tmpfs", str(base)):
        pytest.skip("nothing may be mounted here")
    for name in ("lower", "upper", "work"):
        (base / name).mkdir()
    options = ",".join(f"{name}dir={base / name}" for name in ("lower", "upper", "work"))
    try:
        if not mounting("-t", "overlay", "overlay", "-o", options, str(place)):
            pytest.skip("no overlay here")
        yield place
    finally:
        for folder in (place, base):
            subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


@pytest.fixture
def vfat(tmp_path: Path) -> Iterator[Path]:
    """A vfat on a loop device, as a memory stick is one."""
    if shutil.which("mkfs.vfat") is None:
        pytest.skip("no mkfs.vfat here")
    image, place = tmp_path / "stick", tmp_path / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.vfat", str(image)], check=True, capture_output=True)
    if not mounting("-o", "loop", str(image), str(place)):
        pytest.skip("no vfat, or no loop device, here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False, capture_output=True)


@pytest.mark.parametrize("disk", ["poor_disk", "overlay", "vfat"])
def test_on_a_real_disk_an_episode_is_recorded_saved_labelled_discarded_and_restored(
    disk: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    place: Path = request.getfixturevalue(disk)
    lock = FolderLock(place)
    with pytest.raises(FolderInUseError):
        FolderLock(place)
    remarks = lacking(place)
    if disk == "poor_disk":
        assert len(remarks) == 6 and not any("cannot be used" in remark for remark in remarks), remarks
    epoch = place / "training_session_epoch1"
    epoch.mkdir()
    recording = open_journal(epoch / ".episode_1.mcap")
    for number in range(100):
        append(recording, number)
    wait_until(lambda: recording.bytes_waiting == 0, "all is written")
    recording.discard()
    recording.close(read_journal_end())
    wait_until(lambda: recording.closed, "it is closed")
    assert recording.error is None
    assert len(read_journal(epoch / ".discarded/.episode_1.mcap").streams["keyboard"].log_ns) == 100
    journal = ordinary().write(epoch / ".episode_0.mcap")
    path = Path(save_journal(journal).path)
    label_episode(path, "failure")
    assert problems(path) == []
    capsys.readouterr()
    assert main(["restore", "--all", str(place)]) == 0
    assert capsys.readouterr().out == f"{epoch}/.episode_1.mcap\n"
    lock.release()


def read_journal_end() -> Any:
    from h1_recorder.episode.info import EpisodeEnd

    return EpisodeEnd("operator", "unlabeled", START_NS)


def test_a_file_is_kept_private_where_the_disk_knows_of_owners(journal: Path) -> None:
    assert stat.S_IMODE(Path(save_journal(journal).path).stat().st_mode) == 0o640
    assert partial(filesystem.keep_private, journal.parent / "gone")() is None
