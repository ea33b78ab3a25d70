# SPDX-License-Identifier: Apache-2.0
"""`episodes plot` and `video`: an episode on a page, contact sheets, what its rows teach; its cameras as an MP4."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from h1_recorder.commands.files import Verb, add_paths, for_each, found_episodes, say, whole


def plot(arguments: argparse.Namespace) -> int:
    """`episodes plot`: an episode on a page, contact sheets of its cameras; with --labels what its rows teach."""
    paths = found_episodes(arguments.paths)
    if arguments.labels:
        return _run_labels(paths, arguments)

    def draw(path: Path) -> bool:
        arguments.out.mkdir(parents=True, exist_ok=True)
        for figure in _draw(path, arguments):
            say(arguments, {"path": str(path), "drawn": str(figure)}, str(figure))
        return True

    return for_each(arguments, paths, "episodes", draw, slow=20)


def _run_labels(paths: list[Path], arguments: argparse.Namespace) -> int:
    """One figure of all that can be read; 1 if any cannot."""
    good = [path for path in paths if not for_each(arguments, [path], "episodes", _is_readable)]

    def draw(path: Path) -> bool:
        arguments.out.mkdir(parents=True, exist_ok=True)
        figure = _draw_labels(good, arguments)
        say(arguments, {"path": str(path), "drawn": str(figure)}, str(figure))
        return True

    failed = for_each(arguments, good[:1], "episodes", draw, slow=20 * len(good))
    return int(bool(failed) or len(good) < len(paths))


def _is_readable(path: Path) -> bool:
    from h1_recorder.episode.episode import read

    return bool(len(read(path)))


def _draw(path: Path, arguments: argparse.Namespace) -> Iterator[Path]:
    import cv2

    from h1_recorder.episode.episode import EpisodeError, read
    from h1_recorder.export.episode_figure import plot_episode
    from h1_recorder.export.scene import contact_sheet

    name = f"{path.resolve().parent.name}_{path.stem}"
    episode = read(path)
    if not len(episode):
        raise EpisodeError(f"{path} has no rows")
    page = arguments.out / f"{name}.{arguments.format}"
    plot_episode(episode, page)
    yield page
    for camera in episode.cameras:
        sheet = arguments.out / f"{name}_{camera}.jpg"
        if not cv2.imwrite(str(sheet), contact_sheet(episode, camera)):
            raise OSError(f"cannot write {sheet}")
        yield sheet


def _draw_labels(paths: list[Path], arguments: argparse.Namespace) -> Path:
    from h1_recorder.episode.episode import EpisodeError, read
    from h1_recorder.export.label_figure import distances, plot_labels

    episodes = [read(path) for path in paths]
    if len(robots := {str(episode.attributes.get("robot_name", "")) for episode in episodes}) > 1:
        raise EpisodeError(f"episodes of several robots, {', '.join(sorted(robots))}: draw each one's apart")
    found = distances(episodes)
    figure: Path = arguments.out / f"{paths[0].resolve().parent.name}_labels.{arguments.format}"
    rows = sum(map(len, episodes))
    plot_labels(
        found, figure, f"{len(paths)} episodes, {rows} rows: labels of a person's rows and actions of the policy"
    )
    return figure


def _plot_arguments(parser: argparse.ArgumentParser) -> None:
    _add_paths_and_out(parser, "figures")
    parser.add_argument("--format", choices=("png", "pdf", "svg"), default="png", help="of the page (default png)")
    parser.add_argument("--labels", action="store_true", help="one figure of all: labels of both phases, their overlap")


def video(arguments: argparse.Namespace) -> int:
    """`episodes video`: an MP4 of an episode's cameras side by side, over a bar of who was in control when."""
    from h1_recorder.episode.episode import read
    from h1_recorder.export.scene import make_video

    def make(path: Path) -> bool:
        target = arguments.out / f"{path.resolve().parent.name}_{path.stem}.mp4"
        arguments.out.mkdir(parents=True, exist_ok=True)
        make_video(read(path), target, every=arguments.every)
        say(arguments, {"path": str(path), "video": str(target)}, str(target))
        return True

    return for_each(arguments, found_episodes(arguments.paths), "episodes", make, slow=20)


def _video_arguments(parser: argparse.ArgumentParser) -> None:
    _add_paths_and_out(parser, "videos")
    parser.add_argument("--every", type=whole(1), default=2, metavar="N", help="take every N-th row (default 2)")


def _add_paths_and_out(parser: argparse.ArgumentParser, what: str) -> None:
    add_paths(parser)
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help=f"for the {what} (default: here)")


VERBS = (
    Verb(
        "plot",
        "draw joints, hands, torques, events and image ages on a page, and a contact sheet of each camera",
        plot,
        _plot_arguments,
    ),
    Verb(
        "video",
        "make an MP4 of the cameras side by side, with names, time and who was in control",
        video,
        _video_arguments,
    ),
)
