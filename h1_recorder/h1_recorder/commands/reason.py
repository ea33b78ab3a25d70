"""Why something failed, as one line that begins with the file's name."""

from h1_recorder.commands.files import reason

__all__ = ["reason"]
