"""Every key of the configuration: type, default, unit, range, meaning. The documentation's table is made from this one.

The spellings are those that users of the single-process client have in their `training_config.yaml`; older spellings
are aliases. Keys that only the training host reads are accepted, so that one file serves both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Key:
    """One key of the configuration file.

    Attributes:
        path: dotted, e.g. `policy_server.port`.
        default: its value when the file is silent; its type is the key's.
        description: meaning, one line.
        unit: empty if it has none.
        low, high: the range allowed, ends included.
        choices: the only strings allowed; empty allows any.
        aliases: older spellings, dotted.
        elsewhere: read by the training host alone.
    """

    path: str
    default: bool | int | float | str
    description: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    elsewhere: bool = False


def _training_host(path: str, default: Any, description: str) -> Key:
    return Key(path, default, description, elsewhere=True)


_PORT: dict[str, Any] = {"low": 0, "high": 65535}

KEYS: tuple[Key, ...] = (
    Key("task.name", "h1_task", "short name of the task", aliases=("training.task_name",)),
    Key("task.description", "pick up the object", "what the policy is asked to do; the prompt is made from it"),
    Key("policy_server.host", "127.0.0.1", "host of the policy server, or a ws:// or wss:// address"),
    Key("policy_server.port", 8000, "port of the policy server, WebSocket and HTTP", **_PORT),
    Key("policy_server.poll_interval_sec", 5.0, "time between polls of /training_status", "s", 0.1, 3600.0),
    Key("policy_server.ca_file", "", "PEM file of the authority of a wss:// server's certificate, beside the system's"),
    Key("policy_server.api_key_file", "", "file that holds the API key; else H1_POLICY_API_KEY of the environment"),
    Key(
        "robot.name",
        "",
        "name of this robot where there are several: a folder of this name under save_dir and rsync.target, and in "
        "the episodes and diagnostics; letters, digits and _",
    ),
    Key("robot.include_hands", False, "read and command the Inspire hands (26-dimensional policies)"),
    Key(
        "robot.include_cameras",
        True,
        "start the camera drivers; false where they run elsewhere, or with recording.allow_dummy_cameras",
    ),
    Key(
        "robot.network_interface",
        "eno1",
        "interface that the robot is on, for CycloneDDS alone; CYCLONEDDS_URI, if set, goes before it",
    ),
    Key("robot.left_hand_ip", "192.168.123.211", "left Inspire hand"),
    Key("robot.left_hand_port", 6000, "its Modbus TCP port", **_PORT),
    Key("robot.right_hand_ip", "192.168.123.210", "right Inspire hand"),
    Key("robot.right_hand_port", 6000, "its Modbus TCP port", **_PORT),
    Key("robot.head_camera_server_ip", "192.168.123.163", "host of the head camera's image server"),
    Key("robot.head_camera_server_port", 5555, "its port", **_PORT),
    Key(
        "robot.head_camera_format",
        "auto",
        "format of the image server: one frame for all, or one stream per camera",
        choices=("auto", "image_server", "teleimager"),
    ),
    Key("robot.speed_scale", 1.0, "share of all speed limits; 0.25 for a first run", "", 0.05, 1.0),
    Key("robot.left_wrist_serial", "218622271789", "serial number of the left wrist's D405"),
    Key("robot.right_wrist_serial", "241222076627", "serial number of the right wrist's D405"),
    _training_host(
        "robot.control_freq", 50, "rate at which the single-process client played actions; here always 50 Hz"
    ),
    Key(
        "save_dir",
        "data/episodes",
        "folder of the episodes; relative to where the session is started",
        aliases=("recording.save_dir", "data.save_dir"),
    ),
    Key("recording.fps", 50, "rows per second of an episode", "Hz", 1, 250),
    Key("recording.image_quality", 85, "JPEG quality of what is encoded here; a camera's own JPEG is kept", "", 1, 100),
    Key("recording.keep_journal", False, "keep each episode's journal (MCAP) beside it"),
    Key("recording.allow_dummy_cameras", False, "run without a camera, with marked grey images in its place"),
    Key("rsync.enabled", True, "upload at all", aliases=("data.rsync.enabled",)),
    Key(
        "rsync.target",
        "",
        "where rsync sends the episodes: DIR or USER@HOST:DIR; empty keeps them here",
        aliases=("data.rsync.target",),
    ),
    Key("rsync.options", "-avz --progress", "options of rsync", aliases=("data.rsync.options",)),
    Key("rsync.ssh_key", "", "private key for ssh; empty leaves it to ssh", aliases=("data.rsync.ssh_key",)),
    Key("session.ask_before_taking", True, "ask for 'y' before the arms are taken at the start"),
    Key("session.motion_countdown_s", 3.0, "countdown before the arms move by themselves", "s", 0.5, 30.0),
    Key("session.max_execution_s", 120.0, "longest run of the policy", "s", 1.0, 3600.0),
    Key(
        "session.max_damping_s",
        600.0,
        "longest correction by a person; then the episode is saved",
        "s",
        1.0,
        3600.0,
    ),
    Key("session.policy_silence_timeout_s", 5.0, "how long a silent policy is waited for", "s", 0.5, 60.0),
    Key("foxglove.address", "127.0.0.1", "address that foxglove:=true listens on; 0.0.0.0 opens it to the network"),
    Key("foxglove.port", 8765, "its port", **_PORT),
    Key("simulation.inference_ms", 120.0, "inference time of the simulated policy", "ms", 0.0, 60000.0),
    Key(
        "simulation.first_inference_ms",
        0.0,
        "of its very first one, in which a real server compiles (40000); 0: like any other",
        "ms",
        0.0,
        120000.0,
    ),
    Key("simulation.inference_jitter", 0.3, "its jitter, as a share", "", 0.0, 1.0),
    Key("simulation.training_s", 2.0, "how long the simulated training takes", "s", 0.0, 3600.0),
    Key("simulation.epochs", 2, "epochs that the scripted operator runs", "", 1, 1000),
    Key("simulation.episodes", 2, "episodes that it runs in each", "", 1, 1000),
    Key("simulation.seed", 1, "of masses, scenes and chance", "", 0, 2**31 - 1),
    Key(
        "simulation.policy_server_port",
        0,
        "port of 127.0.0.1 at which a policy server already runs, for several simulations; 0: each starts its own",
        **_PORT,
    ),
    Key("simulation.camera_fps", 30.0, "frames per second of each simulated camera", "Hz", 1.0, 60.0),
    Key(
        "policy.action_dim",
        0,
        "values per action, 14 (arms) or 26 (arms and hands); 0: 26 with robot.include_hands, else 14",
        "",
        0,
        26,
    ),
    Key(
        "policy.preset",
        "h1",
        "names and layout of the observation: this robot's fork of openpi, or openpi's aloha",
        choices=("h1", "aloha"),
    ),
    Key("policy.prompt", "{task}, Advantage=True", "prompt sent to the policy; {task} is task.description"),
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
    _training_host("pipeline.auto_sync", True, "whether it fetches data by itself"),
)

NODES = (
    *("arm_driver", "arm_guard", "head_camera", "inspire_driver", "policy_bridge", "recorder", "session_manager"),
    *("keyboard", "console"),
)
"""Nodes whose further parameters a file may set under `nodes.<node>`; each node checks its own."""

BY_PATH: dict[str, Key] = {key.path: key for key in KEYS}
BY_SPELLING: dict[str, Key] = BY_PATH | {alias: key for key in KEYS for alias in key.aliases}


def markdown_table() -> str:
    """Key, default, unit, range and meaning of every key: the table of docs/configuration.md."""
    rows = ["| key | default | unit | range | meaning |", "|---|---|---|---|---|"]
    for key in KEYS:
        default = str(key.default).lower() if isinstance(key.default, bool) else str(key.default)
        limits = "" if key.low is None else f"{key.low:g} … {key.high:g}"
        meaning = key.description + (" (read by the training host only)" if key.elsewhere else "")
        if key.aliases:
            meaning += f"; also as {', '.join(f'`{alias}`' for alias in key.aliases)}"
        shown = f"`{default}`" if default else ""
        rows.append(f"| `{key.path}` | {shown} | {key.unit} | {limits or ', '.join(key.choices)} | {meaning} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(markdown_table())
