# SPDX-License-Identifier: Apache-2.0
"""What two nodes need to reach one policy server: the key that they show it, and who vouches for it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

API_KEY_VARIABLE = "H1_POLICY_API_KEY"


def read_api_key(file: str, environ: Mapping[str, str] | None = None) -> str:
    """The API key from a file, or from the environment if none is named; empty if there is none.

    Raises:
        ValueError: the file cannot be read, or what was found cannot be a key. It is not shown.
    """
    if not file:
        found = (os.environ if environ is None else environ).get(API_KEY_VARIABLE, "").strip()
        return _checked(found, f"variable {API_KEY_VARIABLE}")
    path = Path(file).expanduser()
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"parameter 'api_key_file': cannot read {path}: {error}") from None
    if not key:
        raise ValueError(f"parameter 'api_key_file': {path} is empty")
    return _checked(key, f"parameter 'api_key_file': {path}")


def key_file_warning(file: str) -> str:
    """What is careless about the API key's file; empty if nothing is."""
    if not file:
        return ""
    path = Path(file).expanduser()
    mode = path.stat().st_mode & 0o777
    return f"{path} can be read by others (mode {mode:o}); chmod 600 {path}" if mode & 0o077 else ""


def authorization(key: str) -> dict[str, str]:
    """The header by which openpi's client shows a key; empty without one."""
    return {"Authorization": f"Api-Key {key}"} if key else {}


def tls_context(ca_file: str) -> ssl.SSLContext:
    """Certificates are checked against the system's authorities, and those in `ca_file` if it is not empty.

    Raises:
        ValueError: the file cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context()
    if ca_file:
        path = Path(ca_file).expanduser()
        try:
            context.load_verify_locations(path)
        except OSError as error:  # ssl.SSLError is one
            reason = "it holds no certificate in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
            raise ValueError(f"parameter 'ca_file': cannot use {path}: {reason}") from None
    return context


def _checked(key: str, source: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError(f"{source} holds something that cannot be an API key: expected one line of ASCII")
    return key
