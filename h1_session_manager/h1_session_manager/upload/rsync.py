"""rsync's command lines, what it prints, and what its exit status means. Never through a shell.

Options are the user's own, split as a shell would; the key is a path. `--partial-dir` keeps a broken transfer away
from the final name and is where the next attempt goes on.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

PARTIAL_DIR = ".rsync-partial"
_REFUSED = ("--remove-source-files", "--daemon", "--server", "--sender")
"""Options that would delete local data, or make rsync something else than a client."""
_NAMED = ("--files-from=-", "--from0")
"""The files to look at come on standard input: only whole episodes, never a folder as it happens to be."""
_REMOTE = re.compile(r"^[^/]*:")


class RsyncOptionError(ValueError):
    """An option or target that cannot be used; the message names it."""


@dataclass(frozen=True)
class RsyncJob:
    """What is brought where.

    Attributes:
        source: folder whose content is uploaded.
        target: `[USER@HOST:]DIRECTORY`, as rsync has it.
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
        if not self.is_remote or not self.ssh_key:
            return ""
        key = Path(self.ssh_key).expanduser()
        if not key.is_file():
            return f"rsync.ssh_key '{key}' does not exist; name the private key, or make one with ssh-keygen"
        return ""

    @property
    def is_remote(self) -> bool:
        """Whether the target is on another machine."""
        return bool(_REMOTE.match(self.target))

    def upload_command(self, *, by_checksum: bool = False) -> list[str]:
        """The transfer of the files named on standard input, with progress in all instead of rsync's per file.

        Args:
            by_checksum: trust no size and time: what was found different is sent although they agree.

        Raises:
            RsyncOptionError: options that cannot be used.
        """
        options = [option for option in self._options()[0] if option not in ("--progress", "-P")]
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
        host, _, directory = self.target.partition(":")
        if not self.is_remote or directory.startswith(":") or host == "rsync":
            return None
        ask = 'd=$1; while [ ! -e "$d" ]; do d=$(dirname -- "$d"); done; df -Pk -- "$d"'
        remote = f"sh -c {shlex.quote(ask)} sh {shlex.quote(directory or '.')}"
        try:
            shell = shlex.split(self._ssh())
        except ValueError as error:
            raise RsyncOptionError(f"rsync.options names a remote shell that cannot be split: {error}") from None
        return [*shell, "--", host, remote]

    def _options(self) -> tuple[list[str], str]:
        """The user's options, and the remote shell that they name (`-e 'ssh -p 2222'`), if any."""
        try:
            words = shlex.split(self.options)
        except ValueError as error:
            raise RsyncOptionError(f"rsync.options '{self.options}' cannot be split: {error}") from None
        options, shell = [], ""
        remaining = iter(words)
        for word in remaining:
            name, _, value = word.partition("=")
            if name in ("-e", "--rsh"):
                shell = value or next(remaining, "")
            elif not word.startswith("-"):
                raise RsyncOptionError(f"rsync.options contains '{word}', which is no option (write --name=value)")
            elif name in _REFUSED:
                raise RsyncOptionError(f"rsync.options contains '{word}', which a session does not allow")
            else:
                options.append(word)
        return options, shell

    def _common(self) -> list[str]:
        common = [*_NAMED, f"--timeout={max(1, round(self.timeout_s))}"]
        if self.is_remote:
            common += ["-e", self._ssh()]
        return common

    def _ssh(self) -> str:
        """The remote shell as one argument; rsync splits it at spaces and knows quotes. It must never ask."""
        words = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]
        if self.ssh_key:
            words += ["-i", str(Path(self.ssh_key).expanduser()), "-o", "IdentitiesOnly=yes"]
        return " ".join([self._options()[1] or "ssh", *(_quoted(word) for word in words)])

    def _paths(self) -> list[str]:
        if not self.target or self.target.startswith("-"):
            raise RsyncOptionError(f"rsync.target '{self.target}' is no target; expected [USER@HOST:]DIRECTORY")
        return ["--", self.source.rstrip("/") + "/", self.target]


def _quoted(word: str) -> str:
    """`word` for rsync's -e, which knows quotes (doubled inside themselves) but no backslash."""
    if re.fullmatch(r"[\w@%+=:,./~-]+", word):
        return word
    return "'" + word.replace("'", "''") + "'"


def free_bytes(df: str) -> int | None:
    """Free space in what `df -Pk` printed; None if it is not that."""
    words = df.strip().splitlines()[-1].split() if df.strip() else []
    return int(words[3]) * 1024 if len(words) >= 6 and words[3].isdigit() else None


_PROGRESS = re.compile(r"^\s*([\d,.]+)\s+(\d+)%\s+([\d.]+)([kMGT]?)B/s\s+(\d+):(\d\d):(\d\d)(?: +\(xfr#(\d+))?")
_UNITS = {"": 1.0, "k": 1024.0, "M": 1024.0**2, "G": 1024.0**3, "T": 1024.0**4}


@dataclass(frozen=True)
class Progress:
    """A line of `--info=progress2`: of all, 0..1; bytes; bytes/s; s left; files that are complete, if it says so."""

    share: float
    bytes_sent: int
    bytes_per_second: float
    seconds_left: float
    files: int | None = None


def parse_progress(line: str) -> Progress | None:
    """A progress line, or None if it is none."""
    match = _PROGRESS.match(line)
    if match is None:
        return None
    count, percent, rate, unit, hours, minutes, seconds, files = match.groups()
    left = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    digits = re.sub(r"\D", "", count)
    done = int(files) if files is not None else None
    return Progress(int(percent) / 100, int(digits), float(rate) * _UNITS[unit], float(left), done)


def differing_files(lines: list[str]) -> list[str]:
    """The files that a `verify_command` found missing or different at the target."""
    return [name for item, _, name in (line.partition(" ") for line in lines) if item[:2] in ("<f", ">f", "cf")]


_MEANINGS = {
    1: "rsync did not understand its options; check rsync.options",
    2: "the two rsyncs do not understand each other; update the older one",
    3: "a path does not exist or cannot be used; check rsync.target",
    5: "the server refused; check rsync.target",
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
    ("rsync: command not found", _MEANINGS[127]),
    ("rsync: not found", _MEANINGS[127]),
    ("Permission denied", "the target may not be written; check its permissions"),
    ("Read-only file system", "the target's disk is read-only; check it"),
)  # fmt: skip
"""What rsync and ssh say of causes that stay until a person does something, and what that is. First match counts."""


@dataclass(frozen=True)
class Failure:
    """Why rsync failed, for a person, and whether it may pass by itself."""

    text: str
    is_passing: bool


def failure(status: int, errors: str) -> Failure:
    """What a failed rsync means: what to do, and the line of its own that says most."""
    said = [line.strip() for line in errors.splitlines() if line.strip()]
    for mark, meaning in _SAID:
        if line := next((line for line in said if mark in line), ""):
            return Failure(f"{meaning} ({line.strip('@ ')[:200]})", False)
    own = [line for line in said if not line.startswith(("rsync error:", "rsync: connection unexpectedly closed"))]
    tail = (own or said or [""])[-1][:200]
    text = _MEANINGS.get(status, f"rsync ended with status {status}")
    return Failure(f"{text} ({tail})" if tail else text, status in _PASSING)
