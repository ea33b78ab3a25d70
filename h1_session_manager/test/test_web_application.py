# SPDX-License-Identifier: Apache-2.0
"""The page over real sockets: who is let in, what may be asked, and that STOP always goes out."""

import asyncio
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest
import requests
import websocket
from web_page import CAMERAS, TOKENS, WAIT_S, Served, next_of, served, write_episode

from h1_session_manager.web import episode_reader
from h1_session_manager.web.application import MOST_MESSAGE_BYTES, STATIC
from h1_training_testing import wait_until

EPISODE = "training_session_epoch3/episode_0.hdf5"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as page:
        yield page


def get(page: Served, path: str, **options: object) -> requests.Response:
    return requests.get(page.base + path, timeout=WAIT_S, allow_redirects=False, **options)  # type: ignore[arg-type]


# --- who is let in ---


def test_the_link_gives_a_cookie_that_scripts_cannot_read_and_leaves_the_address_bar(page: Served) -> None:
    answer = get(page, f"/?token={TOKENS.drive}")
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and TOKENS.drive not in cookie


def test_without_a_token_there_is_nothing_but_the_question_for_it(page: Served) -> None:
    answer = get(page, "/")
    assert answer.status_code == 401 and "Token" in answer.text
    for path in ("/api/episodes", "/api/detail?episode=x", "/static/page.js", "/nothing"):
        assert get(page, path).status_code == 401, path


def test_a_wrong_token_is_refused_and_five_hold_up_the_address(page: Served) -> None:
    for _ in range(5):
        assert get(page, "/?token=wrong").status_code == 401
    answer = get(page, f"/?token={TOKENS.drive}")
    assert answer.status_code == 429 and 0 < int(answer.headers["retry-after"]) <= 60


def test_a_token_can_be_entered_by_hand(page: Served) -> None:
    headers = {"origin": page.base}
    answer = requests.post(
        f"{page.base}/sign-in", data={"token": TOKENS.look}, headers=headers, timeout=WAIT_S, allow_redirects=False
    )
    assert answer.status_code == 303


def test_a_name_that_was_rebound_to_this_machine_is_not_answered(page: Served) -> None:
    browser = page.signed_in()
    answer = browser.get(f"{page.base}/api/episodes", headers={"host": "evil.example"}, timeout=WAIT_S)
    assert answer.status_code == 421 and "allowed_hosts" in answer.text


@pytest.mark.parametrize("origin", ["http://evil.example", "null", ""])
def test_another_sites_socket_and_post_are_refused_although_the_browser_sends_the_cookie(
    page: Served, origin: str
) -> None:
    browser = page.signed_in()
    with pytest.raises(websocket.WebSocketBadStatusException):
        page.socket("/live", browser, origin=origin, suppress_origin=not origin)
    answer = browser.post(f"{page.base}/api/change", data="{}", headers={"origin": origin}, timeout=WAIT_S)
    assert answer.status_code == 403


def test_a_socket_without_a_cookie_is_refused(page: Served) -> None:
    for path in ("/live", "/images"):
        with pytest.raises(websocket.WebSocketBadStatusException):
            page.socket(path, None)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])  # another port of this computer is same-site
def test_wrong_tokens_of_another_sites_images_are_not_counted(page: Served, site: str) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
    for _ in range(9):
        assert get(page, "/?token=wrong", headers=headers).status_code == 403
    assert get(page, f"/?token={TOKENS.drive}").status_code == 303


