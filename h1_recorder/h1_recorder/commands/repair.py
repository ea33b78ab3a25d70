# SPDX-License-Identifier: Apache-2.0
"""`episodes recover`, `label`, `discard` and `restore`: what changes the files of an epoch's folder."""

from __future__ import annotations

import argparse
import dataclasses
import errno
import json
import os
import time
import traceback
from collections.abc import Iterable
from pathlib import Path

from h1_recorder.commands.files import Verb, add_paths, for_each, found_episodes, found_in, say
from h1_recorder.episode.episode_file import SaveError
from h1_recorder.episode.folder import (
    DISCARDED,
    discard,
    episode_path,
    index_of,
    journal_path,
    journals,
    outcome_path,
    restore,
    was_uploaded,
)
from h1_recorder.episode.info import OUTCOMES
from h1_recorder.episode.save import EmptyEpisodeError, label_episode, save_journal

_REPORT_PERIOD_S = 0.1


def recover(arguments: argparse.Namespace) -> int:
    """`episodes recover`: journals become the episodes that they were."""

    def saved_from(journal: Path) -> bool:
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

    return for_each(arguments, found_in(arguments.paths, _not_uploaded), "journals", saved_from, apart=False)


def _recover_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser, "JOURNAL|FOLDER")
    parser.add_argument("--outcome", choices=OUTCOMES, help="instead of the one in the journal")
    parser.add_argument("--allow-dummies", action="store_true", help="grey images for a camera without any")
    parser.add_argument("--delete-journal", action="store_true", help="delete each journal whose episode was verified")


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


def label(arguments: argparse.Namespace) -> int:
    """`episodes label`: sets the outcome of finished episodes."""

    def labelled(path: Path) -> bool:
        label_episode(path, arguments.outcome)
        say(arguments, {"labelled": str(path), "outcome": arguments.outcome}, f"{path}: {arguments.outcome}")
        return True

    return for_each(arguments, found_episodes(arguments.paths), "episodes", labelled)


def _label_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser)
    parser.add_argument("--outcome", choices=OUTCOMES, required=True)


def put_away(arguments: argparse.Namespace) -> int:
    """`episodes discard`: moves episodes and their journals into `.discarded/` beside them, for a week."""

    def moved(path: Path) -> bool:
        index = index_of(path)
        if path.parent.name == DISCARDED:
            raise ValueError(f"{path} is discarded already")
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        journal = journal_path(path.parent, index)
        found = discard([episode_path(path.parent, index), journal])  # a journal that stays would become the episode
        outcome_path(journal).unlink(missing_ok=True)
        say(arguments, {"discarded": str(found[0])}, str(found[0]))
        return True

    return for_each(arguments, arguments.paths, "episodes", moved, apart=False)


def _discard_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser, "EPISODE|JOURNAL", help="files, not folders")


def bring_back(arguments: argparse.Namespace) -> int:
    """`episodes restore`: brings discarded episodes and journals back under their own names."""

    def restored(path: Path) -> bool:
        if not arguments.all and path not in arguments.paths:
            say(arguments, {"discarded": str(path)}, str(path))
            return True
        if path.parent.name != DISCARDED:
            raise ValueError(f"{path} is not in a {DISCARDED} folder")
        target = restore(path)
        say(arguments, {"restored": str(target)}, str(target))
        return True

    return for_each(arguments, found_in(arguments.paths, _discarded), "discarded files", restored, apart=False)


def _restore_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser, "DISCARDED_FILE|FOLDER")
    parser.add_argument("--all", action="store_true", help="restore everything that the folders discarded")


def _discarded(folder: Path) -> Iterable[Path]:
    return sorted((folder / DISCARDED).glob("*episode_*"))


VERBS = (
    Verb(
        "recover",
        "turn journals (.episode_N.mcap) into episodes; of folders, at any level, all that were not uploaded and"
        " deleted",
        recover,
        _recover_arguments,
    ),
    Verb("label", "set the outcome (and with it the advantage) of episodes", label, _label_arguments),
    Verb(
        "discard",
        "move episodes and their journals into .discarded, from where 'restore' brings them back",
        put_away,
        _discard_arguments,
    ),
    Verb(
        "restore",
        "bring back what was discarded; without --all it only lists what is there",
        bring_back,
        _restore_arguments,
    ),
)
