# SPDX-License-Identifier: Apache-2.0
"""Checks of texts that name something elsewhere: hosts, servers, paths. For `parameter(..., check=...)`.

They run where a configuration is read, before any process starts, and again in the node. Each raises ValueError with
what follows the name of the parameter: what was found, and the form to write. An empty text passes: whether something
must be named is the parameter's own matter.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

_NAME = re.compile(
    r"(?=.{1,253}\.?$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?"
)
_VARIABLE = re.compile(r"\$(\w+|\{\w*\})")


def check_host(text: str) -> None:
    """A host name, an IPv4 or an IPv6 address, and nothing else."""
    if not text:
        return
    if any(character.isspace() for character in text):
        raise ValueError(f"is '{text}'; write it without blanks: {''.join(text.split()) or 'HOST'}")
    if "://" in text:
        raise ValueError(f"is '{text}'; write the host alone: {_host_in(text)}")
    if text.startswith("["):
        raise ValueError(f"is '{text}'; write an IPv6 address without brackets: {_host_in(f'x://{text}')}")
    if ":" in text and not _is_address(text):
        raise ValueError(f"is '{text}'; write the host alone, {text.partition(':')[0]}, and the port under its own key")
    if text.replace(".", "").isdecimal() and not _is_address(text):
        raise ValueError(
            f"is '{text}', which is no IPv4 address; expected four numbers up to 255, e.g. 192.168.123.163"
        )
    if not _is_address(text) and not _NAME.fullmatch(text):
        raise ValueError(f"is '{text}'; expected a host name or an IP address")


def check_server(text: str) -> None:
    """A host as `check_host` has it, or a whole `ws://` or `wss://` URL."""
    if not text.startswith(("ws://", "wss://")):
        check_host(text)
        return
    if any(character.isspace() for character in text):
        raise ValueError(f"is '{text}'; write it without blanks")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"is '{text}': {error}; expected {_URL}") from None
    if not host:
        raise ValueError(f"is '{text}', which names no host; expected {_URL}")
    check_host(host)
    if "@" in parts.netloc:
        raise ValueError("holds a user or a password; write the key into a file instead (policy_server.api_key_file)")
    if parts.query or parts.fragment:
        raise ValueError(
            f"is '{text}'; what follows {text.partition('?')[0].partition('#')[0]} is not sent: leave it out"
        )


def check_path(text: str) -> None:
    """A path of this computer; `~` is expanded, variables are not."""
    if "\0" in text:
        raise ValueError("holds a NUL, which no path can")
    if found := _VARIABLE.search(text):
        raise ValueError(f"is '{text}'; {found[0]} is not expanded: write the whole path, or begin it with ~")
    try:
        Path(text).expanduser()
    except RuntimeError:
        user = text.partition("/")[0].removeprefix("~")
        raise ValueError(f"is '{text}', but this computer has no user '{user}'") from None


_URL = "ws://HOST:PORT or wss://HOST:PORT"


def _host_in(url: str) -> str:
    try:
        return urlsplit(url).hostname or "HOST"
    except ValueError:
        return "HOST"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
