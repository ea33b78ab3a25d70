# SPDX-License-Identifier: Apache-2.0
"""A page served on a free port by the real server, with a session that notes what it is asked."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import requests
import websocket

from h1_session_manager.web.access import COOKIE, Access
from h1_session_manager.web.application import Parts, application
from h1_session_manager.web.controls import Controls
from h1_session_manager.web.episodes import Episodes
from h1_session_manager.web.frames import Frames
from h1_session_manager.web.live import Live
from h1_session_manager.web.server import Server, listening
from h1_training_node.page_tokens import Tokens

TOKENS = Tokens("d" * 32, "e" * 32)
CAMERAS = ("ego_cam", "cam_left_wrist", "cam_right_wrist")
WAIT_S = 10.0


class Asked:
    """Stands in for the session: notes what it is asked; an answer may be held back."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.stops: list[str] = []
        self.hold: asyncio.Event | None = None

    async def ask(self, request: str, who: str) -> tuple[bool, str]:
        self.requests.append(request)
        if self.hold is not None:
            await self.hold.wait()
        return True, f"{request} by {who}"

    def stop(self, who: str) -> None:
        self.stops.append(who)


class Served:
    """What a test sees of the page, from outside by real sockets and from inside."""

    def __init__(self, save_dir: Path, cameras: tuple[str, ...] = CAMERAS) -> None:
        self.asked = Asked()
        self.now_ns = 0
        self.live = Live(lambda: self.now_ns, cameras)
        self.controls = Controls(1_000_000_000)
        self.frames = Frames(cameras)
        self._listener = listening("127.0.0.1", 0)
        self.port = self._listener.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        episodes = Episodes(save_dir, "")
        parts = Parts(
            Access(TOKENS, frozenset()), self.controls, self.live, self.frames, episodes, self.asked, is_tls=False
        )
        self._server = Server(application(parts))
        self._episodes = episodes
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        async def serve() -> None:
            await self._server.serve([self._listener])
            await self._episodes.close()

        self.loop.run_until_complete(serve())

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        self.loop.close()

    def put(self, camera: int, jpeg: bytes) -> None:
        self.loop.call_soon_threadsafe(self.frames.put, camera, 1, memoryview(jpeg))

    def signed_in(self, token: str = TOKENS.drive) -> requests.Session:
        session = requests.Session()
        session.get(f"{self.base}/", params={"token": token}, timeout=WAIT_S)
        return session

    def socket(self, path: str, browser: requests.Session | None, **options: Any) -> websocket.WebSocket:
        cookie = {} if browser is None else {"cookie": f"{COOKIE}={browser.cookies.get(COOKIE)}"}
        options = {"origin": self.base, **cookie, **options}
        return websocket.create_connection(f"ws://127.0.0.1:{self.port}{path}", timeout=WAIT_S, **options)

    def show(self, state: str, *keys: tuple[str, str, bool], countdown: float = 0.0, prompt: str = "") -> None:
        """The session is in `state`; of each key its letter, service, and whether it moves the arms."""
        columns = {
            "keys": [key for key, _, _ in keys],
            "key_services": [service for _, service, _ in keys],
            "key_labels": [service for _, service, _ in keys],
            "key_moves": [moves for _, _, moves in keys],
            "key_twice": [service == "discard" for _, service, _ in keys],
        }
        values = {"state": state, "countdown": countdown, "prompt": prompt, "reason": "", **columns}
        self.loop.call_soon_threadsafe(self.live.hear, "session", values)


@contextlib.contextmanager
def served(save_dir: Path, cameras: tuple[str, ...] = CAMERAS) -> Iterator[Served]:
    """A page for the time of a test."""
    page = Served(save_dir, cameras)
    try:
        yield page
    finally:
        page.close()


def next_of(socket: websocket.WebSocket, kind: str) -> dict[str, Any]:
    """The next message of a type."""
    while (message := json.loads(socket.recv()))["type"] != kind:
        pass
    return message


def write_episode(path: Path, rows: int = 120) -> None:
    """An episode in the documented layout: half policy, half human, each image in two rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        ticks = 10**18 + np.arange(rows, dtype=np.int64) * 20_000_000
        file["phase"] = np.array([b"policy"] * (rows // 2) + [b"human"] * (rows - rows // 2), dtype="S10")
        file["segment"] = np.array([0] * (rows // 2) + [1] * (rows - rows // 2), dtype=np.int32)
        file["stamps/tick"] = ticks
        for name in ("observations/qpos", "applied_action"):
            file[name] = np.tile(np.linspace(0, 1, rows, dtype=np.float32)[:, None], (1, 14))
        for camera in CAMERAS:
            images = file.create_dataset(f"observations/images/{camera}", (rows,), dtype=h5py.vlen_dtype(np.uint8))
            for row in range(rows):
                images[row] = np.frombuffer(f"{camera} {row // 2}".encode(), dtype=np.uint8)
            file[f"stamps/{camera}"] = ticks // 40_000_000
        for name in ("events", "gaps"):
            file.create_dataset(name, data=[json.dumps({"reason": name})], dtype=h5py.string_dtype())
        file.attrs.update(
            episode_length=rows, policy_frames=rows // 2, human_frames=rows - rows // 2, outcome="success", fps=50,
            interventions=1, task="pick", advantage=False, format_version=2, gap_count=1, event_count=1,
            duplicate_rows=0, epoch=1, episode=0, end_reason="operator", timestamp="2026-11-27T11:42:10+00:00",
            measured_fps=float("nan"),
            joint_names=[f"joint_{i}" for i in range(14)],
        )  # fmt: skip
