"""The session's processes, described once, as data: the launch file and the runner both read this list.

Conditions (`Process.when`) are names; a process runs if all of its own are among the session's:
`robot` or `sim`, `hands`, `operator_scripted`, `operator_keyboard`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from h1_training_bringup.configuration import Configuration, ConfigurationError
from h1_training_bringup.peers import Peers

OPERATORS = ("keyboard", "scripted", "none")


@dataclass(frozen=True)
class Process:
    """One process of the session.

    Attributes:
        package, executable, name: what runs, and the node's name.
        parameters: ROS parameters, plain values.
        remappings: pairs of (name in the node, name in the graph).
        arguments: command-line arguments of a peer that is no ROS node.
        when: conditions, all of which must hold.
        essential: the session cannot live without it; its end ends the session with status 1.
        respawn: started again if it dies (a few times).
        ends_last: a simulated peer or the keyboard: ended when all others are gone.
        on_terminal: its standard output is the operator's terminal.
        stop_timeout_s: how long it may take to end, s.
        niceness: scheduling priority, 0 to 19; the arms come before everybody else.
        foreign: not one of ours, so that it sees neither to its priority nor to its parent's death by itself.
    """

    package: str
    executable: str
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()
    when: frozenset[str] = frozenset()
    essential: bool = True
    respawn: bool = False
    ends_last: bool = False
    on_terminal: bool = False
    stop_timeout_s: float = 5.0
    niceness: int = 5
    foreign: bool = False


@dataclass(frozen=True)
class Session:
    """What a session is started with, beside the configuration.

    Attributes:
        simulated: against the simulation, which can never move a robot.
        operator: who presses the keys: one of `OPERATORS`.
        peers: where robot, hands, camera and policy server are reached.
        save_dir: absolute folder of the episodes.
    """

    simulated: bool
    operator: str
    peers: Peers
    save_dir: Path


def conditions(configuration: Configuration, session: Session) -> frozenset[str]:
    """The names of the conditions that hold in this session."""
    return frozenset(
        {"sim" if session.simulated else "robot", f"operator_{session.operator}"}
        | ({"hands"} if configuration["robot.include_hands"] else set())
    )


def processes(configuration: Configuration, session: Session) -> tuple[Process, ...]:
    """The processes that run in this session, with everything that each is given.

    Raises:
        ConfigurationError: values that do not go together.
    """
    if session.simulated and is_remote(configuration["rsync.target"]):
        target = configuration["rsync.target"]
        raise ConfigurationError(
            f"'rsync.target' is '{target}': the simulation uploads only to a local folder; set RSYNC_TARGET=DIR"
        )
    holding = conditions(configuration, session)
    listed = (
        *_drivers(configuration, session),
        *_session(configuration, session),
        *_simulation(configuration, session),
    )
    return tuple(process for process in listed if process.when <= holding)


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


def robot_remappings(session: Session) -> tuple[tuple[str, str], ...]:
    """In the simulation the robot's own names are led away from any robot."""
    return (("/lowstate", "sim/lowstate"), ("/arm_sdk", "sim/arm_sdk")) if session.simulated else ()


def wrapper(process: Process) -> tuple[str, ...]:
    """The command before a process' own: gives a foreign one its priority, and an end when its parent dies."""
    if not process.foreign:
        return ()
    return ("nice", "-n", str(process.niceness), "setpriv", "--pdeathsig", "TERM", "--")


def is_remote(target: str) -> bool:
    return re.match(r"^(rsync://|[^/]*:)", target) is not None


