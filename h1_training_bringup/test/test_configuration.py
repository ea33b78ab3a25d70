# SPDX-License-Identifier: Apache-2.0
"""The configuration is checked as a whole; whatever is wrong is named with its file."""

from dataclasses import replace
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_share_directory
from hypothesis import given
from hypothesis import strategies as st

from h1_training_bringup.session.configuration import ConfigurationError, load
from h1_training_bringup.session.keys import BY_SPELLING, KEYS, Key
from h1_training_bringup.session.node_parameters import parameter_of

CONFIG_DIR = Path(get_package_share_directory("h1_training_bringup")) / "config"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["training_config.yaml", "sim.yaml"])
def test_the_files_that_come_with_the_package_are_valid(name: str) -> None:
    load(CONFIG_DIR / name)


def test_an_empty_file_leaves_every_default(tmp_path: Path) -> None:
    assert load(written(tmp_path, "")).values == load().values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("policy_server: {hots: a}", "unknown key 'policy_server.hots'; did you mean 'policy_server.host'?"),
        ("nonsense: 1", "unknown key 'nonsense'"),
        ("policy_server: {port: high}", "'policy_server.port' is 'high' (str); expected a whole number"),
        ("policy_server: {port: 70000}", "'policy_server.port' is 70000; the greatest allowed is 65535"),
        ("policy_server: {port: true}", "'policy_server.port' is True (bool)"),
        (
            "policy_server: {poll_interval_sec: .nan}",
            "'policy_server.poll_interval_sec' is nan; expected a finite number",
        ),
        ("robot: {include_hands: 1}", "'robot.include_hands' is 1 (int); expected true or false"),
        ("policy: {preset: droid}", "'policy.preset' is 'droid'; expected one of h1, aloha"),
        ("policy_server: 7", "'policy_server' is a section; expected keys below it, such as 'policy_server.host'"),
        (
            "save_dir: a\nrecording: {save_dir: b}",
            "line 2: 'recording.save_dir' and 'save_dir' in line 1 are the same key; keep one",
        ),
        ("nodes: {arm_drivr: {a: 1}}", "unknown key 'nodes.arm_drivr'; did you mean 'nodes.arm_driver'?"),
        ("nodes: {arm_driver: 1}", "'nodes.arm_driver' is 1; expected parameters with values"),
        ("- a\n- b", "line 1: expected sections with keys, found a list"),
        ("a: [", "is not YAML"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError) as error:
        load(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


@pytest.mark.parametrize("key", [key for key in KEYS if key.sets], ids=lambda key: key.path)
def test_all_parameters_that_a_key_sets_are_the_same_but_for_their_descriptions(key: Key) -> None:
    for parameter in key.sets:
        assert replace(parameter_of(parameter), description="") == replace(key.about, description="")


def test_no_parameter_is_set_by_two_keys_and_every_one_exists() -> None:
    parameters = [parameter for key in KEYS for parameter in (*key.sets, *key.makes)]
    assert len(set(parameters)) == len(parameters)
    assert all(parameter_of(parameter) for parameter in parameters)


@pytest.mark.parametrize(("parameter", "key"), [(p, k) for k in KEYS for p in (*k.sets, *k.makes)])
def test_what_a_key_sets_is_set_nowhere_else(tmp_path: Path, parameter: str, key: Key) -> None:
    node, _, name = parameter.partition(".")
    with pytest.raises(ConfigurationError, match=rf"line 1: '.*' is what '{key.path}' sets; write that key"):
        load(written(tmp_path, f"nodes: {{{node}: {{{name}: 1}}}}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arm_driver: {wieght_limit: 0.2}", "unknown key 'nodes.arm_driver.wieght_limit'; did you mean 'nodes.arm_"),
        ("arm_driver: {weight_limit: 2}", "'nodes.arm_driver.weight_limit' is 2.0; the greatest allowed is 1.0"),
        ("arm_driver: {weight_limit: much}", "'nodes.arm_driver.weight_limit' is 'much' (str); expected a number"),
        ("arm_driver: {home_pose_rad: [0, a]}", "'nodes.arm_driver.home_pose_rad' is 'a' (str); expected a number"),
        ("session_manager: {config_sha256: a}", "is set by the session; leave it out"),
    ],
)
def test_a_nodes_own_parameters_are_checked_before_anything_starts(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        load(written(tmp_path, f"nodes:\n  {text}\n"))
    assert ": line 2: " in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("robot: {speed_scale: 0.25}\nrobot:\n  name: a", "'robot' is given twice, in lines 1 and 2; keep one"),
        ("robot:\n  speed_scale: 0.25\n  speed_scale: 1.0", "'robot.speed_scale' is given twice, in lines 2 and 3"),
        (
            "nodes:\n  arm_driver: {weight_limit: 0.2}\n  arm_driver: {}",
            "'nodes.arm_driver' is given twice, in lines 2",
        ),
        ("policy_server: {port: 010}", "'policy_server.port': line 1: YAML reads 010 as 8 (octal); write 10"),
        ("policy_server: {port: 1:30}", "YAML reads 1:30 as 90 (base 60)"),
        ("session: {max_execution_s: 1e2}", "YAML reads 1e2 as the text '1e2'; write 100.0"),
        (
            "robot: {left_hand_ip: 'http://10.0.0.1'}",
            "line 1: 'robot.left_hand_ip' is 'http://10.0.0.1'; write the host",
        ),
        ("robot: {head_camera_server_ip: 10.0.0.1:5555}", "write the host alone, 10.0.0.1, and the port under its own"),
        ("robot: {right_hand_ip: ' 10.0.0.1'}", "write it without blanks"),
        ("policy_server: {host: '[::1]'}", "write an IPv6 address without brackets: ::1"),
        ("policy_server: {host: 'http://h:8000'}", "'policy_server.host' is 'http://h:8000'; write the host alone: h"),
        ("save_dir: $HOME/data", "'save_dir' is '$HOME/data'; $HOME is not expanded"),
        ("rsync: {ssh_key: ~no-such-user/k}", "this computer has no user 'no-such-user'"),
        ("policy_server: {api_key_file: '${X}'}", "${X} is not expanded"),
        ("nodes: {arm_driver: {joint_settings: $X/a.yaml}}", "$X is not expanded"),
        ("robot: {head_camera_layout: wide}", "expected one of auto, mono, stereo, mono_left_wrist"),
    ],
)
def test_what_would_be_accepted_and_not_obeyed_is_refused_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        load(written(tmp_path, text))
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["021622072047", "0x10", "1e5", "1_000", "yes", "012", "1:30", "2026-11-27", "0123.0"])
@pytest.mark.parametrize("quote", ["", "'"])
def test_a_text_key_takes_the_scalar_as_it_is_written(tmp_path: Path, text: str, quote: str) -> None:
    configuration = load(written(tmp_path, f"robot:\n  left_wrist_serial: {quote}{text}{quote}\n"))
    assert configuration["robot.left_wrist_serial"] == text


