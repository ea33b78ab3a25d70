# SPDX-License-Identifier: Apache-2.0
"""A recorder without ROS and without child processes, under a clock that stands where a test puts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rclpy.serialization import serialize_message
from recorder_builders import DAMPING, HOLD, MS, POLICY, START_NS, STREAMS, channel, jpeg
from sensor_msgs.msg import CompressedImage

from h1_recorder.episode.episode_file import SaveError
from h1_recorder.episode.save import save_journal
from h1_recorder.recorder.parameters import RecorderParameters
from h1_recorder.recorder.recorder import Recorder
from h1_recorder.recorder.request import Response, StartRequest
from h1_training_msgs.msg import ArmStatus, SessionState
from h1_training_node.message_numbers import RecorderState
from h1_training_node.stamps import to_stamp
from h1_training_testing import wait_until


class InProcess:
    """Does at once what a child process would do; keeps what it was asked."""

    asked: list[list[str]] = []  # noqa: RUF012

    def __init__(self, arguments: Sequence[str]) -> None:
        self.progress, self.reports = 0.0, list[dict[str, Any]]()
        InProcess.asked.append(list(arguments))
        journals = [Path(argument) for argument in arguments if argument.endswith(".mcap")]
        for journal in journals:
            try:
                self.reports.append({"journal": str(journal), "saved": vars(save_journal(journal))})
            except SaveError as error:
                self.reports.append({"journal": str(journal), "failed": str(error)})

    def poll(self) -> int | None:
        return 0

    def kill(self) -> None:
        pass


class Starting:
    """Starts children of one kind."""

    def __init__(self, kind: type[InProcess]) -> None:
        self.start = kind

    def warm(self) -> None:
        pass

    def close(self) -> None:
        pass


class Crashing(InProcess):
    """A child that dies without a word."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.progress, self.reports = 0.0, []

    def poll(self) -> int | None:
        return -9


class Bench:
    """A recorder whose clock stands where the test puts it."""

    def __init__(self, folder: Path, spawn: Any = InProcess, **parameters: Any) -> None:
        InProcess.asked = []
        self.now_ns = START_NS
        self.folder = folder
        self.image, self.padding = b"", 0
        self.events: list[tuple[str, str]] = []
        self.parameters = RecorderParameters(**{"save_dir": str(folder), "min_free_start_gb": 0.0, **parameters})
        self.recorder = Recorder(
            self.parameters,
            now_ns=lambda: self.now_ns,
            event=lambda level, reason, detail: self.events.append((reason, detail)),
            starter=Starting(spawn),
        )
        for stream in STREAMS:
            self.recorder.intake.add_stream(stream, channel(stream))

    def hear(self, mode: int = HOLD, state: str = "READY", cameras: bool = True) -> None:
        stamp = to_stamp(self.now_ns)
        arm = ArmStatus(mode=mode, seq=1 + (self.now_ns - START_NS) // (20 * MS))
        arm.q = [arm.seq / 1000.0] * 14
        session = SessionState(state=state)
        arm.header.stamp = session.header.stamp = stamp
        self.receive("session/state", session)
        self.receive("arm_status", arm)
        for camera in ("ego_cam", "cam_left_wrist", "cam_right_wrist") if cameras else ():
            image = self.image or jpeg(self.now_ns // (20 * MS))
            message = CompressedImage(data=image + bytes(self.padding))
            message.header.stamp = stamp
            self.receive(camera, message)

    def receive(self, name: str, message: Any) -> None:
        self.recorder.intake.received([(self.now_ns, name, serialize_message(message))])

    def run(self, ms: int, mode: int, state: str) -> None:
        for _ in range(ms // 20):
            self.now_ns += 20 * MS
            self.hear(mode, state)

    def start(self, **changes: Any) -> Response:
        fields = {
            "directory": str(self.folder / "training_session_epoch2"),
            "epoch": 2,
            "episode": 1,
            "task": "t",
            "prompt": "p",
            "attributes_json": "",
        }
        return self.recorder.start(StartRequest(**{**fields, **changes}))

    def tick_until(self, state: RecorderState) -> None:
        def reached() -> bool:
            self.recorder.tick()
            return self.recorder.state == state

        wait_until(reached, f"state {state.name}; it is {self.recorder.state.name}")

    def record(self) -> Response:
        self.hear()
        answer = self.start()
        assert answer.accepted, answer.reason
        self.run(400, POLICY, "EXECUTING")
        self.run(400, DAMPING, "DAMPING")
        return answer


def bench_maker(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """For a fixture: makes recorders that write below the test's folder, and closes them with the test."""
    made: list[Bench] = []

    def make(**parameters: Any) -> Bench:
        made.append(Bench(tmp_path, **parameters))
        return made[-1]

    yield make
    for one in made:
        one.recorder.close()
