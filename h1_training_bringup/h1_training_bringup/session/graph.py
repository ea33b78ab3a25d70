# SPDX-License-Identifier: Apache-2.0
"""The session's processes, described once, as data: the launch file and the runner both read this list.

Conditions (`Process.when`) are names; a process runs if all of its own are among the session's:
`robot` or `sim`, `session` (the whole one, not a part), `hands`, `cameras`, `operator_scripted`, `operator_keyboard`,
`console`, a tool's name (`process.TOOLS`), `displays` (rviz or foxglove).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

from h1_training_bringup.arm_driver.parameters import ArmParameters, BodyParameters, load_joint_settings
from h1_training_bringup.session.configuration import Configuration, ConfigurationError
from h1_training_bringup.session.graph_simulation import action_dim, simulated_processes
from h1_training_bringup.session.graph_tools import tool_processes
from h1_training_bringup.session.node_parameters import CLASSES, parameter_class
from h1_training_bringup.session.process import Process, SessionOptions
from h1_training_bringup.session.wrist_cameras import wrist_processes
from h1_training_node.parameter import ParameterError, from_values
from h1_training_node.process import ENDS_WITH_PARENT, REALTIME, REALTIME_IF_ALLOWED
from h1_training_node.upload_target import parse_upload_target

_LOW_PRIORITY = "10"
_SLOWEST_HOME_RAD = 12.0
"""Way times the ratio of peak to mean speed (1.875) of the longest move to home, rad."""


def conditions(configuration: Configuration, session: SessionOptions) -> frozenset[str]:
    """The names of the conditions that hold in this session."""
    return frozenset(
        {"sim" if session.simulated else "robot", session.part, f"operator_{session.operator}", *session.tools}
        | {name for name in ("hands", "cameras") if configuration[f"robot.include_{name}"]}
        | ({"console"} if session.console else set())
        | ({"web"} if configuration["web.enabled"] else set())
        | ({"displays"} if session.tools & {"rviz", "foxglove"} else set())
    )


def processes(configuration: Configuration, session: SessionOptions) -> tuple[Process, ...]:
    """The processes that run in this session, with everything that each is given.

    Raises:
        ConfigurationError: values that do not go together.
    """
    target = configuration.upload_target
    if session.simulated and target and parse_upload_target(target).is_remote:
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
    running = [process for process in (*itertools.chain.from_iterable(wanted), *tools) if process.when <= holding]
    for process in running:
        _check_parameters(process)
    return tuple(running)


def _check_parameters(process: Process) -> None:
    """A node would refuse its parameters only after all others have started."""
    if process.parameters and process.name in CLASSES:
        try:
            from_values(parameter_class(process.name), process.parameters)
        except ParameterError as error:
            raise ConfigurationError(f"nodes.{process.name}: {error}") from None


def robot_remappings(session: SessionOptions) -> tuple[tuple[str, str], ...]:
    """In the simulation the robot's own names are remapped, so that nothing reaches a robot."""
    return (("/lowstate", "sim/lowstate"), ("/arm_sdk", "sim/arm_sdk")) if session.simulated else ()


def wrapper(process: Process) -> tuple[str, ...]:
    """The command before a process' own: gives a foreign one its priority, and an end when its parent dies."""
    if not process.foreign:
        return ()
    return ("nice", "-n", process.priority, *ENDS_WITH_PARENT)


def _drivers(configuration: Configuration, session: SessionOptions) -> tuple[Process, ...]:
    bringup = "h1_training_bringup"
    arms_priority = REALTIME_IF_ALLOWED if session.simulated else REALTIME
    return (
        Process(
            bringup,
            "arm_driver",
            parameters=configuration.of_node("arm_driver"),
            remappings=robot_remappings(session),
            stop_timeout_s=13.0,
            priority=arms_priority,
        ),
        Process(
            bringup,
            "arm_guard",
            parameters={**_body(configuration), **configuration.of_node("arm_guard")},
            remappings=robot_remappings(session),
            stop_timeout_s=14.0,
            priority=arms_priority,
        ),
        Process(
            bringup,
            "head_camera",
            parameters=configuration.of_node("head_camera"),
            when=frozenset({"cameras"}),
            essential=False,
            respawn=True,
        ),
        Process(
            "h1_inspire_driver",
            "inspire_driver",
            parameters=configuration.of_node("inspire_driver"),
            when=frozenset({"hands"}),
            essential=False,
            respawn=True,
        ),
        *(() if session.simulated else wrist_processes(configuration)),
    )


def _body(configuration: Configuration) -> dict[str, Any]:
    """What the guard must know of the arms as the driver does: joints, payload, IMU, the way of releasing them."""
    shared = {field.name for field in dataclasses.fields(BodyParameters)}
    return {name: value for name, value in configuration.of_node("arm_driver").items() if name in shared}


