"""`episodes video`: an MP4 of an episode's cameras side by side, phase and time burnt in."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from h1_recorder.commands.list import found_episodes

if TYPE_CHECKING:
    from h1_recorder.episode.episode import Episode

from h1_recorder.commands.reason import reason

HELP = "make an MP4 of the cameras side by side, with phase and time"
_SIDE_BY_SIDE = ("cam_left_wrist", "ego_cam", "cam_right_wrist")
_HEIGHT = 360


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="EPISODE|FOLDER")
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="for the videos (default: here)")
    parser.add_argument("--every", type=int, default=2, metavar="N", help="take every N-th row (default 2)")


def run(arguments: argparse.Namespace) -> int:
    """Make each; 1 if any could not be."""
    from h1_recorder.episode.episode import EpisodeError, read

    paths = found_episodes(arguments.paths)
    failed = not paths
    for path in paths:
        target = arguments.out / f"{path.resolve().parent.name}_{path.stem}.mp4"
        try:
            arguments.out.mkdir(parents=True, exist_ok=True)
            make_video(read(path), target, every=max(arguments.every, 1))
        except (EpisodeError, OSError) as error:
            failed = True
            print(json.dumps({"path": str(path), "failed": reason(error)}) if arguments.json else reason(error))
        else:
            print(json.dumps({"path": str(path), "video": str(target)}) if arguments.json else target)
    return int(failed)


def make_video(episode: Episode, path: Path, *, every: int) -> None:
    """Make the video at `path` of every `every`-th row, as fast as it happened.

    Raises:
        EpisodeError: the episode has no rows, or a picture does not decode.
        OSError: it cannot be written.
    """
    import cv2
    import numpy as np

    from h1_recorder.episode.episode import EpisodeError
    from h1_recorder.export.plot import burn_in, seconds
    from h1_recorder.export.video_file import VideoFile, even

    if not len(episode):
        raise EpisodeError(f"{episode.path} has no rows")
    cameras = [camera for camera in _SIDE_BY_SIDE if camera in episode.cameras]
    time = seconds(episode)
    fps = max(round(episode.attributes["fps"] / every), 1)
    with VideoFile(path, fps=fps, keyframe_every=fps) as video:
        for row in range(0, len(episode), every):
            scene = np.hstack([_fitted(episode.image(camera, row)) for camera in cameras])
            phase = str(episode.phase[row])
            text = f"{time[row]:7.2f} s   {phase}   row {row}   segment {episode.segment[row]}"
            burn_in(scene, text, phase)
            video.add(cv2.cvtColor(even(scene), cv2.COLOR_BGR2RGB))


def _fitted(picture: Any) -> Any:
    """The picture at the video's height."""
    import cv2

    height, width = picture.shape[:2]
    return cv2.resize(picture, (round(width * _HEIGHT / height), _HEIGHT), interpolation=cv2.INTER_AREA)
