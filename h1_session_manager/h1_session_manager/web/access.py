"""Who may use the page: two tokens of 128 bits, a cookie for each browser that showed one, and checks of every request.

A page on 127.0.0.1 is reached by every web site that its user visits, so the token alone is not enough: `Host` must be
an address or a known name (a site whose name is re-bound to 127.0.0.1 sends its own), and whatever changes something
or opens a socket must come from the page itself (`Origin`). Tokens are compared in constant time, wrong ones are few
a minute, and none is ever logged.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

COOKIE = "h1_page"
TOKEN_BYTES = 16
_MOST_SESSIONS = 64
_MOST_WRONG = 5
_WRONG_WITHIN_S = 60.0
_MOST_ADDRESSES = 256
_MOST_TOKEN_LENGTH = 200


class Role(StrEnum):
    """What a browser may do. Everybody may stop."""

    DRIVE = "drive"
    LOOK = "look"


class TooManyTriesError(Exception):
    """An address has shown too many wrong tokens; the argument is the time to wait, s."""


@dataclass(frozen=True)
class Tokens:
    """The two secrets of a page.

    Attributes:
        drive: of those who may take the controls.
        look: of spectators; empty lets nobody in by it.
    """

    drive: str
    look: str = ""

    @classmethod
    def new(cls) -> Tokens:
        """Two fresh ones, 32 hexadecimal digits each."""
        return cls(secrets.token_hex(TOKEN_BYTES), secrets.token_hex(TOKEN_BYTES))

    @classmethod
    def from_file(cls, path: Path) -> Tokens:
        """Read from `path`, which is made with new tokens if it is missing.

        Raises:
            ValueError: others can read the file, or its tokens are too short; says what to do.
            OSError: it cannot be read or made.
        """
        if not path.exists():
            tokens = cls.new()
            write_secret(path, f"{tokens.drive}\n{tokens.look}\n")
            return tokens
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise ValueError(f"{path} can be read by others (mode {mode:o}); chmod 600 {path}")
        drive, look = ([*path.read_text(encoding="utf-8").split(), "", ""])[:2]
        for token in filter(None, (drive or "missing", look)):
            if len(token) < 2 * TOKEN_BYTES or not token.isascii():
                raise ValueError(
                    f"{path} holds a token of {len(token)} characters; expected at least {2 * TOKEN_BYTES} "
                    "(e.g. from 'openssl rand -hex 16'), one a line"
                )
        if drive == look:
            raise ValueError(f"{path} holds the same token twice; whoever only looks needs another one")
        return cls(drive, look)

    def role(self, token: str) -> Role | None:
        """What `token` allows, in the same time whatever it is."""
        given = token[:_MOST_TOKEN_LENGTH].encode()
        may_drive = hmac.compare_digest(given, self.drive.encode())
        may_look = hmac.compare_digest(given, self.look.encode()) and bool(self.look)
        return Role.DRIVE if may_drive else Role.LOOK if may_look else None


def write_secret(path: Path, text: str) -> None:
    """Write a file that nobody else can read, not even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(text, encoding="utf-8")


class Access:
    """Decides about requests; knows nothing of HTTP's libraries.

    Args:
        tokens: the page's.
        hosts: names (without port) under which the page may be asked for, beside IP addresses and `localhost`.
        clock_s: a steady clock.
    """

    def __init__(self, tokens: Tokens, hosts: frozenset[str], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._tokens = tokens
        self._hosts = hosts | {"localhost"}
        self._clock_s = clock_s
        self._sessions: OrderedDict[str, Role] = OrderedDict()
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def sign_in(self, token: str, address: str) -> str | None:
        """The value of a new cookie for a browser at `address` that shows `token`; None if the token is wrong.

        Raises:
            TooManyTriesError: the address has shown wrong ones lately, so that not even the right one counts now.
        """
        now_s, wrong = self._clock_s(), self._wrong.get(address, deque())
        while wrong and now_s - wrong[0] > _WRONG_WITHIN_S:
            wrong.popleft()
        if len(wrong) >= _MOST_WRONG:
            raise TooManyTriesError(_WRONG_WITHIN_S - (now_s - wrong[0]))
        role = self._tokens.role(token)
        if role is None:
            wrong.append(now_s)
            self._wrong[address] = wrong
            self._wrong.move_to_end(address)
            while len(self._wrong) > _MOST_ADDRESSES:
                self._wrong.popitem(last=False)
            return None
        session = secrets.token_hex(TOKEN_BYTES)
        self._sessions[session] = role
        while len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def role(self, cookie: str) -> Role | None:
        """What a browser with this cookie may do; None: it has to show a token first."""
        role = self._sessions.get(cookie)
        if role is not None:
            self._sessions.move_to_end(cookie)
        return role

    def is_known_host(self, host: str) -> bool:
        """Whether the header `Host` names this page: an address, or a name that was allowed."""
        name = host.strip().lower()
        name = name.partition("]")[0].lstrip("[") if name.startswith("[") else name.rpartition(":")[0] or name
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return True

    def is_own_origin(self, origin: str, host: str, *, is_tls: bool) -> bool:
        """Whether the header `Origin` is the page that `Host` names."""
        return origin == f"{'https' if is_tls else 'http'}://{host}"
