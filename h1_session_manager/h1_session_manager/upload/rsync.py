# SPDX-License-Identifier: Apache-2.0
"""rsync's command lines, what it prints, and what its exit status means. Never through a shell.

Options are the user's own, split as a shell would; the key is a path. `--partial-dir` keeps a broken transfer away
from the final name and is where the next attempt goes on.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from h1_session_manager.upload.rsync_options import RsyncOptionError, RsyncOptions, parse_options
from h1_session_manager.values import SyncProgress
from h1_training_node.message_numbers import SyncState
from h1_training_node.upload_target import UploadTarget, Way, parse_upload_target

PARTIAL_DIR = ".rsync-partial"
_NAMED = ("--files-from=-", "--from0")
"""The files to look at come on standard input: only whole episodes, never a folder as it happens to be."""
_CONNECT_S = 10
_DAEMONS_OWN = ("--port=", "--password-file=", "--contimeout=", "--sockopts=")
_OF_ALL_COMMANDS = (
    *("--rsync-path=", "--checksum-choice=", "--address=", "--ipv4", "--ipv6", "-4", "-6", "-s", "--secluded-args"),
    *("--port=", "--password-file=", "--sockopts="),
)
"""Options without which the target is not reached, or not compared, as the transfer did it."""


@dataclass(frozen=True)
class RsyncJob:
    """What is brought where.

    Attributes:
        source: folder whose content is uploaded.
        target: as rsync has it, see `upload_target.py`.
        options: as on rsync's command line.
        ssh_key: path of a private key; empty: ssh's own choice.
        timeout_s: a transfer that stands still this long has failed.
        bwlimit: rsync's `--bwlimit`; empty: none.
    """

    source: str
    target: str
    options: str = "-avz --progress"
    ssh_key: str = ""
    timeout_s: float = 300.0
    bwlimit: str = ""

    def problem(self) -> str:
        """What can be seen to be wrong without trying; empty if nothing is."""
        try:
            if unfit := self._unfit_option():
                return f"rsync.options holds '{unfit}', which means nothing for '{self.target}'; leave it out"
        except RsyncOptionError as error:
            return str(error)
        if self.destination.way is not Way.SSH or not self.ssh_key:
            return ""
        key = Path(self.ssh_key).expanduser()
        if not key.is_file():
            return f"rsync.ssh_key '{key}' does not exist; name the private key, or make one with ssh-keygen"
        return ""

    def _unfit_option(self) -> str:
        """An option that has no effect on the way to this target; empty if there is none."""
        way, options = self.destination.way, self._parsed_options
        if options.shell and way is not Way.SSH:
            return "-e"
        of_others = _DAEMONS_OWN if way is not Way.DAEMON else ()
        return next((word for word in options.words if word.startswith(of_others)), "") if of_others else ""

    @property
    def is_remote(self) -> bool:
        """Whether the target is on another machine."""
        return self.destination.is_remote

    @cached_property
    def destination(self) -> UploadTarget:
        """The target, taken apart.

        Raises:
            RsyncOptionError: it is none.
        """
        try:
            return parse_upload_target(self.target)
        except ValueError as error:
            raise RsyncOptionError(f"rsync.target {error}") from None

    @property
    def local_folder(self) -> Path:
        """Of a target on this machine."""
        return Path(self.target).expanduser()

    @cached_property
    def environment(self) -> dict[str, str] | None:
        """Of the programs; None: this process's own. A daemon's password is never asked for on a terminal."""
        has_file = any(word.startswith("--password-file=") for word in self._parsed_options.words)
        if self.destination.way is not Way.DAEMON or has_file:
            return None
        return {"RSYNC_PASSWORD": "", **os.environ}

    def upload_command(self, *, by_checksum: bool = False) -> list[str]:
        """The transfer of the files named on standard input, with progress in all instead of rsync's per file.

        Args:
            by_checksum: trust no size and time: what was found different is sent although they agree.

        Raises:
            RsyncOptionError: options that cannot be used.
        """
        options = [word for word in self._parsed_options.words if not word.startswith(_OF_ALL_COMMANDS)]
        limit = [f"--bwlimit={self.bwlimit}"] if self.bwlimit else []
        progress = ["--info=progress2,name1", "--no-inc-recursive", "--outbuf=L", "--out-format=%n"]
        how = [f"--partial-dir={PARTIAL_DIR}", *(["--checksum"] if by_checksum else [])]
        return ["rsync", *options, *self._common(), *how, *limit, *progress, *self._paths()]

    def verify_command(self) -> list[str]:
        """What rsync's own checksums find different at the target of the files named on standard input: a line each.

        Raises:
            RsyncOptionError: options that cannot be used.
        """
        options = ["--checksum", "--dry-run", "--itemize-changes", "--out-format=%i %n"]
        return ["rsync", *options, *self._common(), *self._paths()]

    def probe_command(self) -> list[str]:
        """Log in and talk to the target's rsync without sending anything (an empty list on standard input).

        Raises:
            RsyncOptionError: options that cannot be used.
        """
        return ["rsync", "--dry-run", *self._common(), *self._paths()]

    def space_command(self) -> list[str] | None:
        """Ask the target's host for the free space there (`df -Pk`); None for a target that has no shell.

        Raises:
            RsyncOptionError: options that cannot be used.
        """
        target = self.destination
        if target.way is not Way.SSH:
            return None
        ask = 'd=$1; while [ ! -e "$d" ]; do d=$(dirname -- "$d"); done; df -Pk -- "$d"'
        remote = f"sh -c {shlex.quote(ask)} sh {shlex.quote(target.path or '.')}"
        return [*shlex.split(self._ssh()), "--", target.login, remote]

    @cached_property
    def _parsed_options(self) -> RsyncOptions:
        """Raises RsyncOptionError for one that is not allowed."""
        try:
            return parse_options(self.options)
        except RsyncOptionError as error:
            raise RsyncOptionError(f"rsync.options {error}") from None

    def _common(self) -> list[str]:
        common = [*_NAMED, f"--timeout={max(1, round(self.timeout_s))}"]
        common += [word for word in self._parsed_options.words if word.startswith(_OF_ALL_COMMANDS)]
        if self.destination.way is Way.SSH:
            common += ["-e", self._ssh()]
        elif self.destination.way is Way.DAEMON:
            common.append(f"--contimeout={_CONNECT_S}")
        return common

    def _ssh(self) -> str:
        """The remote shell as one argument; rsync splits it at spaces and knows quotes. It must never ask."""
        words = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_S}"]
        if self.ssh_key:
            words += ["-i", str(Path(self.ssh_key).expanduser()), "-o", "IdentitiesOnly=yes"]
        return " ".join([self._parsed_options.shell or "ssh", *(_quoted(word) for word in words)])

    def _paths(self) -> list[str]:
        return ["--", self.source.rstrip("/") + "/", self.target if self.is_remote else str(self.local_folder)]


def _quoted(word: str) -> str:
    """`word` for rsync's -e, which knows quotes (doubled inside themselves) but no backslash."""
    if re.fullmatch(r"[\w@%+=:,./~-]+", word):
        return word
    return "'" + word.replace("'", "''") + "'"


