"""A stranger's words, made fit for a terminal and a log: no control sequences, no megabytes."""

from __future__ import annotations

LINE = 200
LOG = 16_000


def line(text: str, longest: int = LINE) -> str:
    """`text` as one printable line of at most `longest` characters."""
    plain = "".join(character if character.isprintable() else " " for character in text[: 4 * longest])
    plain = " ".join(plain.split())
    return plain if len(plain) <= longest else plain[: longest - 3] + "..."


def for_log(text: str) -> str:
    """`text` with its lines, else printable; of a long one the beginning and the end."""
    if len(text) > LOG:
        text = f"{text[: LOG // 2]}\n... {len(text) - LOG} characters left out ...\n{text[-LOG // 2 :]}"
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)