def _session(configuration: Configuration, session: SessionOptions) -> tuple[Process, ...]:
    save_dir = {"save_dir": str(session.save_dir)}
    # Not slow or broken, but so configured: the recorder's verdicts go by it.
    camera_fps = {"camera_fps": configuration["simulation.camera_fps"]} if session.simulated else {}
    return (
        Process(
            "h1_policy_bridge",
            "policy_bridge",
            parameters={
                **configuration.of_node("policy_bridge"),
                "action_dim": action_dim(configuration),
                "prompt": _prompt(configuration),
            },
            priority=REALTIME_IF_ALLOWED,
        ),
        Process(
            "h1_recorder",
            "recorder",
            parameters={**camera_fps, **configuration.of_node("recorder"), **save_dir},
            stop_timeout_s=14.5,
        ),
        Process(
            "h1_session_manager",
            "session_manager",
            parameters={
                "home_timeout_s": _home_timeout_s(configuration),
                "release_warning_s": _arm_parameters(configuration).release_warning_s,
                **configuration.of_node("session_manager"),
                **save_dir,
                "rsync_target": configuration.upload_target,
                "prompt": _prompt(configuration),
                "config_sha256": session.config_sha256 or configuration.sha256(),
                "episode_attributes": json.dumps(_episode_attributes(configuration, session)),
            },
            concludes=True,
            on_terminal=True,
            stop_timeout_s=14.5,
        ),
        *_operator_screen(configuration, session),
    )


def _operator_screen(configuration: Configuration, session: SessionOptions) -> tuple[Process, ...]:
    keyboard = configuration.of_node("keyboard")
    return (
        Process(
            "h1_session_manager",
            "keyboard",
            parameters=keyboard,
            when=frozenset({"operator_keyboard"}),
            essential=False,
            standby=session.console,  # the console reads the keys while it is there
            ends_last=True,
        ),
        Process(
            "h1_session_manager",
            "console",
            parameters={**keyboard, **configuration.of_node("console")},
            when=frozenset({"operator_keyboard", "console"}),
            essential=False,
            fallback="keyboard",
            ends_last=True,
        ),
        Process(
            "h1_session_manager",
            "web",
            parameters={
                **configuration.of_node("web"),
                "save_dir": str(session.save_dir),
                "rsync_target": configuration.upload_target,
            },
            when=frozenset({"web"}),
            essential=False,
            respawn=True,
            ends_last=True,
            priority=_LOW_PRIORITY,
        ),
    )


def _arm_parameters(configuration: Configuration) -> ArmParameters:
    try:
        return from_values(ArmParameters, configuration.of_node("arm_driver"))
    except ParameterError as error:
        raise ConfigurationError(f"nodes.arm_driver: {error}") from None


def _home_timeout_s(configuration: Configuration) -> float:
    """How long the longest way home may take: at a low speed, much longer than at the full one."""
    arms = _arm_parameters(configuration)
    return min(10.0 + _SLOWEST_HOME_RAD / (arms.home_speed_rad_s * arms.speed_scale), 3600.0)


def _episode_attributes(configuration: Configuration, session: SessionOptions) -> dict[str, Any]:
    """What an episode's file says of the robot that made it, beside what the journal holds and what a person adds."""
    parameters = _arm_parameters(configuration)
    try:
        joints = load_joint_settings(parameters)
    except ParameterError as error:
        raise ConfigurationError(f"nodes.arm_driver: {error}") from None
    limits = {
        "lower_rad": joints.lower,
        "upper_rad": joints.upper,
        "speed_rad_s": joints.speed * parameters.speed_scale,
        "acceleration_rad_s2": joints.acceleration,
    }
    sides = ("left", "right")
    serials = {f"cam_{side}_wrist": configuration[f"robot.{side}_wrist_serial"] for side in sides}
    return {
        **_added_attributes(configuration),
        "limits": {name: values.tolist() for name, values in limits.items()},
        "payload": {f"{side}_kg": getattr(parameters, f"payload_{side}_kg") for side in sides},
        "serials": {} if session.simulated else serials,
        "task_name": configuration["task.name"],
        "robot_name": configuration["robot.name"],
    }


def _added_attributes(configuration: Configuration) -> dict[str, Any]:
    text = configuration.of_node("session_manager").get("episode_attributes", "{}")
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        raise ConfigurationError(
            f"'nodes.session_manager.episode_attributes' is {text!r}; expected a JSON object"
        ) from None


def _prompt(configuration: Configuration) -> str:
    return str(configuration["policy.prompt"]).replace("{task}", configuration["task.description"])
