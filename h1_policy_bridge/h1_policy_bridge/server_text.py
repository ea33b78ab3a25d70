# SPDX-License-Identifier: Apache-2.0
"""What a policy server writes, made fit for a terminal and a log: no control sequences, no megabytes."""

from __future__ import annotations

import re

LINE = 200
_LOG = 16_000


def one_line(text: str, longest: int = LINE) -> str:
    """`text` as one printable line of at most `longest` characters."""
    plain = "".join(character if character.isprintable() else " " for character in text[: 4 * longest])
    plain = " ".join(plain.split())
    return plain if len(plain) <= longest else plain[: longest - 3] + "..."


def for_log(text: str) -> str:
    """`text` with its lines, else printable; of a long one the beginning and the end."""
    if len(text) > _LOG:
        text = f"{text[: _LOG // 2]}\n... {len(text) - _LOG} characters left out ...\n{text[-_LOG // 2 :]}"
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)


def cause_line(text: str) -> str:
    """The line of a server's error text that says what went wrong: of a traceback that is the exception's own."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "it did not say what"
    if not lines[0].startswith("Traceback (most recent call last)"):
        return one_line(lines[0])
    raised = [line for line in text.splitlines() if re.match(r"[A-Za-z_][\w.]*(:|$)", line)]
    return one_line(raised[-1] if raised else lines[-1])
