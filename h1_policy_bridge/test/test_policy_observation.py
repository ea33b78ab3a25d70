# SPDX-License-Identifier: Apache-2.0
"""What goes to the policy: images, names, order of axes, parameters."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import simplejpeg
from openpi_client import image_tools
from policy_builders import gradient_image, jpeg

from h1_policy_bridge.connection import ServerAddress
from h1_policy_bridge.images import ImageError, dummy, padded, stretched
from h1_policy_bridge.layout import PRESETS, LayoutError, parse_layout
from h1_policy_bridge.observation import LatestInputs, ObservationRules, Stamped, observe
from h1_policy_bridge.parameters import BridgeParameters
from h1_policy_bridge.values import ObservationError
from h1_training_node.parameter import ParameterError, from_values
from h1_training_node.server_access import API_KEY_VARIABLE

NOW_NS = 10_000_000_000


def latest(**changes: Stamped) -> LatestInputs:
    """Everything there and fresh."""
    full = LatestInputs(arms=Stamped(NOW_NS, np.linspace(0, 1, 14)))
    full.images = {camera: Stamped(NOW_NS, jpeg()) for camera in PRESETS["h1"].cameras}
    full.hands = {side: Stamped(NOW_NS, np.full(6, 0.5)) for side in ("left", "right")}
    full.images.update(changes)
    return full


def message(rules: ObservationRules, full: LatestInputs | None = None, task: str = "stack") -> dict:
    return observe(full or latest(), rules, now_ns=NOW_NS, task=task).message()


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (1280, 720), (224, 224), (100, 80)])
def test_a_stretched_image_is_the_one_that_decoding_whole_and_resizing_gives(width, height):
    expected = cv2.resize(gradient_image(width, height), (224, 224), interpolation=cv2.INTER_LINEAR)
    result = stretched(jpeg(width, height), 224)
    assert result.shape == (224, 224, 3)
    assert result.dtype == np.uint8
    assert np.abs(result.astype(int) - expected.astype(int)).max() <= 6


@pytest.mark.parametrize("sampling", ["444", "422", "420"])
def test_an_image_of_things_looks_as_it_does_when_decoded_whole(sampling):
    """Discs of all colours on a shaded ground. To be off by one pixel would be 3.5 of 255 in the mean."""
    scene = gradient_image()
    chance = np.random.default_rng(3)
    for _ in range(40):
        centre, radius = (int(chance.integers(640)), int(chance.integers(480))), int(chance.integers(8, 60))
        cv2.circle(scene, centre, radius, [int(value) for value in chance.integers(0, 255, 3)], -1)
    encoded = simplejpeg.encode_jpeg(scene, quality=85, colorspace="RGB", colorsubsampling=sampling)
    whole = cv2.cvtColor(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    ours = stretched(encoded, 224).astype(int)
    averaged = cv2.resize(whole, (224, 224), interpolation=cv2.INTER_AREA).astype(int)
    sampled = cv2.resize(whole, (224, 224), interpolation=cv2.INTER_LINEAR).astype(int)
    assert np.abs(ours - averaged).mean() < 1.5
    assert np.abs(ours - sampled).mean() < 2.0
    assert abs((ours - averaged).mean()) < 0.2


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (1280, 720), (224, 224), (100, 80)])
def test_a_padded_image_is_the_one_that_openpis_tools_make(width, height):
    expected = image_tools.resize_with_pad(gradient_image(width, height), 224, 224)
    result = padded(jpeg(width, height), 224)
    difference = np.abs(result.astype(int) - expected.astype(int))
    assert np.median(difference) <= 1
    assert np.percentile(difference, 98) <= 6


@pytest.mark.parametrize("prepare", [stretched, padded])
@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "no JPEG"), (b"\x89PNG\r\n", "set the camera's compressed format to jpeg"), (b"\xff\xd8\xff", "not decode")],
)
def test_what_is_no_image_is_refused_with_what_to_do(prepare, data, words):
    with pytest.raises(ImageError, match=words):
        prepare(data, 224)


def test_a_cut_image_is_refused():
    with pytest.raises(ImageError, match="does not decode"):
        stretched(jpeg()[:2000], 224)


def test_red_stays_red():
    red = np.zeros((480, 640, 3), np.uint8)
    red[..., 0] = 250
    encoded = cv2.imencode(".jpg", red[..., ::-1])[1].tobytes()
    result = stretched(encoded, 224)
    assert result[..., 0].min() > 240
    assert result[..., 1:].max() < 10


def test_the_default_is_what_this_robots_fork_of_openpi_takes():
    sent = message(ObservationRules(PRESETS["h1"]))
    assert set(sent) == {"state", "images", "prompt"}
    assert sent["state"].dtype == np.float32
    np.testing.assert_allclose(sent["state"], np.linspace(0, 1, 14), rtol=1e-6)
    assert set(sent["images"]) == {"cam_head", "cam_left_wrist", "cam_right_wrist"}
    assert {image.shape for image in sent["images"].values()} == {(224, 224, 3)}
    assert sent["prompt"] == "stack, Advantage=True"


def test_alohas_names_and_axes_are_a_preset():
    sent = message(ObservationRules(PRESETS["aloha"], prompt="{task}"))
    assert set(sent["images"]) == {"cam_high", "cam_left_wrist", "cam_right_wrist"}
    assert {image.shape for image in sent["images"].values()} == {(3, 224, 224)}
    np.testing.assert_array_equal(sent["images"]["cam_high"].transpose(1, 2, 0), stretched(jpeg(), 224))
    assert sent["prompt"] == "stack"


def test_any_other_names_are_a_mapping_in_yaml():
    layout = parse_layout(
        """
        state: {observation/joint_position: [0, 7], observation/gripper_position: [7, 8]}
        images: {ego_cam: observation/exterior_image_1_left, cam_left_wrist: [observation, wrist]}
        prompt: ""
        channels: first
        """
    )
    sent = message(ObservationRules(layout))
    assert sent["observation/joint_position"].shape == (7,)
    np.testing.assert_allclose(sent["observation/gripper_position"], [7 / 13])
    assert sent["observation/exterior_image_1_left"].shape == (3, 224, 224)
    assert sent["observation"]["wrist"].shape == (3, 224, 224)
    assert "prompt" not in sent


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2", "not YAML"),
        ("just text", "must have the keys"),
        ("images: {ego_cam: a}\nstat: b", "unknown key 'stat'"),
        ("state: s", "needs images"),
        ("images: {ego_cam: 3}", "images.ego_cam: 3"),
        ("images: {ego_cam: a}\nchannels: middle", "first or last"),
        ("images: {ego_cam: a}\nstate: {s: [3, 1]}", "first < end"),
        ("images: {ego_cam: a}\nstate: {s: 3}", "expected \\[first, end\\]"),
        ("images: {ego_cam: a, cam_left_wrist: a}", "two things at a"),
        ("images: {ego_cam: [state, a]}", "two things at state.a"),
    ],
)
def test_a_mapping_that_cannot_be_used_says_why(text, words):
    with pytest.raises(LayoutError, match=words):
        parse_layout(text)


def test_with_hands_the_state_has_26_values_in_the_unit_of_the_wire():
    unit = message(ObservationRules(PRESETS["h1"], with_hands=True))
    register = message(ObservationRules(PRESETS["h1"], with_hands=True, hand_unit="register"))
    assert unit["state"].shape == (26,)
    assert set(unit["state"][14:]) == {0.5}
    assert set(register["state"][14:]) == {500.0}


def test_grey_stands_in_for_a_camera_only_if_that_is_allowed():
    stale = latest(ego_cam=Stamped(NOW_NS - 10**9, jpeg()))
    with pytest.raises(ObservationError, match=r"ego_cam is 1\.00 s old"):
        message(ObservationRules(PRESETS["h1"]), stale)
    sent = message(ObservationRules(PRESETS["h1"], allow_dummy_cameras=True), stale)
    np.testing.assert_array_equal(sent["images"]["cam_head"], dummy(224))
    assert sent["images"]["cam_left_wrist"].std() > 1


def test_a_state_that_is_not_finite_is_not_shown():
    bad = latest()
    bad.arms = Stamped(NOW_NS, np.full(14, np.nan))
    with pytest.raises(ObservationError, match="not finite"):
        message(ObservationRules(PRESETS["h1"]), bad)


def test_an_image_that_does_not_decode_names_its_camera():
    observation = observe(
        latest(ego_cam=Stamped(NOW_NS, b"rubbish")), ObservationRules(PRESETS["h1"]), now_ns=NOW_NS, task=""
    )
    with pytest.raises(ObservationError, match="ego_cam sent 7 bytes that are no JPEG"):
        observation.message()


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("10.0.0.5", 8000, "ws://10.0.0.5:8000"),
        ("fe80::1", 8000, "ws://[fe80::1]:8000"),
        ("ws://a.example", 8000, "ws://a.example:8000"),
        ("wss://a.example/policy", 0, "wss://a.example/policy"),
        ("wss://a.example:9", 8000, "wss://a.example:9"),
        ("ws://user:secret@a.example", 1, "ws://a.example:1"),
    ],
)
def test_an_address_as_openpi_writes_it(host, port, url):
    assert ServerAddress(host, port).url == url


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"action_dim": 15}, "expected 14 \\(arms\\) or 26"),
        ({"host": ""}, "'host' is empty"),
        ({"host": "a b"}, "'host' is 'a b'"),
        ({"host": "robot", "port": 0}, "the port is missing"),
        ({"observation_mapping": "x: 1"}, "observation_mapping"),
        (
            {"observation_mapping": "state: {a: [0, 20]}\nimages: {ego_cam: b}"},
            "sends 20 values of the state, which has 14",
        ),
        ({"strategy": "fast"}, "expected one of auto, blend, open_loop"),
        ({"preset": "droid"}, "expected one of h1, aloha"),
    ],
)
def test_parameters_that_cannot_work_are_refused_by_name(values, words):
    with pytest.raises(ParameterError, match=words):
        from_values(BridgeParameters, values)


def test_the_api_key_comes_from_its_file_before_the_environment(tmp_path):
    path = tmp_path / "key"
    path.write_text("from-file\n")
    environ = {API_KEY_VARIABLE: "from-environment"}
    assert BridgeParameters(api_key_file=str(path)).client_config(environ).link.api_key == "from-file"
    assert BridgeParameters().client_config(environ).link.api_key == "from-environment"
    assert BridgeParameters().client_config({}).link.api_key == ""


@pytest.mark.parametrize("content", ["", "two words", "line\r\nX-Injected: 1"])
def test_a_file_that_holds_no_key_is_refused_without_showing_it(tmp_path, content):
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(ValueError, match="key") as caught:
        BridgeParameters(api_key_file=str(path)).client_config({})
    assert "Injected" not in str(caught.value)


def test_a_missing_key_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="cannot read"):
        BridgeParameters(api_key_file=str(tmp_path / "none")).client_config({})
