"""The session's processes, described once, as data: the launch file and the runner both read this list.

Conditions (`Process.when`) are names; a process runs if all of its own are among the session's:
`robot` or `sim`, `session` (the whole one, not a part), `hands`, `cameras`, `operator_scripted`, `operator_keyboard`,
`console`, a tool's name (`process.TOOLS`), `displays` (rviz or foxglove).
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from typing import Any

from h1_training_bringup.arm_driver.parameters import ArmParameters, load_joint_settings
from h1_training_bringup.session.configuration import Configuration, ConfigurationError
from h1_training_bringup.session.graph_simulation import action_dim, simulated_processes
from h1_training_bringup.session.graph_tools import tool_processes
from h1_training_bringup.session.process import Process, Session
from h1_training_bringup.session.wrist_cameras import wrist_processes
from h1_training_node.parameter import ParameterError, from_values
from h1_training_node.process import REALTIME, REALTIME_IF_ALLOWED

_SLOWEST_HOME_RAD = 12.0
"""Way times the ratio of peak to mean speed (1.875) of the longest move to home, rad."""


def conditions(configuration: Configuration, session: Session) -> frozenset[str]:
    """The names of the conditions that hold in this session."""
    return frozenset(
        {"sim" if session.simulated else "robot", session.part, f"operator_{session.operator}", *session.tools}
        | {name for name in ("hands", "cameras") if configuration[f"robot.include_{name}"]}
        | ({"console"} if session.console else set())
        | ({"displays"} if session.tools & {"rviz", "foxglove"} else set())
    )


def processes(configuration: Configuration, session: Session) -> tuple[Process, ...]:
    """The processes that run in this session, with everything that each is given.

    Raises:
        ConfigurationError: values that do not go together.
    """
    if session.simulated and is_remote(target := configuration.upload_target):
        raise ConfigurationError(
            f"'rsync.target' is '{target}': the simulation uploads only to a local folder; set RSYNC_TARGET=DIR"
        )
    if not session.simulated and not configuration["session.ask_before_taking"]:
        raise ConfigurationError(
            "'session.ask_before_taking' is false: a robot's arms start to move only after a key; leave it out"
        )
    holding = conditions(configuration, session)
    listed = {
        "robot": _drivers(configuration, session),
        "session": _session(configuration, session),
        "sim": simulated_processes(configuration, session),
    }
    wanted = listed.values() if session.part == "session" else [listed[session.part]]
    tools = () if session.part == "sim" else tool_processes(configuration, session)
    return tuple(process for process in (*itertools.chain.from_iterable(wanted), *tools) if process.when <= holding)


def robot_remappings(session: Session) -> tuple[tuple[str, str], ...]:
    """In the simulation the robot's own names are led away from any robot."""
    return (("/lowstate", "sim/lowstate"), ("/arm_sdk", "sim/arm_sdk")) if session.simulated else ()


def wrapper(process: Process) -> tuple[str, ...]:
    """The command before a process' own: gives a foreign one its priority, and an end when its parent dies."""
    if not process.foreign:
        return ()
    return ("nice", "-n", process.priority, "setpriv", "--pdeathsig", "TERM", "--")


def is_remote(target: str) -> bool:
    return re.match(r"^(rsync://|[^/]*:)", target) is not None


def _drivers(configuration: Configuration, session: Session) -> tuple[Process, ...]:
    bringup, further, peers = "h1_training_bringup", configuration.node_parameters, session.peers
    arms_priority = REALTIME_IF_ALLOWED if session.simulated else REALTIME
    return (
        Process(
            bringup,
            "arm_driver",
            "arm_driver",
            parameters={"speed_scale": configuration["robot.speed_scale"], **further.get("arm_driver", {})},
            remappings=robot_remappings(session),
            stop_timeout_s=13.0,
            priority=arms_priority,
        ),
        Process(
            bringup,
            "arm_guard",
            "arm_guard",
            parameters={**_body(further.get("arm_driver", {})), **further.get("arm_guard", {})},
            remappings=robot_remappings(session),
            stop_timeout_s=14.0,
            priority=arms_priority,
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
            when=frozenset({"cameras"}),
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
        *(() if session.simulated else wrist_processes(configuration)),
    )


def _body(arm_driver: Mapping[str, Any]) -> dict[str, Any]:
    """What the guard must know of the arms as the driver does: joints, payload, IMU, the way of giving them back."""
    about = ("joint_settings", "imu_frame", "payload_", "release_", "robot_timeout_s")
    return {name: value for name, value in arm_driver.items() if name.startswith(about)}


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
                **_access(configuration),
                "action_dim": action_dim(configuration),
                "preset": configuration["policy.preset"],
                "prompt": _prompt(configuration),
                **dummies,
                **further.get("policy_bridge", {}),
            },
            priority=REALTIME_IF_ALLOWED,
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
                **({"camera_fps": configuration["simulation.camera_fps"]} if session.simulated else {}),
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
        *_operator_screen(configuration, session),
    )


