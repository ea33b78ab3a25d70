# SPDX-License-Identifier: Apache-2.0
"""Where rsync brings the episodes: one parser of targets, for whoever checks, starts, uploads or shows one.

rsync's own forms (rsync(1), GENERAL): a folder of this machine, `[USER@]HOST:DIRECTORY` through ssh, and a daemon's
module as `[USER@]HOST::MODULE[/DIRECTORY]` or `rsync://[USER@]HOST[:PORT]/MODULE[/DIRECTORY]`. An IPv6 address stands
in brackets, since a colon ends a host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

FORMS = "DIRECTORY, [USER@]HOST:DIRECTORY, [USER@]HOST::MODULE/DIRECTORY or rsync://[USER@]HOST[:PORT]/MODULE/DIRECTORY"
_HOST = re.compile(r"(?:(?P<user>[^@:/\s]+)@)?(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^@:/\s\[\]]+)")


class Way(Enum):
    """How rsync gets to a target."""

    LOCAL = "a folder of this machine"
    SSH = "ssh"
    DAEMON = "an rsync daemon"


@dataclass(frozen=True)
class UploadTarget:
    """A target, taken apart.

    Attributes:
        text: as rsync has it.
        way: to it.
        user, host: empty if there is none; an IPv6 address without its brackets.
        port: of the daemon; 0: rsync's own, or not said here.
        path: the directory; of a daemon, its module and the directory in it.
    """

    text: str
    way: Way
    path: str
    user: str = ""
    host: str = ""
    port: int = 0

    @property
    def is_remote(self) -> bool:
        """Whether it is on another machine, or may be."""
        return self.way is not Way.LOCAL

    @property
    def login(self) -> str:
        """`USER@HOST` or `HOST`, as ssh has it."""
        return f"{self.user}@{self.host}" if self.user else self.host


def parse_upload_target(text: str) -> UploadTarget:
    """A target from how a person writes it.

    Raises:
        ValueError: none of rsync's forms; says what to write.
    """
    if not text or text.startswith("-"):
        raise ValueError(f"is '{text}', which is no target; expected {FORMS}")
    if any(character in text for character in "\n\r\0"):
        raise ValueError("holds a line break, which no target has")
    if text.startswith("rsync://"):
        return _daemon_url(text)
    if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text):
        raise ValueError(f"is '{text}'; rsync knows no {scheme[1]}://: expected {FORMS}")
    before, colon, after = _split_at_colon(text)
    if not colon:
        return UploadTarget(text, Way.LOCAL, text)
    login = _HOST.fullmatch(before)
    if login is None:
        raise ValueError(f"is '{text}', where '{before}' is no [USER@]HOST; expected {FORMS}")
    user, host = login["user"] or "", login["host"].strip("[]")
    if not after.startswith(":"):
        if re.fullmatch(r"[0-9A-Fa-f:]*:.*", after) and not before.startswith("["):
            raise ValueError(f"is '{text}': an IPv6 address stands in brackets, e.g. [fe80::1]:DIRECTORY")
        return UploadTarget(text, Way.SSH, after, user, host)
    return UploadTarget(text, Way.DAEMON, _module(text, after[1:]), user, host)


def _split_at_colon(text: str) -> tuple[str, str, str]:
    """What stands before the colon that ends a host, if any: one before every slash, and outside of brackets."""
    bracketed = re.match(r"(?:[^@:/\s]+@)?\[[^\]/]*\]", text)
    start = bracketed.end() if bracketed else 0
    colon = text.find(":", start)
    slash = text.find("/", start)
    if colon < 0 or 0 <= slash < colon:
        return text, "", ""
    return text[:colon], ":", text[colon + 1 :]


def _daemon_url(text: str) -> UploadTarget:
    authority, _, rest = text.removeprefix("rsync://").partition("/")
    match = re.fullmatch(_HOST.pattern + r"(?::(?P<port>\d{1,5}))?", authority)
    if match is None or not 0 < int(match["port"] or 873) < 65536:
        raise ValueError(f"is '{text}'; expected rsync://[USER@]HOST[:PORT]/MODULE/DIRECTORY, an IPv6 host in brackets")
    port, host = int(match["port"] or 0), match["host"].strip("[]")
    return UploadTarget(text, Way.DAEMON, _module(text, rest), match["user"] or "", host, port)


def _module(text: str, path: str) -> str:
    if not path.strip("/") or path.startswith("/") or ":" in path.partition("/")[0]:
        hint = "; an IPv6 address stands in brackets" if ":" in path else ""
        raise ValueError(f"is '{text}', which names no module of the daemon; expected HOST::MODULE/DIRECTORY{hint}")
    return path