def test_every_answer_forbids_what_the_page_does_not_need(page: Served) -> None:
    for path in ("/", "/api/episodes", f"/?token={TOKENS.drive}"):
        headers = get(page, path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY" and headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


def test_no_page_has_a_script_or_a_style_in_its_text() -> None:
    for path in STATIC.glob("*.html"):
        text = path.read_text()
        assert "<script>" not in text and "style=" not in text and not re.search(r"\son\w+=", text), path.name
        assert "//" not in text.replace("http://www.w3.org", ""), f"{path.name} reaches outside"


# --- what may be asked ---


def test_a_page_that_drives_asks_as_every_key_does(page: Served) -> None:
    socket = page.socket("/live", page.signed_in())
    socket.send(json.dumps({"type": "take"}))
    socket.send(json.dumps({"type": "ask", "request": "start"}))
    answer = next_of(socket, "answer")
    assert answer["success"] and answer["message"].startswith("start by page 1")
    assert page.asked.requests == ["start"]


def test_a_page_that_does_not_drive_asks_nothing_and_learns_who_drives(page: Served) -> None:
    browser = page.signed_in()
    driving, other = page.socket("/live", browser), page.socket("/live", browser)
    other.send(json.dumps({"type": "ask", "request": "start"}))
    assert next_of(other, "answer")["message"] == "Take the controls first"
    driving.send(json.dumps({"type": "take"}))
    wait_until(lambda: page.controls.driver is not None, "somebody drives")
    other.send(json.dumps({"type": "ask", "request": "start"}))
    assert "drives" in next_of(other, "answer")["message"]
    assert page.asked.requests == []


def test_a_spectator_cannot_drive_but_can_stop(page: Served) -> None:
    socket = page.socket("/live", page.signed_in(TOKENS.look))
    for message in ({"type": "take"}, {"type": "ask", "request": "start"}, {"type": "stop"}):
        socket.send(json.dumps(message))
    assert not next_of(socket, "answer")["success"]
    wait_until(lambda: page.asked.stops, "the stop went out")
    assert page.asked.requests == []
    assert next_of(socket, "live")["controls"]["may_drive"] is False


def test_a_stop_does_not_wait_for_an_answer_that_never_comes(page: Served) -> None:
    page.asked.hold = asyncio.Event()
    socket = page.socket("/live", page.signed_in())
    for message in ({"type": "take"}, {"type": "ask", "request": "start"}, {"type": "stop"}):
        socket.send(json.dumps(message))
    wait_until(lambda: page.asked.stops, "the stop went out")
    page.loop.call_soon_threadsafe(page.asked.hold.set)


def test_a_page_shows_what_the_state_allows_and_nothing_else(page: Served) -> None:
    socket = page.socket("/live", page.signed_in())
    page.show("READY", ("y", "start", True), ("n", "skip", False), ("q", "emergency_stop", False))
    wait_until(lambda: next_of(socket, "live")["buttons"], "buttons are shown")
    buttons = next_of(socket, "live")["buttons"]
    assert [(button["key"], button["request"], button["moves"]) for button in buttons] == [
        ("y", "start", True),
        ("n", "skip", False),
    ]


def test_an_announced_motion_can_be_cancelled_and_nothing_else_is_asked(page: Served) -> None:
    socket = page.socket("/live", page.signed_in())
    page.show("READY", ("any", "cancel", False), ("q", "emergency_stop", False), countdown=2.0)
    wait_until(lambda: next_of(socket, "live")["buttons"], "buttons are shown")
    assert [button["request"] for button in next_of(socket, "live")["buttons"]] == ["cancel"]


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"type": 3}', '{"type": "reboot"}', "[" * 900])
def test_what_no_page_sends_closes_the_socket(page: Served, text: str) -> None:
    socket = page.socket("/live", page.signed_in())
    socket.send(text)
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        while True:
            if not socket.recv():
                raise websocket.WebSocketConnectionClosedException


def test_a_message_that_is_too_long_closes_the_socket(page: Served) -> None:
    socket = page.socket("/live", page.signed_in())
    with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
        socket.send(json.dumps({"type": "take", "with": "x" * MOST_MESSAGE_BYTES}))
        while True:
            if not socket.recv():
                raise websocket.WebSocketConnectionClosedException


def test_a_flood_of_messages_closes_the_socket_and_no_other(page: Served) -> None:
    browser = page.signed_in()
    flooding, other = page.socket("/live", browser), page.socket("/live", browser)
    with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
        for _ in range(500):
            flooding.send(json.dumps({"type": "alive"}))
        while True:
            if not flooding.recv():
                raise websocket.WebSocketConnectionClosedException
    assert next_of(other, "live")


# --- images ---


