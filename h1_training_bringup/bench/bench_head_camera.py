# SPDX-License-Identifier: Apache-2.0
"""What the head camera's node costs: share of a core at 30 frames a second, for each way of making images.

    python h1_training_bringup/bench/bench_head_camera.py

The node is a process of its own, an image server sends it images of a real camera's size over ZeroMQ, and a
subscriber takes every image as the recorder does. `taken` counts what arrived there, so that nothing is cheap for
having been dropped.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import psutil
import rclpy
from ament_index_python.packages import get_package_prefix
from arm_figures import save, show
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage

from h1_training_bringup.session.session_setup import simulated_endpoints
from h1_training_bringup.sim.cameras_server import ClassicServer
from h1_training_node import qos
from h1_training_node.cameras import CAMERA_TOPICS
from h1_training_node.domain import DomainClaim

NODE = Path(get_package_prefix("h1_training_bringup")) / "lib/h1_training_bringup/head_camera"
FPS, SECONDS, START_TIMEOUT_S = 30.0, 12.0, 20.0
IMAGES = 12
WAYS = {
    # name: (width of the whole frame, parameters). 1880 - 2 x 640 = 600 is not on a grid of 16 px.
    "passthrough": (640, {}),
    "lossless_cut": (2560, {"layout": "stereo_wrists"}),
    "reencode": (1880, {"layout": "mono_wrists"}),
}


def main() -> None:
    """Print and save the node's share of a core for each of `WAYS`."""
    claim = DomainClaim()
    os.environ |= {"ROS_DOMAIN_ID": str(claim.domain_id), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    print(f"load average at the start: {os.getloadavg()[0]:.1f}")
    figures: dict[str, float] = {}
    rows = []
    for way, (width, parameters) in WAYS.items():
        frames = [image_of(width, seed) for seed in range(IMAGES)]
        percent, taken = measured(frames, parameters)
        size = f"{width}x480, {sum(map(len, frames)) / len(frames) / 1000:.0f} kB"
        figures |= {f"head_camera_cpu_percent_{way}": percent}
        rows.append((f"head_camera_cpu_percent_{way}", percent, "%", f"{size}; {taken:.1f} images/s taken"))
    show(rows)
    save(figures)


def image_of(width: int, seed: int) -> bytes:
    """A JPEG with a sensor's noise, so that it is as large as a real one: about 60 kB for 640x480."""
    rows, columns = np.mgrid[0:480, 0:width]
    smooth = np.stack([columns * 255 / width, rows * 255 / 480, (columns + rows) % 256], axis=-1)
    noise = np.random.default_rng(seed).normal(0, 6, smooth.shape)
    return cv2.imencode(".jpg", np.clip(smooth + noise, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])[
        1
    ].tobytes()


def measured(frames: list[bytes], parameters: dict[str, str]) -> tuple[float, float]:
    """The node's share of a core, %, and images a second that a subscriber took."""
    port = simulated_endpoints()["robot.head_camera_server_port"]
    arguments = {"host": "127.0.0.1", "port": port, "format": "image_server", **parameters}
    command = [
        str(NODE),
        "--ros-args",
        *(part for item in arguments.items() for part in ("-p", "{}:={}".format(*item))),
    ]
    with serving(frames, port), subscribed() as taken, node(command) as process:
        began = time.monotonic()
        while not taken["images"]:
            if process.poll() is not None or time.monotonic() - began > START_TIMEOUT_S:
                raise SystemExit("head_camera publishes nothing; run its command by hand: " + " ".join(command))
            time.sleep(0.05)
        before, images, began = process.cpu_times(), taken["images"], time.monotonic()
        time.sleep(SECONDS)
        after, elapsed = process.cpu_times(), time.monotonic() - began
        used = after.user + after.system - before.user - before.system
        return 100 * used / elapsed, (taken["images"] - images) / elapsed


@contextlib.contextmanager
def node(command: list[str]) -> Iterator[psutil.Popen]:
    process = psutil.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def serving(frames: list[bytes], port: int) -> Iterator[None]:
    """An image server with absolute deadlines."""
    stop = threading.Event()

    def run() -> None:
        server = ClassicServer(port, with_header=False)
        due = time.monotonic()
        for jpeg in itertools.cycle(frames):
            if stop.wait(max(0.0, due - time.monotonic())):
                break
            server.send(jpeg, time.time())
            due += 1 / FPS
        server.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def subscribed() -> Iterator[dict[str, int]]:
    """Counts images of all cameras, undecoded."""
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    viewer, executor, taken, stop = rclpy.create_node("viewer"), EventsExecutor(), {"images": 0}, threading.Event()

    def count(_sample: bytes) -> None:
        taken["images"] += 1

    for topic in CAMERA_TOPICS.values():
        viewer.create_subscription(CompressedImage, topic, count, qos.IMAGE, raw=True)
    executor.add_node(viewer)

    def spin() -> None:
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield taken
    finally:
        stop.set()
        thread.join()
        executor.remove_node(viewer)
        viewer.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