@pytest.mark.parametrize("host", ["fd00::163", "camera.lab", "10.0.0.1"])
def test_every_peer_may_have_an_address_of_either_kind_or_a_name(tmp_path: Path, host: str) -> None:
    for key in ("policy_server.host", "robot.left_hand_ip", "robot.right_hand_ip", "robot.head_camera_server_ip"):
        section, name = key.split(".")
        assert load(written(tmp_path, f"{section}: {{{name}: '{host}'}}"))[key] == host


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no\.yaml: cannot be read"):
        load(tmp_path / "no.yaml")


def test_binary_rubbish_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigurationError, match=r"config\.yaml: is not YAML"):
        load(path)


@pytest.mark.parametrize("spelling", sorted(set(BY_SPELLING) - {key.path for key in KEYS}))
def test_an_older_spelling_sets_the_same_key(tmp_path: Path, spelling: str) -> None:
    key = BY_SPELLING[spelling]
    *sections, name = spelling.split(".")
    value = "-av" if key.path == "rsync.options" else {bool: "false", str: "elsewhere"}[key.about.type]
    text = "".join(f"{'  ' * depth}{section}:\n" for depth, section in enumerate(sections))
    configuration = load(written(tmp_path, f"{text}{'  ' * len(sections)}{name}: {value}\n"))
    assert configuration[key.path] == {"false": False}.get(value, value)
    assert configuration.given == {key.path}


def test_a_later_file_wins_key_by_key(tmp_path: Path) -> None:
    over = written(
        tmp_path,
        "session: {motion_countdown_s: 1.5}\nnodes: {head_camera: {eye: right}, arm_guard: {imu_frame: pelvis}}",
    )
    configuration = load(CONFIG_DIR / "sim.yaml", over)
    assert configuration["session.motion_countdown_s"] == 1.5
    assert configuration["session.ask_before_taking"] is False
    assert configuration.node_parameters["head_camera"] == {"eye": "right"}
    assert configuration.node_parameters["arm_guard"] == {"silence_s": 0.4, "imu_frame": "pelvis"}


def test_the_fingerprint_distinguishes_configurations() -> None:
    other = load().replaced({"task.name": "other"}, source="test")
    assert load().sha256() == load().sha256() != other.sha256()


@given(st.text(max_size=200))
def test_any_text_is_either_a_configuration_or_a_named_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("any") / "config.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        load(path)
    except ConfigurationError as error:
        assert str(path) in str(error)