def free_bytes(df: str) -> int | None:
    """Free space in what `df -Pk` printed; None if it is not that."""
    words = df.strip().splitlines()[-1].split() if df.strip() else []
    return int(words[3]) * 1024 if len(words) >= 6 and words[3].isdigit() else None


_PROGRESS = re.compile(r"^\s*([\d,.]+)\s+(\d+)%\s+([\d.]+)([kMGT]?)B/s\s+(\d+):(\d\d):(\d\d)")
_UNITS = {"": 1.0, "k": 1024.0, "M": 1024.0**2, "G": 1024.0**3, "T": 1024.0**4}


def parse_progress(line: str) -> SyncProgress | None:
    """A line of `--info=progress2`, which is about all files; None if it is none."""
    match = _PROGRESS.match(line)
    if match is None:
        return None
    count, percent, rate, unit, hours, minutes, seconds = match.groups()
    return SyncProgress(
        SyncState.RUNNING,
        progress=int(percent) / 100,
        bytes_sent=int(re.sub(r"\D", "", count)),
        bytes_per_second=float(rate) * _UNITS[unit],
        seconds_left=float(int(hours) * 3600 + int(minutes) * 60 + int(seconds)),
    )


def differing_files(lines: list[str]) -> list[str]:
    """The files that a `verify_command` found missing or different at the target."""
    return [name for item, _, name in (line.partition(" ") for line in lines) if item[:2] in ("<f", ">f", "cf")]


