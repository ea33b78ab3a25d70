# SPDX-License-Identifier: Apache-2.0
"""The tokens of the page: whoever starts a session prints the link, the page checks what a browser shows."""

from __future__ import annotations

import hmac
import os
import secrets
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

TOKEN_BYTES = 16
_MOST_TOKEN_LENGTH = 200


class Role(StrEnum):
    """What a browser may do. Everybody may stop."""

    DRIVE = "drive"
    LOOK = "look"


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


def session_token_file(port: int) -> Path:
    """Where a session whose configuration names no file keeps the tokens of its page, new at every start."""
    own = os.environ.get("XDG_RUNTIME_DIR") or f"{tempfile.gettempdir()}/h1_training.{os.getuid()}"
    return Path(own) / "h1_training" / f"page_{port}"


def page_link(address: str, port: int, token: str, *, is_tls: bool) -> str:
    """The address by which a browser opens the page with `token`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(address, f"[{address}]" if ":" in address else address)
    return f"{'https' if is_tls else 'http'}://{host}:{port}/?token={token}"
