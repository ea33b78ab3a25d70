"""Why something failed, as one line that begins with the file's name."""

from __future__ import annotations


def reason(error: Exception) -> str:
    """The line for `error`; the system's own words where it is one of the system's."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
