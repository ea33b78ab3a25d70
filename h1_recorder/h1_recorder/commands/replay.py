"""`episodes replay`: publishes an episode on the session's topics at its own pace, for rviz2. The one verb with ROS.

Never into a running session: it refuses if anybody publishes arm_status, joint_states or session/state, and stops if
somebody begins to. It publishes nothing that a driver listens to.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from h1_recorder.commands.reason import reason

HELP = "publish an episode on the session's topics, for rviz2; needs ROS"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("path", type=Path, metavar="EPISODE")
    parser.add_argument("--rate", type=_positive, default=1.0, metavar="X", help="times its own pace (default 1)")
    parser.add_argument("--start", type=_not_negative, default=0.0, metavar="S", help="begin so many seconds into it")
    parser.add_argument("--loop", action="store_true", help="begin anew at its end")


def _positive(text: str) -> float:
    value = float(text)
    if not 0.01 <= value <= 100:
        raise argparse.ArgumentTypeError("expected 0.01 to 100")
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError("expected 0 or more")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Replay; 1 if it could not be done, 130 after Ctrl+C."""
    from h1_recorder.episode.episode import EpisodeError, read
    from h1_recorder.replay.replay import Replay, ReplayError

    try:
        from h1_recorder.replay.replay_node import replay
    except ImportError as error:
        return _failed(arguments, f"replaying needs ROS 2 and this workspace sourced: {error}")
    try:
        plan = Replay(read(arguments.path), rate=arguments.rate, start_s=arguments.start, loop=arguments.loop)
        return replay(plan)
    except (EpisodeError, ReplayError, OSError) as error:
        return _failed(arguments, reason(error))


def _failed(arguments: argparse.Namespace, why: str) -> int:
    print(json.dumps({"failed": why}) if arguments.json else f"failed: {why}")
    return 1
