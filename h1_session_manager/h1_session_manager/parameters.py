# SPDX-License-Identifier: Apache-2.0
"""The parameters of this package's nodes."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from h1_session_manager.keyboard.keys import TERMINAL, JoyKeys
from h1_session_manager.upload.rsync import RsyncJob
from h1_session_manager.upload.rsync_options import parse_options
from h1_training_node.forms import check_path, check_server
from h1_training_node.parameter import parameter
from h1_training_node.upload_target import parse_upload_target


def _check_target(text: str) -> None:
    if text and not parse_upload_target(text).is_remote:
        check_path(text)


@dataclass(frozen=True)
class SessionParameters:
    """What a session is about, and how long it waits for whom."""

    save_dir: str = parameter("data/episodes", "folder of the session's episodes")
    task: str = parameter("pick up the object", "what the policy is asked to do")
    prompt: str = parameter("", "as sent to the policy; empty: '<task>, Advantage=True'")
    episode_attributes: str = parameter("{}", "further attributes of every episode's file: a JSON object")
    robot_name: str = parameter("", "the robot's name: in diagnostics, and in what a folder is recorded under")
    include_hands: bool = parameter(False, "the hands must answer before an episode starts")
    allow_mixed_folder: bool = parameter(False, "record into a folder of another robot or joint configuration")
    config_sha256: str = parameter("", "of the configuration, for every episode's file")

    policy_host: str = parameter(
        "127.0.0.1", "host of the policy server, or its whole ws:// or wss:// URL", check=check_server
    )
    policy_port: int = parameter(8000, "its port; 0 if the URL says it", low=0, high=65535)
    api_key_file: str = parameter(
        "", "file that holds the API key; empty: the variable H1_POLICY_API_KEY, if set", check=check_path
    )
    ca_file: str = parameter(
        "", "PEM file of the authority of a wss:// server's certificate, beside the system's", check=check_path
    )
    poll_interval_s: float = parameter(5.0, "between two polls for new weights", unit="s", low=0.1, high=3600.0)

    training_status: str = parameter(
        "auto",
        "whether the policy server reports its training: 'auto' finds out, 'required' insists, 'none' never asks",
        choices=("auto", "required", "none"),
    )
    policy_epoch: int = parameter(0, "epoch of the weights that are served, where no training is reported", low=0)
    start_immediately: bool = parameter(False, "begin with the weights that are served, without waiting for new ones")

    ask_before_taking: bool = parameter(True, "wait for 'y' before the arms are acquired")
    motion_countdown_s: float = parameter(3.0, "announced before the arms start to move", unit="s", low=0.5, high=30.0)
    key_guard_s: float = parameter(
        0.7, "keys that start motion are ignored this long after a state is entered", unit="s", low=0.0, high=5.0
    )
    max_execution_s: float = parameter(120.0, "longest run of the policy", unit="s", low=1.0, high=3600.0)
    max_damping_s: float = parameter(
        600.0, "longest guidance by hand; then the episode is saved", unit="s", low=1.0, high=3600.0
    )
    limit_warning_s: float = parameter(15.0, "a time limit is announced this long before", unit="s", low=0.0)

    startup_timeout_s: float = parameter(
        30.0, "a node not heard for so long after the start is named", unit="s", low=0.5
    )
    first_sign_timeout_s: float = parameter(
        8.0, "wait at the start for the first sign of cameras and hands", unit="s", low=0.0, high=120.0
    )
    call_timeout_s: float = parameter(3.0, "wait for a node to answer a request", unit="s", low=0.1, high=60.0)
    acquire_timeout_s: float = parameter(30.0, "wait for the arms to be acquired", unit="s", low=0.5, high=120.0)
    home_timeout_s: float = parameter(
        30.0, "wait for the arms to reach the home position", unit="s", low=1.0, high=3600.0
    )
    release_warning_s: float = parameter(
        3.0, "countdown before the arms are released, as arm_driver has it", unit="s", low=3.0, high=5.0
    )
    release_timeout_s: float = parameter(20.0, "wait for the arms to be released", unit="s", low=1.0, high=120.0)
    first_chunk_timeout_s: float = parameter(
        75.0, "wait for the policy's first actions (a server may compile for 40 s)", unit="s", low=0.5, high=600.0
    )
    policy_silence_timeout_s: float = parameter(
        5.0, "after stale_action the policy is resumed if it is back within this time", unit="s", low=0.5, high=60.0
    )
    save_timeout_s: float = parameter(600.0, "longest save of an episode", unit="s", low=1.0)
    status_timeout_s: float = parameter(
        2.0, "a node whose status is older than this is taken for gone", unit="s", low=0.2
    )
    arm_timeout_s: float = parameter(0.5, "the same, for arm_status", unit="s", low=0.05, high=5.0)

    cameras: tuple[str, ...] = parameter(
        ("ego_cam", "cam_left_wrist", "cam_right_wrist"), "the recorder's names of the cameras that an episode needs"
    )
    allow_dummy_cameras: bool = parameter(False, "record grey, marked images for cameras that do not work")
    min_free_gb: float = parameter(5.0, "least free disk space to start an episode", unit="GB", low=0.0)
    max_hand_age_s: float = parameter(0.5, "a hand silent for longer does not answer", unit="s", low=0.05)
    max_motor_temperature_c: float = parameter(70.0, "an arm motor hotter than this lets no episode start", unit="degC")
    max_hand_temperature_c: float = parameter(65.0, "the same, for a finger's actuator", unit="degC")

    rsync_target: str = parameter(
        "",
        "where episodes are uploaded to: DIRECTORY, [USER@]HOST:DIRECTORY, [USER@]HOST::MODULE/DIRECTORY or "
        "rsync://[USER@]HOST[:PORT]/MODULE/DIRECTORY; empty: kept locally",
        check=_check_target,
    )
    rsync_options: str = parameter(
        "-avz --progress", "rsync's options, as on its command line, of those that are allowed", check=parse_options
    )
    rsync_ssh_key: str = parameter(
        "", "path of the private key for the upload; empty: ssh's own choice", check=check_path
    )
    rsync_timeout_s: float = parameter(300.0, "an upload that stands still this long has failed", unit="s", low=1.0)
    rsync_bwlimit: str = parameter("", "rsync's --bwlimit, e.g. '5m'; empty: no limit")
    rsync_retries: int = parameter(3, "number of retries after a broken connection", low=0, high=100)
    rsync_retry_wait_s: float = parameter(
        2.0, "wait before the first retry; doubles each time, up to 60 s", unit="s", low=0.0, high=60.0
    )
    rsync_validate: bool = parameter(True, "a file that fails `episodes validate` is named and not sent")
    background_upload: bool = parameter(True, "upload at low priority once DECIDING is left for another episode")
    sound_command: tuple[str, ...] = parameter(
        ("",), "played when the session needs the person: program and arguments, no shell; empty: none"
    )
    speech_command: tuple[str, ...] = parameter(
        ("",),
        "says aloud that the arms are about to move: program and arguments, the text comes last, e.g. [spd-say, --]; "
        "empty: the terminal's bell, three times, before a release",
    )
    bell: bool = parameter(True, "ring the terminal's bell when the session needs the person")

    def __post_init__(self) -> None:
        try:
            attributes = json.loads(self.episode_attributes)
        except ValueError as error:
            raise ValueError(f"parameter 'episode_attributes' is no JSON: {error}") from None
        if not isinstance(attributes, dict):
            raise ValueError("parameter 'episode_attributes' must be a JSON object, e.g. '{\"operator\": \"kim\"}'")
        if self.rsync_target and (problem := RsyncJob(self.save_dir, self.rsync_target, self.rsync_options).problem()):
            raise ValueError(problem)
        if not self.save_dir:
            raise ValueError("parameter 'save_dir' is empty; name the folder for the episodes")

    @property
    def robot_identity(self) -> str:
        """Robot and joint configuration: what must not be mixed in one folder."""
        return f"{self.robot_name or 'h1_2'}, arms{' and hands' if self.include_hands else ''}"

    @property
    def policy_prompt(self) -> str:
        """What the policy is sent as its prompt."""
        return self.prompt or f"{self.task}, Advantage=True"

    @property
    def status_url(self) -> str:
        """Where the policy server reports its weights: on the WebSocket's port, and through TLS if that is."""
        host = self.policy_host
        if "://" not in host:
            host = f"ws://[{host}]" if ":" in host else f"ws://{host}"
        parts = urlsplit(host)
        port = f":{self.policy_port}" if self.policy_port and parts.port is None else ""
        scheme = "https" if parts.scheme == "wss" else "http"
        return f"{scheme}://{parts.netloc.rpartition('@')[2]}{port}{parts.path.rstrip('/')}/training_status"


