# SPDX-License-Identifier: Apache-2.0
"""Every key of the configuration, and which parameter of which node it sets.

A key that sets a parameter has that parameter's type, default, unit, range and meaning (`node_parameters.py` says
why); only what no node reads is declared here. The spellings are those that users of the single-process client have in
their `training_config.yaml`; older ones are aliases. Keys that only the training host reads are accepted, so that one
file serves both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from h1_training_bringup.session.node_parameters import Parameter, parameter_of
from h1_training_node.forms import check_host, check_path


@dataclass(frozen=True)
class Key:
    """One key of the configuration file.

    Attributes:
        path: dotted, e.g. `policy_server.port`.
        about: type, default, unit, range and meaning.
        sets: the parameters that have the value, `"node.parameter"`.
        makes: the parameters that the session makes of it.
        aliases: older spellings, dotted.
        elsewhere: read by the training host alone.
    """

    path: str
    about: Parameter
    sets: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    elsewhere: bool = False

    @property
    def default(self) -> Any:
        """Its value when the file is silent."""
        return self.about.default


def _sets(
    path: str, *parameters: str, meaning: str = "", makes: tuple[str, ...] = (), aliases: tuple[str, ...] = ()
) -> Key:
    """A key that sets `parameters`, which agree on everything but their descriptions."""
    about = parameter_of(parameters[0])
    return Key(path, replace(about, description=meaning) if meaning else about, parameters, makes, aliases)


def _own(
    path: str,
    default: Any,
    description: str,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    *,
    check: Callable[[str], None] | None = None,
    makes: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
) -> Key:
    """A key that the session itself reads."""
    about = Parameter(type(default), default, description, unit, low, high, check=check)
    return Key(path, about, makes=makes, aliases=aliases)


def _training_host(path: str, default: Any, description: str) -> Key:
    return Key(path, Parameter(type(default), default, description), elsewhere=True)


KEYS: tuple[Key, ...] = (
    _own("task.name", "h1_task", "short name of the task", aliases=("training.task_name",)),
    _sets("task.description", "session_manager.task"),
    _sets("policy_server.host", "policy_bridge.host", "session_manager.policy_host"),
    _sets("policy_server.port", "policy_bridge.port", "session_manager.policy_port"),
    _sets("policy_server.protocol", "policy_bridge.protocol"),
    _sets("policy_server.poll_interval_sec", "session_manager.poll_interval_s"),
    _sets("policy_server.training_status", "session_manager.training_status"),
    _sets("policy_server.epoch", "session_manager.policy_epoch"),
    _sets("policy_server.ca_file", "policy_bridge.ca_file", "session_manager.ca_file"),
    _sets("policy_server.api_key_file", "policy_bridge.api_key_file", "session_manager.api_key_file"),
    _sets(
        "robot.name",
        "session_manager.robot_name",
        meaning="name of this robot where there are several: a folder of this name under save_dir and rsync.target, "
        "and in the episodes and diagnostics; letters, digits and _",
    ),
    _sets(
        "robot.include_hands",
        "session_manager.include_hands",
        meaning="read and command the Inspire hands (26-dimensional policies)",
    ),
    _own(
        "robot.include_cameras",
        True,
        "start the camera drivers; false where they run elsewhere, or with recording.allow_dummy_cameras",
    ),
    _own(
        "robot.network_interface",
        "eno1",
        "network interface to the robot, for CycloneDDS only; CYCLONEDDS_URI, if set, takes precedence",
    ),
    _sets("robot.left_hand_ip", "inspire_driver.left_host"),
    _sets("robot.left_hand_port", "inspire_driver.left_port"),
    _sets("robot.right_hand_ip", "inspire_driver.right_host"),
    _sets("robot.right_hand_port", "inspire_driver.right_port"),
    _sets("robot.head_camera_server_ip", "head_camera.host"),
    _sets("robot.head_camera_server_port", "head_camera.port"),
    _sets("robot.head_camera_format", "head_camera.format"),
    _sets("robot.head_camera_layout", "head_camera.layout"),
    _sets("robot.speed_scale", "arm_driver.speed_scale"),
    _own("robot.left_wrist_serial", "218622271789", "serial number of the left wrist's D405"),
    _own("robot.right_wrist_serial", "241222076627", "serial number of the right wrist's D405"),
    _training_host(
        "robot.control_freq", 50, "rate at which the single-process client played actions; here always 50 Hz"
    ),
    _own(
        "save_dir",
        "data/episodes",
        "folder of the episodes; relative to where the session is started",
        check=check_path,
        makes=("recorder.save_dir", "session_manager.save_dir", "web.save_dir"),
        aliases=("recording.save_dir", "data.save_dir"),
    ),
    _sets("recording.fps", "recorder.fps"),
    _sets(
        "recording.image_quality",
        "head_camera.jpeg_quality",
        meaning="JPEG quality of what is encoded here; a camera's own JPEG is kept",
    ),
    _sets("recording.keep_journal", "recorder.keep_journal"),
    _sets(
        "recording.allow_dummy_cameras",
        *("recorder.allow_dummy_cameras", "policy_bridge.allow_dummy_cameras", "session_manager.allow_dummy_cameras"),
        meaning="run without a camera, with marked grey images in its place",
    ),
    _own("rsync.enabled", True, "upload at all", aliases=("data.rsync.enabled",)),
    _sets("rsync.target", "session_manager.rsync_target", makes=("web.rsync_target",), aliases=("data.rsync.target",)),
    _sets("rsync.options", "session_manager.rsync_options", aliases=("data.rsync.options",)),
    _sets("rsync.ssh_key", "session_manager.rsync_ssh_key", aliases=("data.rsync.ssh_key",)),
    _sets("session.ask_before_taking", "session_manager.ask_before_taking"),
    _sets("session.motion_countdown_s", "session_manager.motion_countdown_s"),
    _sets("session.max_execution_s", "session_manager.max_execution_s"),
    _sets("session.max_damping_s", "session_manager.max_damping_s"),
    _sets("session.policy_silence_timeout_s", "session_manager.policy_silence_timeout_s"),
    _own("web.enabled", True, "start the page with the session"),
    _sets("web.address", "web.address"),
    _sets("web.port", "web.port"),
    _sets("web.token_file", "web.token_file"),
    _sets("web.certificate_file", "web.certificate_file"),
    _sets("web.private_key_file", "web.private_key_file"),
    _sets("web.allow_plain_http", "web.allow_plain_http"),
    _sets("web.on_lost", "web.on_lost"),
    _own(
        "foxglove.address",
        "127.0.0.1",
        "address that foxglove:=true listens on; 0.0.0.0 opens it to the network",
        check=check_host,
    ),
    _own("foxglove.port", 8765, "its port", low=1, high=65535),
    _own("simulation.inference_ms", 120.0, "inference time of the simulated policy", "ms", 0.0, 60000.0),
    _own(
        "simulation.first_inference_ms",
        0.0,
        "time of its first inference, in which a real server compiles (40000); 0: like any other",
        "ms",
        0.0,
        120000.0,
    ),
    _own("simulation.inference_jitter", 0.3, "its jitter, as a share", "", 0.0, 1.0),
    _own("simulation.training_s", 2.0, "how long the simulated training takes", "s", 0.0, 3600.0),
    _own("simulation.epochs", 2, "epochs that the scripted operator runs", "", 1, 1000),
    _own("simulation.episodes", 2, "episodes that the scripted operator runs in each epoch", "", 1, 1000),
    _own("simulation.first_episodes", 0, "episodes that it runs in the first epoch; 0: as in the others", "", 0, 1000),
    _own("simulation.resume_in_episode", 2, "episode of the first epoch in which it resumes the policy", "", 0, 1000),
    _own("simulation.seed", 1, "seed of masses, scenes and noise", "", 0, 2**31 - 1),
    _own(
        "simulation.policy_server_port",
        0,
        "port of 127.0.0.1 at which a policy server already runs, for several simulations; 0: each starts its own",
        low=0,
        high=65535,
    ),
    _own(
        "simulation.pushes",
        False,
        "push the cube into a field instead of only reaching it; simulates contact of hands, cube and table",
    ),
    _own("simulation.camera_fps", 30.0, "frames per second of each simulated camera", "Hz", 1.0, 60.0),
    _own("simulation.show_person", False, "draw the hands that guide the arms into the images, for people to look at"),
    _own(
        "policy.action_dim",
        0,
        "values per action, 14 (arms) or 26 (arms and hands); 0: 26 with robot.include_hands, else 14",
        low=0,
        high=26,
        makes=("policy_bridge.action_dim",),
    ),
    _sets("policy.preset", "policy_bridge.preset"),
    _sets(
        "policy.prompt",
        "policy_bridge.prompt",
        makes=("session_manager.prompt",),
        meaning="prompt sent to the policy; {task} is task.description",
    ),
    _training_host("policy.config_name", "", "openpi's training configuration"),
    _training_host("policy.base_checkpoint", "", "checkpoint that training starts from"),
    _training_host("training.max_epochs", 0, "epochs of the whole pipeline"),
    _training_host("training.save_interval", 0, "steps between checkpoints"),
    _training_host("training.keep_period", 0, "checkpoints kept"),
    _training_host("training.num_repeats", 0, "repeats of the data"),
    _training_host("training.labeling_mode", "", "how advantages are labelled"),
    _training_host("training.gpu_id", 0, "GPU of the training"),
    _training_host("training.auto_sync", True, "whether the pipeline fetches data by itself"),
    _training_host("pipeline.start_phase", "", "phase in which the pipeline starts"),
    _training_host("pipeline.start_epoch", 0, "epoch at which it starts"),
    _sets("pipeline.start_immediately", "session_manager.start_immediately"),
    _training_host("pipeline.auto_sync", True, "whether it fetches data by itself"),
)

BY_PATH: dict[str, Key] = {key.path: key for key in KEYS}
BY_SPELLING: dict[str, Key] = BY_PATH | {alias: key for key in KEYS for alias in key.aliases}
BY_PARAMETER: dict[str, Key] = {parameter: key for key in KEYS for parameter in (*key.sets, *key.makes)}
"""Parameters that a key sets: a file sets the key, not the parameter under `nodes`."""


def markdown_table() -> str:
    """Key, default, unit, range and meaning of every key: the table of docs/configuration.md."""
    rows = ["| key | default | unit | range | meaning |", "|---|---|---|---|---|"]
    for key in KEYS:
        meaning = key.about.description + (" (read by the training host only)" if key.elsewhere else "")
        if key.aliases:
            meaning += f"; also as {', '.join(f'`{alias}`' for alias in key.aliases)}"
        rows.append(markdown_row(key.path, key.about, meaning))
    return "\n".join(rows)


def markdown_row(name: str, about: Parameter, meaning: str = "") -> str:
    """One row of a table of keys or parameters."""
    default = about.default
    if isinstance(default, tuple):
        shown = f"`[{', '.join(map(str, default))}]`"
    else:
        shown = f"`{str(default).lower() if isinstance(default, bool) else default}`" if str(default) else ""
    low, high = ("" if end is None else f"{end:.10g}" for end in (about.low, about.high))
    limits = f"{low} … {high}".strip() if low or high else ", ".join(about.choices)
    return f"| `{name}` | {shown} | {about.unit} | {limits} | {(meaning or about.description).replace('|', '/')} |"
