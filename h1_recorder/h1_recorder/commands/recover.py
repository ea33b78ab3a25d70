# SPDX-License-Identifier: Apache-2.0
"""`episodes recover`: journals become the episodes that they were."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
import traceback
from pathlib import Path

from h1_recorder.commands.files import for_each, found_in, say
from h1_recorder.episode.episode_file import SaveError
from h1_recorder.episode.folder import journals, was_uploaded
from h1_recorder.episode.info import OUTCOMES
from h1_recorder.episode.save import EmptyEpisodeError, save_journal

HELP = "turn journals (.episode_N.mcap) into episodes; of folders, at any level, all that were not uploaded and deleted"
_REPORT_PERIOD_S = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="JOURNAL|FOLDER")
    parser.add_argument("--outcome", choices=OUTCOMES, help="instead of the one in the journal")
    parser.add_argument("--allow-dummies", action="store_true", help="grey images for a camera without any")
    parser.add_argument("--delete-journal", action="store_true", help="delete each journal whose episode was verified")


def run(arguments: argparse.Namespace) -> int:
    """Recover each; 1 if any could not be, or nothing was found."""

    def recover(journal: Path) -> bool:
        try:
            saved = save_journal(
                journal,
                outcome=arguments.outcome,
                allow_dummies=True if arguments.allow_dummies else None,
                progress=_json_progress() if arguments.json else lambda _: None,
            )
        except SaveError as error:
            empty = isinstance(error, EmptyEpisodeError)
            say(arguments, {"journal": str(journal), "failed": str(error), "empty": empty}, f"failed: {error}")
            return False
        except Exception as error:  # of whatever kind: the journals after it are to be saved all the same
            traceback.print_exc()
            text = f"cannot save {journal}: {error!r}; the journal stays as it is"
            say(arguments, {"journal": str(journal), "failed": text, "empty": False}, f"failed: {text}")
            return False
        text = "was there already" if saved.was_there else f"{saved.length} rows {saved.note}".rstrip()
        say(arguments, {"journal": str(journal), "saved": dataclasses.asdict(saved)}, f"{saved.path}: {text}")
        if arguments.delete_journal:
            Path(saved.journal).unlink(missing_ok=True)
        return True

    return for_each(arguments, found_in(arguments.paths, _not_uploaded), "journals", recover, apart=False)


def _not_uploaded(folder: Path) -> list[Path]:
    return [journal for journal in journals(folder) if not was_uploaded(journal)]


class _json_progress:  # noqa: N801 (used as a function)
    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if now - self._last > _REPORT_PERIOD_S:
            self._last = now
            print(json.dumps({"progress": round(share, 3)}), flush=True)