def _drivers(configuration: Configuration, session: Session) -> tuple[Process, ...]:
    bringup, further, peers = "h1_training_bringup", configuration.node_parameters, session.peers
    wrists = tuple(_wrist(configuration, side) for side in ("left", "right"))
    return (
        Process(
            bringup,
            "arm_driver",
            "arm_driver",
            parameters={"speed_scale": configuration["robot.speed_scale"], **further.get("arm_driver", {})},
            remappings=robot_remappings(session),
            stop_timeout_s=13.0,
            niceness=0,
        ),
        Process(
            bringup,
            "arm_guard",
            "arm_guard",
            parameters={**_body(further.get("arm_driver", {})), **further.get("arm_guard", {})},
            remappings=robot_remappings(session),
            stop_timeout_s=14.0,
            niceness=0,
        ),
        Process(
            bringup,
            "head_camera",
            "head_camera",
            parameters={
                "host": peers.head_camera_host,
                "port": peers.head_camera_port,
                "format": configuration["robot.head_camera_format"],
                "jpeg_quality": configuration["recording.image_quality"],
                **further.get("head_camera", {}),
            },
            essential=False,
            respawn=True,
        ),
        Process(
            "h1_inspire_driver",
            "inspire_driver",
            "inspire_driver",
            parameters={
                "left_host": peers.left_hand_host,
                "left_port": peers.left_hand_port,
                "right_host": peers.right_hand_host,
                "right_port": peers.right_hand_port,
                **further.get("inspire_driver", {}),
            },
            when=frozenset({"hands"}),
            essential=False,
            respawn=True,
        ),
        *wrists,
    )


def _body(arm_driver: Mapping[str, Any]) -> dict[str, Any]:
    """What the guard must know of the arms as the driver does: joints, payload, IMU, the way of giving them back."""
    about = ("joint_settings", "imu_frame", "payload_", "release_", "robot_timeout_s")
    return {name: value for name, value in arm_driver.items() if name.startswith(about)}


def _wrist(configuration: Configuration, side: str) -> Process:
    """A D405: it has no RGB sensor of its own, so that its colour stream is set on the depth module."""
    camera = f"{side}_wrist_camera"
    return Process(
        "realsense2_camera",
        "realsense2_camera_node",
        camera,
        parameters={
            "serial_no": "_" + configuration[f"robot.{side}_wrist_serial"],
            "camera_name": camera,
            "depth_module.color_profile": "640x480x30",
            "enable_depth": False,
            "enable_color": True,
            f"{camera}.color.image_raw.compressed.jpeg_quality": configuration["recording.image_quality"],
            f"{camera}.color.image_rect_raw.compressed.jpeg_quality": configuration["recording.image_quality"],
        },
        # Wrappers up to 4.56 call a D405's colour image_rect_raw, later ones image_raw (realsense-ros #3287).
        remappings=tuple(
            (f"~/color/{name}/compressed", f"{camera}/color/image_raw/compressed")
            for name in ("image_raw", "image_rect_raw")
        ),
        when=frozenset({"robot"}),
        essential=False,
        respawn=True,
        foreign=True,
    )


def _session(configuration: Configuration, session: Session) -> tuple[Process, ...]:
    further, peers = configuration.node_parameters, session.peers
    dummies = {"allow_dummy_cameras": configuration["recording.allow_dummy_cameras"]}
    save_dir = {"save_dir": str(session.save_dir)}
    return (
        Process(
            "h1_policy_bridge",
            "policy_bridge",
            "policy_bridge",
            parameters={
                "host": peers.policy_host,
                "port": peers.policy_port,
                "api_key_file": configuration["policy_server.api_key_file"],
                "action_dim": action_dim(configuration),
                "preset": configuration["policy.preset"],
                "prompt": _prompt(configuration),
                **dummies,
                **further.get("policy_bridge", {}),
            },
        ),
        Process(
            "h1_recorder",
            "recorder",
            "recorder",
            parameters={
                **save_dir,
                **dummies,
                "fps": configuration["recording.fps"],
                "keep_journal": configuration["recording.keep_journal"],
                **further.get("recorder", {}),
            },
            stop_timeout_s=14.5,
        ),
        Process(
            "h1_session_manager",
            "session_manager",
            "session_manager",
            parameters={
                **save_dir,
                **dummies,
                **_session_parameters(configuration, session),
                **further.get("session_manager", {}),
            },
            on_terminal=True,
            stop_timeout_s=14.5,
        ),
        Process(
            "h1_session_manager",
            "keyboard",
            "keyboard",
            when=frozenset({"operator_keyboard"}),
            essential=False,
            ends_last=True,
        ),
    )