@dataclass(frozen=True)
class KeyboardParameters:
    """Where keys come from."""

    terminal: str = parameter(TERMINAL, "the terminal to read keys from", check=check_path)
    joy_buttons: tuple[str, ...] = parameter((), "BUTTON:KEY of sensor_msgs/Joy on the topic joy, e.g. ['0:s', '1:e']")

    def __post_init__(self) -> None:
        JoyKeys(self.joy_buttons)


@dataclass(frozen=True)
class ConsoleParameters(KeyboardParameters):
    """What the console shows; the session's own also hears the buttons."""

    terminal: str = parameter(TERMINAL, "the terminal to show the console on", check=check_path)
    cameras: tuple[str, ...] = parameter(
        (*SessionParameters().cameras, "arm_status"), "streams of the recorder to show"
    )
    bell: bool = parameter(True, "ring the terminal's bell when the session needs the person")


@dataclass(frozen=True)
class WebParameters:
    """Where the page listens, who may use it, and what it shows."""

    save_dir: str = parameter("data/episodes", "folder of the episodes")
    rsync_target: str = parameter("", "where the episodes are uploaded to, for their upload state; empty: nowhere")
    address: str = parameter("127.0.0.1", "address that the page listens on; another than this machine's own needs TLS")
    port: int = parameter(8090, "port of the page; 0 takes a free one", low=0, high=65535)
    token_file: str = parameter(
        "",
        "file of mode 600 with the token of the page on its first line, and on its second, if there is one, the token "
        "of those who only look; made with new tokens if it is missing. Empty: new tokens at every start",
        check=check_path,
    )
    certificate_file: str = parameter(
        "", "PEM file of the certificate, for https; with private_key_file", check=check_path
    )
    private_key_file: str = parameter("", "PEM file of the certificate's private key", check=check_path)
    allow_plain_http: bool = parameter(False, "listen without TLS on an address that others reach; they can read along")
    allowed_hosts: tuple[str, ...] = parameter(("",), "names under which browsers reach the page, beside addresses")
    on_lost: str = parameter(
        "warn",
        "what follows in EXECUTING when the driving page is silent: warn, or stop (damping, as by 's')",
        choices=("warn", "stop"),
    )
    lost_after_s: float = parameter(1.0, "silence of the driving page that is reported", unit="s", low=0.5, high=10.0)
    cameras: tuple[str, ...] = parameter(
        ("ego_cam:head_camera/image_raw/compressed",
         "cam_left_wrist:left_wrist_camera/color/image_raw/compressed",
         "cam_right_wrist:right_wrist_camera/color/image_raw/compressed"),
        "NAME:TOPIC of the cameras that are shown",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Refuse what would open the page by accident."""
        if bool(self.certificate_file) != bool(self.private_key_file):
            raise ValueError("parameters 'certificate_file' and 'private_key_file' go together; one of them is empty")
        try:
            address = ipaddress.ip_address(self.address)
        except ValueError:
            raise ValueError(
                f"parameter 'address' is '{self.address}'; expected an IP address of this machine, e.g. 127.0.0.1"
            ) from None
        if not address.is_loopback and not self.certificate_file and not self.allow_plain_http:
            raise ValueError(
                f"parameter 'address' is {self.address}, which others reach, and there is no certificate: set "
                "certificate_file and private_key_file, or allow_plain_http if everybody on that network may read along"
            )
        for entry in self.cameras:
            if not all(entry.partition(":")[::2]):
                raise ValueError(f"parameter 'cameras' has '{entry}'; expected NAME:TOPIC")

    @property
    def camera_topics(self) -> dict[str, str]:
        """Topic of each camera by its name."""
        return dict(entry.split(":", 1) for entry in self.cameras)
