"""`episodes plot`: curves of an episode as a PNG, and a contact sheet of each camera."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from h1_recorder.commands.list import found_episodes
from h1_recorder.commands.reason import reason

HELP = "draw joints, actions, phases and camera ages (PNG), and a contact sheet of each camera"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="EPISODE|FOLDER")
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="for the pictures (default: here)")


def run(arguments: argparse.Namespace) -> int:
    """Draw each; 1 if any could not be."""
    import cv2

    from h1_recorder.episode.episode import EpisodeError, read
    from h1_recorder.export.plot import contact_sheet, plot_episode

    paths = found_episodes(arguments.paths)
    failed = not paths
    for path in paths:
        name = f"{path.resolve().parent.name}_{path.stem}"
        try:
            arguments.out.mkdir(parents=True, exist_ok=True)
            episode = read(path)
            if not len(episode):
                raise EpisodeError(f"{path} has no rows")
            drawn = [arguments.out / f"{name}.png"]
            plot_episode(episode, drawn[0])
            for camera in episode.cameras:
                drawn.append(arguments.out / f"{name}_{camera}.jpg")
                if not cv2.imwrite(str(drawn[-1]), contact_sheet(episode, camera)):
                    raise OSError(f"cannot write {drawn[-1]}")
        except (EpisodeError, OSError) as error:
            failed = True
            print(json.dumps({"path": str(path), "failed": reason(error)}) if arguments.json else reason(error))
            continue
        for picture in drawn:
            print(json.dumps({"path": str(path), "drawn": str(picture)}) if arguments.json else picture)
    return int(failed)