def images_in(message: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(message):
        place, length, _ = struct.unpack_from("<BxxxId", message, at)
        found[place] = message[at + 16 : at + 16 + length]
        at += 16 + length
    return found


def test_images_pass_untouched(page: Served) -> None:
    jpeg = b"\xff\xd8" + bytes(range(256)) * 200 + b"\xff\xd9"
    socket = page.socket("/images", page.signed_in())
    page.put(1, jpeg)
    assert images_in(socket.recv()) == {1: jpeg}


def test_a_page_that_stalls_drops_images_and_delays_no_other(page: Served) -> None:
    browser = page.signed_in()
    stalled, other = page.socket("/images", browser), page.socket("/images", browser)
    for number in range(50):
        page.put(0, b"%d" % number)
        assert images_in(other.recv()) == {0: b"%d" % number}
        other.send("shown")
    received = [images_in(stalled.recv())[0] for _ in range(2)]
    assert received[0] == b"0"
    stalled.send("shown")
    assert images_in(stalled.recv()) == {0: b"49"}, "what it missed is not sent later"


# --- episodes ---


def test_an_episode_is_listed_and_played_from_its_file(page: Served, tmp_path: Path) -> None:
    write_episode(tmp_path / EPISODE)
    browser = page.signed_in()
    (entry,) = browser.get(f"{page.base}/api/episodes", timeout=WAIT_S).json()
    assert (entry["id"], entry["epoch"], entry["outcome"], entry["human_frames"]) == (EPISODE, 3, "success", 60)
    detail = browser.get(f"{page.base}/api/detail", params={"episode": EPISODE}, timeout=WAIT_S).json()
    assert detail["runs"] == [[0, 60, "policy"], [60, 120, "human"]] and detail["cameras"] == list(CAMERAS)
    assert len(detail["qpos"]) == 14 and detail["attributes"]["measured_fps"] is None
    query = {"episode": EPISODE, "camera": "ego_cam", "first": 10, "count": 4}
    content = browser.get(f"{page.base}/api/images", params=query, timeout=WAIT_S).content
    assert struct.unpack_from("<II", content) == (10, len(b"ego_cam 5")) and content.count(b"ego_cam") == 2


def test_a_damaged_episode_is_named_and_the_others_are_listed(page: Served, tmp_path: Path) -> None:
    write_episode(tmp_path / EPISODE)
    damaged = tmp_path / "training_session_epoch3/episode_1.hdf5"
    damaged.write_bytes(b"no HDF5")
    listed = page.signed_in().get(f"{page.base}/api/episodes", timeout=WAIT_S).json()
    assert {entry["name"]: "failed" in entry for entry in listed} == {"episode_0.hdf5": False, "episode_1.hdf5": True}


def test_a_file_that_hdf5_loops_over_is_named_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "training_session_epoch3"
    folder.mkdir()
    for number in range(3):
        with h5py.File(folder / f"episode_{number}.hdf5", "w") as file:
            file.attrs["outcome"] = "success"
    really, looked_at = episode_reader._opened, tmp_path / "looked_at"

    def looping(path: Path) -> Any:
        with looked_at.open("a") as notes:
            notes.write(path.name + "\n")
        while path.name == "episode_1.hdf5":
            pass
        return really(path)

    monkeypatch.setattr(episode_reader, "_opened", looping)
    monkeypatch.setattr(episode_reader, "_MOST_CPU_S", 0.1)
    for _ in range(2):
        listed = {entry["name"]: entry for entry in episode_reader.listing(str(tmp_path), "")}
        assert "reading it does not end" in listed["episode_1.hdf5"]["failed"]
        assert all(listed[f"episode_{number}.hdf5"]["outcome"] == "success" for number in (0, 2))
    assert looked_at.read_text().count("episode_1") == 1, "it was read again, and would be at every refresh"


@pytest.mark.parametrize("episode", ["", "../secret", "/etc/passwd", "training_session_epoch1/../../x.hdf5", "a\0b"])
def test_nothing_outside_of_the_folder_can_be_named(page: Served, episode: str) -> None:
    answer = page.signed_in().get(f"{page.base}/api/detail", params={"episode": episode}, timeout=WAIT_S)
    assert answer.status_code == 404 and "is no episode" in answer.text


def test_a_spectator_changes_no_episode(page: Served, tmp_path: Path) -> None:
    write_episode(tmp_path / EPISODE)
    browser = page.signed_in(TOKENS.look)
    wanted = json.dumps({"episode": EPISODE, "what": "failure"})
    answer = browser.post(f"{page.base}/api/change", data=wanted, headers={"origin": page.base}, timeout=WAIT_S)
    assert answer.status_code == 403


def test_what_cannot_be_done_with_an_episode_is_refused_by_name(page: Served) -> None:
    wanted = json.dumps({"episode": EPISODE, "what": "delete"})
    answer = page.signed_in().post(
        f"{page.base}/api/change", data=wanted, headers={"origin": page.base}, timeout=WAIT_S
    )
    assert answer.json() == {"success": False, "message": "'delete' is nothing that can be done with an episode"}