_MEANINGS = {
    1: "rsync did not understand its options; check rsync.options",
    2: "the two rsyncs do not understand each other; update the older one",
    3: "a path does not exist or cannot be used; check rsync.target",
    5: "the rsync daemon refused; check the module and user in rsync.target",
    10: "the connection failed; check host and network",
    11: "a file could not be written; check the target's disk and permissions",
    12: "the connection broke; check the network",
    20: "rsync was ended",
    23: "some files could not be transferred; check permissions and disk at the target",
    24: "some files vanished meanwhile; try again",
    30: "nothing moved for too long; check the network",
    35: "the server did not answer; check the network",
    127: "rsync is not installed at the target; install it there (apt install rsync)",
    255: "ssh could not log in; check rsync.target and rsync.ssh_key, and log in once by hand",
}

_PASSING = frozenset({10, 12, 24, 30, 35, 255})
"""Statuses of what may pass by itself: the network, a host that starts."""

_SAID = (
    ("No space left on device", "the target is full; free some space there"),
    ("Disk quota exceeded", "the quota at the target is used up; free some space there"),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "the host has another key than before: somebody else's machine, or "
     "installed again? If you know why, remove the old key (ssh-keygen -R HOST) and log in once by hand"),
    ("Host key verification failed", "the host's key is not known here; log in once by hand (ssh HOST), compare the "
     "key with the host's own, and accept it"),
    ("Permission denied (publickey", "the host does not accept the key; check rsync.ssh_key, the user in "
     "rsync.target, and ~/.ssh/authorized_keys there"),
    ("UNPROTECTED PRIVATE KEY FILE", "ssh does not use a key that others may read; chmod 600 it"),
    ("Unknown module", "the rsync daemon has no such module; check rsync.target, `rsync HOST::` lists them"),
    ("auth failed on module", "the rsync daemon does not accept user or password; name the password in "
     "RSYNC_PASSWORD, or its file with --password-file=FILE"),
    ("module is read only", "the daemon's module may not be written; set 'read only = no' there"),
    ("rsync: command not found", _MEANINGS[127]),
    ("rsync: not found", _MEANINGS[127]),
    ("Permission denied", "the target may not be written; check its permissions"),
    ("Read-only file system", "the target's disk is read-only; check it"),
)  # fmt: skip
"""What rsync and ssh say of causes that stay until a person does something, and what that is. First match counts."""


class UploadError(RuntimeError):
    """The upload failed; the message says why and what to do.

    Attributes:
        is_passing: it may go better by itself in a while.
        status: rsync's exit status, if it came to one.
    """

    def __init__(self, text: str, *, is_passing: bool = False, status: int = 0) -> None:
        super().__init__(text)
        self.is_passing = is_passing
        self.status = status


def failure(status: int, errors: str) -> UploadError:
    """What a failed rsync means: what to do, and the line of its own that says most."""
    said = [line.strip() for line in errors.splitlines() if line.strip()]
    for mark, meaning in _SAID:
        if line := next((line for line in said if mark in line), ""):
            return UploadError(f"{meaning} ({line.strip('@ ')[:200]})", status=status)
    own = [line for line in said if not line.startswith(("rsync error:", "rsync: connection unexpectedly closed"))]
    tail = (own or said or [""])[-1][:200]
    text = _MEANINGS.get(status, f"rsync ended with status {status}")
    return UploadError(f"{text} ({tail})" if tail else text, is_passing=status in _PASSING, status=status)