def _prompt(configuration: Configuration) -> str:
    return str(configuration["policy.prompt"]).replace("{task}", configuration["task.description"])


def _session_parameters(configuration: Configuration, session: Session) -> dict[str, Any]:
    return {
        "policy_host": session.peers.policy_host,
        "policy_port": session.peers.policy_port,
        "poll_interval": configuration["policy_server.poll_interval_sec"],
        "rsync_target": configuration["rsync.target"] if configuration["rsync.enabled"] else "",
        "rsync_options": configuration["rsync.options"],
        "rsync_ssh_key": configuration["rsync.ssh_key"],
        "task": configuration["task.description"],
        "prompt": _prompt(configuration),
        "robot_name": configuration["robot.name"],
        "include_hands": configuration["robot.include_hands"],
        "ask_before_taking": configuration["session.ask_before_taking"],
        "motion_countdown": configuration["session.motion_countdown_s"],
        "max_execution": configuration["session.max_execution_s"],
        "max_damping": configuration["session.max_damping_s"],
        "policy_silence_timeout": configuration["session.policy_silence_timeout_s"],
        "config_sha256": configuration.sha256(),
    }


def _simulation(configuration: Configuration, session: Session) -> tuple[Process, ...]:
    bringup, sim, peers = "h1_training_bringup", frozenset({"sim"}), session.peers
    seed: int = configuration["simulation.seed"]
    hands = ("--left-port", str(peers.left_hand_port), "--right-port", str(peers.right_hand_port))
    return (
        Process(bringup, "sim_robot", "sim_robot", parameters={"seed": seed}, when=sim, ends_last=True, niceness=0),
        Process(
            bringup,
            "sim_cameras",
            "sim_cameras",
            parameters={
                "head_port": peers.head_camera_port,
                "fps": configuration["simulation.camera_fps"],
                "seed": seed,
            },
            when=sim,
            ends_last=True,
        ),
        Process(bringup, "sim_hands", "sim_hands", arguments=hands, when=sim | {"hands"}, ends_last=True),
        Process(
            bringup,
            "sim_policy_server",
            "sim_policy_server",
            arguments=_policy_server_arguments(configuration, session),
            when=sim,
            ends_last=True,
        ),
        Process(
            bringup,
            "sim_operator",
            "sim_operator",
            parameters={
                "epochs": configuration["simulation.epochs"],
                "episodes": configuration["simulation.episodes"],
            },
            when=sim | {"operator_scripted"},
            ends_last=True,
        ),
    )


def _policy_server_arguments(configuration: Configuration, session: Session) -> tuple[str, ...]:
    target = configuration["rsync.target"]
    options = {
        "--port": session.peers.policy_port,
        "--inference-ms": configuration["simulation.inference_ms"],
        "--jitter": configuration["simulation.inference_jitter"],
        "--training-s": configuration["simulation.training_s"],
        "--action-dim": action_dim(configuration),
        "--seed": configuration["simulation.seed"],
        "--first-epoch": next_epoch(Path(target)) if target else next_epoch(session.save_dir),
        "--watch-dir": target or session.save_dir,
    }
    return tuple(str(part) for option in options.items() for part in option)


def next_epoch(folder: Path) -> int:
    """The epoch after the newest one whose data lie in `folder`: what a server trained on them would report."""
    numbers = [
        int(match[1])
        for path in (folder.glob("training_session_epoch*") if folder.is_dir() else ())
        if (match := re.fullmatch(r"training_session_epoch(\d+)", path.name))
    ]
    return max(numbers, default=-1) + 1
