# SPDX-License-Identifier: Apache-2.0
"""What the page costs beside a session: five clients, three cameras at 30 Hz of 60 kB, arms and statuses.

    python h1_session_manager/bench/bench_page.py

Three processes: this one publishes, the page's own is measured, and one has the clients, which acknowledge each
message as a browser does. Also measured: the images that the clients got, and what a client on a slow network gets.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import rclpy
import requests
import websocket
from ament_index_python.packages import get_package_prefix
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage

from h1_training_msgs.msg import ArmStatus, RecorderStatus, SessionState
from h1_training_node import qos
from h1_training_node.domain import DomainClaim
from h1_training_node.page_tokens import Tokens, write_secret

CLIENTS, SECONDS, IMAGE_BYTES = 5, 20.0, 60_000
START_S, TICKS_PER_S = 60.0, 150
SLOW_BYTES_PER_S = 2_000_000 / 8
TOPICS = (
    "head_camera/image_raw/compressed",
    "left_wrist_camera/color/image_raw/compressed",
    "right_wrist_camera/color/image_raw/compressed",
)
FIGURES = Path(__file__).resolve().parents[2] / "data/bench/h1_session_manager.json"


class Load(Node):
    """A session as the page hears it."""

    def __init__(self) -> None:
        super().__init__("page_load")
        self._cameras = [self.create_publisher(CompressedImage, topic, qos.IMAGE) for topic in TOPICS]
        self._arms = self.create_publisher(ArmStatus, "arm_status", qos.STATE)
        self._recorder = self.create_publisher(RecorderStatus, "recorder/status", qos.STATE)
        self._state = self.create_publisher(SessionState, "session/state", qos.LATCHED)
        self._image = CompressedImage(format="jpeg", data=os.urandom(IMAGE_BYTES))

    def publish(self, tick: int) -> None:
        """One tick of 1/150 s: arms every third, each camera every fifth, statuses every fifteenth or thirtieth."""
        if tick % 3 == 0:
            self._arms.publish(ArmStatus())
        if tick % 5 < 3:
            self._cameras[tick % 5].publish(self._image)
        if tick % 15 == 4:
            self._state.publish(SessionState(state="EXECUTING", seq=tick))
        if tick % 30 == 9:
            self._recorder.publish(RecorderStatus())


def clients(base: str, token: str, seconds: float, found: multiprocessing.Queue[dict[str, float]]) -> None:
    """Five pages and a slow one; reports images a second of each kind."""
    browser = requests.Session()
    browser.get(base, params={"token": token}, timeout=10)
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    counts = [0] * (CLIENTS + 1)

    def follow(number: int, slow: bool) -> None:
        address = base.replace("http", "ws")
        live = websocket.create_connection(f"{address}/live", origin=base, cookie=cookie)
        socket = websocket.create_connection(f"{address}/images", origin=base, cookie=cookie, skip_utf8_validation=True)
        drain = threading.Thread(target=_drain, args=(live,), daemon=True)
        drain.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            message = socket.recv()
            counts[number] += round(len(message) / (IMAGE_BYTES + 16))
            if slow:
                time.sleep(len(message) / SLOW_BYTES_PER_S)
            socket.send("shown")
        socket.close()

    threads = [threading.Thread(target=follow, args=(number, number == CLIENTS)) for number in range(CLIENTS + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rates = [count / len(TOPICS) / seconds for count in counts]
    found.put({"page_camera_hz_min": min(rates[:CLIENTS]), "page_camera_hz_at_2_mbit": rates[CLIENTS]})


def _drain(socket: websocket.WebSocket) -> None:
    try:
        while socket.recv():
            pass
    except (OSError, websocket.WebSocketException):
        return


def main() -> None:
    """Print and save the figures."""
    claim = DomainClaim()
    os.environ |= {"ROS_DOMAIN_ID": str(claim.domain_id), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    with tempfile.TemporaryDirectory() as folder:
        tokens, file = Tokens.new(), Path(folder) / "token"
        write_secret(file, f"{tokens.drive}\n")
        port = 18_090
        command = [str(Path(get_package_prefix("h1_session_manager")) / "lib/h1_session_manager/web")]
        command += ["--ros-args", "-p", f"port:={port}", "-p", f"token_file:={file}", "-p", f"save_dir:={folder}"]
        page = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            figures = _measured(page.pid, f"http://127.0.0.1:{port}", tokens.drive)
        finally:
            page.terminate()
            page.wait()
    for name, value in figures.items():
        bar = {"page_cpu_percent": "≤ 15", "page_camera_hz_min": "≥ 29"}.get(name, "")
        print(f"{name:<34}{value:>10.3f}  {bar}")
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    FIGURES.write_text(json.dumps(known | figures, indent=2) + "\n")


def _measured(pid: int, base: str, token: str) -> dict[str, float]:
    rclpy.init()
    load, process = Load(), psutil.Process(pid)
    _wait_for(base)
    context = multiprocessing.get_context("spawn")
    found: multiprocessing.Queue[dict[str, float]] = context.Queue()
    watching = context.Process(target=clients, args=(base, token, SECONDS + 4, found))
    watching.start()
    ticks = itertools.count()
    _publish(load, ticks, 4.0)  # until all have connected
    before_s, began_s = sum(process.cpu_times()[:2]), time.monotonic()
    _publish(load, ticks, SECONDS - 2)
    share = (sum(process.cpu_times()[:2]) - before_s) / (time.monotonic() - began_s)
    figures = {"page_cpu_percent": share * 100, "page_rss_mb": process.memory_info().rss / 1e6}
    while watching.is_alive():
        _publish(load, ticks, 0.2)
    watching.join()
    load.destroy_node()
    rclpy.shutdown()
    return figures | found.get()


def _wait_for(base: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            requests.get(base, timeout=5)
            return
        except requests.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _publish(load: Load, ticks: Iterator[int], seconds: float) -> None:
    began_s = time.monotonic()
    for number in range(round(seconds * TICKS_PER_S)):
        load.publish(next(ticks))
        time.sleep(max(0.0, began_s + number / TICKS_PER_S - time.monotonic()))


if __name__ == "__main__":
    main()