def _operator_screen(configuration: Configuration, session: Session) -> tuple[Process, ...]:
    further = configuration.node_parameters
    return (
        Process(
            "h1_session_manager",
            "keyboard",
            "keyboard",
            parameters=further.get("keyboard", {}),
            when=frozenset({"operator_keyboard"}),
            essential=False,
            standby=session.console,  # the console reads the keys while it is there
            ends_last=True,
        ),
        Process(
            "h1_session_manager",
            "console",
            "console",
            parameters={**further.get("keyboard", {}), **further.get("console", {})},
            when=frozenset({"operator_keyboard", "console"}),
            essential=False,
            ends_last=True,
        ),
    )


def _arm_parameters(configuration: Configuration) -> ArmParameters:
    given = {"speed_scale": configuration["robot.speed_scale"], **configuration.node_parameters.get("arm_driver", {})}
    try:
        return from_values(ArmParameters, given)
    except ParameterError as error:
        raise ConfigurationError(f"nodes.arm_driver: {error}") from None


def _home_timeout_s(configuration: Configuration) -> float:
    """How long the longest way home may take: at a low speed, much longer than at the full one."""
    arms = _arm_parameters(configuration)
    return min(10.0 + _SLOWEST_HOME_RAD / (arms.home_speed_rad_s * arms.speed_scale), 3600.0)


def _episode_attributes(configuration: Configuration, session: Session) -> dict[str, Any]:
    """What an episode's file tells about the robot that made it, beside what the journal holds."""
    parameters = _arm_parameters(configuration)
    try:
        joints = load_joint_settings(parameters)
    except ParameterError as error:
        raise ConfigurationError(f"nodes.arm_driver: {error}") from None
    limits = {
        "lower_rad": joints.lower,
        "upper_rad": joints.upper,
        "speed_rad_s": joints.speed * parameters.speed_scale,
    }
    limits["acceleration_rad_s2"] = joints.acceleration
    sides = ("left", "right")
    return {
        "limits": {name: values.tolist() for name, values in limits.items()},
        "payload": {f"{side}_kg": getattr(parameters, f"payload_{side}_kg") for side in sides},
        "serials": {}
        if session.simulated
        else {f"cam_{side}_wrist": configuration[f"robot.{side}_wrist_serial"] for side in sides},
        "task_name": configuration["task.name"],
        "robot_name": configuration["robot.name"],
    }


def _access(configuration: Configuration) -> dict[str, str]:
    """What both nodes that ask the policy server show it, and whom they trust to vouch for it."""
    return {name: configuration[f"policy_server.{name}"] for name in ("api_key_file", "ca_file")}


def _prompt(configuration: Configuration) -> str:
    return str(configuration["policy.prompt"]).replace("{task}", configuration["task.description"])


def _session_parameters(configuration: Configuration, session: Session) -> dict[str, Any]:
    return {
        "policy_host": session.peers.policy_host,
        "policy_port": session.peers.policy_port,
        **_access(configuration),
        "poll_interval_s": configuration["policy_server.poll_interval_sec"],
        "rsync_target": configuration.upload_target,
        "rsync_options": configuration["rsync.options"],
        "rsync_ssh_key": configuration["rsync.ssh_key"],
        "task": configuration["task.description"],
        "prompt": _prompt(configuration),
        "robot_name": configuration["robot.name"],
        "include_hands": configuration["robot.include_hands"],
        "ask_before_taking": configuration["session.ask_before_taking"],
        "motion_countdown_s": configuration["session.motion_countdown_s"],
        "home_timeout_s": _home_timeout_s(configuration),
        # A simulated camera that is slow on purpose is not a broken one; two thirds is what a real one must do as well.
        **({"min_camera_hz": configuration["simulation.camera_fps"] * 2 / 3} if session.simulated else {}),
        "max_execution_s": configuration["session.max_execution_s"],
        "max_damping_s": configuration["session.max_damping_s"],
        "policy_silence_timeout_s": configuration["session.policy_silence_timeout_s"],
        "config_sha256": configuration.sha256(),
        "episode_attributes": json.dumps(_episode_attributes(configuration, session)),
    }
