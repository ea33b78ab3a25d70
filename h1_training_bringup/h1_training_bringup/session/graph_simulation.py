# SPDX-License-Identifier: Apache-2.0
"""The simulated peers of the graph: who stands in for robot, cameras, hands, policy server and operator."""

from __future__ import annotations

import re
from pathlib import Path

from h1_training_bringup.session.closing_table import session_memory
from h1_training_bringup.session.configuration import Configuration, ConfigurationError
from h1_training_bringup.session.process import Process, SessionOptions
from h1_training_node.process import REALTIME_IF_ALLOWED


def action_dim(configuration: Configuration) -> int:
    """Values per action, 14 or 26.

    Raises:
        ConfigurationError: another number was asked for, or hands that are not there.
    """
    wanted = configuration["policy.action_dim"] or (26 if configuration["robot.include_hands"] else 14)
    if wanted not in (14, 26):
        raise ConfigurationError(f"'policy.action_dim' is {wanted}; expected 14 (arms) or 26 (arms and hands)")
    if wanted == 26 and not configuration["robot.include_hands"]:
        raise ConfigurationError("'policy.action_dim' is 26, but 'robot.include_hands' is false; set both or neither")
    return int(wanted)


def simulated_processes(configuration: Configuration, session: SessionOptions) -> tuple[Process, ...]:
    """The peers of a simulated session; each runs under the condition `sim`.

    A policy server that several simulations share was started by somebody else, and outlives them.
    """
    bringup, sim = "h1_training_bringup", frozenset({"sim"})
    seed: int = configuration["simulation.seed"]
    left, right = (str(configuration[f"robot.{side}_hand_port"]) for side in ("left", "right"))
    hands = ("--left-port", left, "--right-port", right)
    return (
        Process(
            bringup,
            "sim_robot",
            parameters={"seed": seed, "task": "push" if configuration["simulation.pushes"] else "reach"},
            when=sim,
            ends_last=True,
            priority=REALTIME_IF_ALLOWED,
        ),
        Process(
            bringup,
            "sim_cameras",
            parameters={
                "head_port": configuration["robot.head_camera_server_port"],
                "fps": configuration["simulation.camera_fps"],
                "show_person": configuration["simulation.show_person"],
                "jpeg_quality": max(configuration["recording.image_quality"], 10),
                "seed": seed,
            },
            when=sim | {"cameras"},
            ends_last=True,
        ),
        Process(bringup, "sim_hands", arguments=hands, when=sim | {"hands"}, ends_last=True),
        *(() if configuration["simulation.policy_server_port"] else (_policy_server(configuration, session),)),
        Process(
            bringup,
            "sim_operator",
            parameters={
                "epochs": configuration["simulation.epochs"],
                "episodes": configuration["simulation.episodes"],
                "first_episodes": configuration["simulation.first_episodes"],
                "resume_in_episode": configuration["simulation.resume_in_episode"],
            },
            when=sim | {"operator_scripted", "session"},
            may_finish=True,
            ends_last=True,
        ),
    )


def _policy_server(configuration: Configuration, session: SessionOptions) -> Process:
    folder = Path(configuration.upload_target or session.save_dir)
    options = {
        "--trainer": "scripted",
        "--port": configuration["policy_server.port"],
        "--inference-ms": configuration["simulation.inference_ms"],
        "--first-inference-ms": configuration["simulation.first_inference_ms"],
        "--jitter": configuration["simulation.inference_jitter"],
        "--first-epoch": next_epoch(folder, session.save_dir),
        "--watch-dir": folder,
        "--batch": configuration["simulation.episodes"],
    }
    settings = {
        "training_s": configuration["simulation.training_s"],
        "action_dim": action_dim(configuration),
        "seed": configuration["simulation.seed"],
    }
    given = [str(part) for option in options.items() for part in option]
    return Process(
        "h1_policy_bridge",
        "policy_server",
        "sim_policy_server",
        arguments=(*given, "--from-now-on", "--set", *(f"{name}={value}" for name, value in settings.items())),
        when=frozenset({"sim"}),
        ends_last=True,
    )


def next_epoch(target: Path, save_dir: Path) -> int:
    """The epoch that a server would report after all that it was given: a real one never falls back behind itself.

    After the newest epoch whose data lie in `target`, and after every one that the session in `save_dir` has finished:
    one that was skipped has left no data.
    """
    folders = target.glob("training_session_epoch*") if target.is_dir() else ()
    matches = (re.fullmatch(r"training_session_epoch(\d+)", path.name) for path in folders)
    known = {int(match[1]) for match in matches if match} | session_memory(save_dir)[0].keys()
    return max(known, default=-1) + 1
