# SPDX-License-Identifier: Apache-2.0
"""Runs the commands that the pages show, and prints a table of what became of each: `make docs-check`.

A command stands in a block fenced as `bash`. The line before the fence says how it is run:

    <!-- run: here -->            in the repository; data go to a scratch folder
    <!-- run: here, in the background -->   the same; it is ended when everything else has run
    <!-- run: session -->         while a simulated session runs, in its ROS domain, each block from READY on
    <!-- run: session, last -->   the same, when all others are done, because it ends the session
    <!-- run: by hand, REASON --> not here, for instance because it takes the robot

`FILE` stands for the newest episode that was recorded here, `FOLDER` for a folder of samples.

Where there is no `ros2`, a command of ros2cli is run by what does the same without it, or is said not to have been run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    ".github/CONTRIBUTING.md",
    "h1_*/README.md",
    "h1_*/docs/*.md",
)
BLOCK = re.compile(r"^(?:<!-- run: (?P<how>[^>]+?) -->\n)?```bash\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT_S = 200.0
HERE = ("here", "here, in the background")
IN_SESSION = ("session", "session, last")
BACKGROUND_S = 4.0
"""What is started in the background is given this long before the next command."""
LINGER_S = 1.0
"""What has reached a process, but was not read yet, may be lost to it when its sender goes."""
ENDLESS = ("ros2 topic hz", "ros2 topic echo")
SESSION_READY_S = 60.0
ATTEMPTS = 3
STOOD_STILL = "the robot stood still"
"""The simulated robot's own word for a machine that did not let it run."""
REPORTS = ("session preflight", "ros2 run h1_session_manager session preflight")
"""Say by status 1 that something stands in the way, on a busy machine the cameras' rate: that is an answer."""
SLOW_CAMERAS = "simulation: {camera_fps: 10.0}\n"
TOWARDS_READY = {
    "EXECUTING": "stop",
    "LABELING": "failure",
    "DAMPING": "end",
    "DECIDING": "another",
    "SYNCING": "keep_local",
}
"""By the state in which a block has left the session, what is asked for next."""


@dataclass(frozen=True)
class Block:
    """Commands of a page.

    Attributes:
        page: relative to the repository.
        how: `here`, `session`, or `by hand, REASON`; empty if the page does not say.
        commands: one a line; a line that ends in a backslash goes on.
    """

    page: str
    how: str
    commands: tuple[str, ...]


@dataclass
class Report:
    """What became of each command."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)
    failures: int = 0

    def add(self, page: str, command: str, result: str, *, failed: bool = False) -> None:
        self.rows.append((page, command, result))
        self.failures += failed
        print(f"{'!' if failed else ' '} {result:<28} {command}", flush=True)


def pages() -> list[Path]:
    """Every page that may show commands."""
    return [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]


def blocks(path: Path) -> Iterator[Block]:
    """The command blocks of a page, in order."""
    for match in BLOCK.finditer(path.read_text()):
        lines = match["text"].replace("\\\n", " ").splitlines()
        commands = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
        yield Block(str(path.relative_to(ROOT)), (match["how"] or "").strip(), commands)


def without_ros2cli(command: str) -> str | None:
    """What does the same as a command of ros2cli, from our own packages; None if nothing does."""
    words = shlex.split(command, comments=True)
    if words[:3] == ["ros2", "service", "call"] and words[3].startswith("/session_manager/"):
        return f"session {words[3].rpartition('/')[2]}"
    if words[:2] == ["ros2", "run"]:
        return shlex.join(words[3:])
    if words[:4] == ["ros2", "topic", "pub", "--once"] and words[-2] == "std_msgs/msg/String":
        subscribers = words[words.index("-w") + 1] if "-w" in words else "1"
        text = words[-1].strip("{} ").removeprefix("data:").strip(" '")
        return shlex.join([sys.executable, str(Path(__file__)), "--publish", words[-3], text, subscribers])
    return None


def publish(topic: str, text: str, subscribers: str) -> int:
    """One String on `topic`, when it has as many subscribers."""
    import rclpy
    from std_msgs.msg import String

    rclpy.init(args=[])
    node = rclpy.create_node("docs_check")
    publisher = node.create_publisher(String, topic, 10)
    deadline = time.monotonic() + 20.0
    while publisher.get_subscription_count() < int(subscribers) and time.monotonic() < deadline:
        time.sleep(0.05)
    heard = publisher.get_subscription_count() >= int(subscribers)
    publisher.publish(String(data=text))
    publisher.wait_for_all_acked()
    time.sleep(LINGER_S)
    rclpy.shutdown()
    return 0 if heard else 1


def run(block: Block, environment: dict[str, str], report: Report) -> None:
    """Run every command of a block; the rest of a block is not run when one fails."""
    for command in block.commands:
        actual: str | None = re.sub(r"\bFILE\b|\bFOLDER\b", lambda name: environment.get(name[0], name[0]), command)
        if command.startswith("ros2 ") and shutil.which("ros2") is None:
            actual = without_ros2cli(str(actual))
            if actual is None:
                report.add(block.page, command, "not run: needs ros2cli")
                continue
        endless = str(actual).startswith(ENDLESS)
        began = time.monotonic()
        result = subprocess.run(
            ["bash", "-c", f"{'timeout -s INT 15 ' if endless else ''}{actual}"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        seconds = time.monotonic() - began
        fine = result.returncode == 0 or (endless and bool(result.stdout.strip()))
        fine |= command in REPORTS and result.returncode == 1
        # `ros2 service call` itself ends with 0 when the service says no.
        fine &= "success=False" not in result.stdout
        how = "" if actual == command else f" as: {Path(shlex.split(str(actual))[0]).name}"
        what = "ok" if result.returncode == 0 or endless else f"exit status {result.returncode}"
        report.add(block.page, command, f"{what}, {seconds:.1f} s{how}", failed=not fine)
        if not fine:
            print(result.stdout[-2000:] + result.stderr[-2000:], flush=True)
            return


def begin(block: Block, environment: dict[str, str], report: Report, stack: contextlib.ExitStack) -> None:
    """Start every command of a block and leave it running, until `stack` is closed."""
    for command in block.commands:
        started = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        stack.callback(started.wait, 20)
        stack.callback(started.terminate)
        time.sleep(BACKGROUND_S)
        died = started.poll() is not None
        report.add(block.page, command, "ended at once" if died else "ok, runs on", failed=died)


def come_to_ready(environment: dict[str, str]) -> None:
    """A page's reader begins each block with a session that waits in READY."""
    deadline = time.monotonic() + SESSION_READY_S
    while time.monotonic() < deadline:
        said = subprocess.run(["session", "status", "--json"], env=environment, capture_output=True, check=False).stdout
        status = json.loads(said or "{}")
        if status.get("state") == "READY" and not status["countdown"]:
            return
        if request := TOWARDS_READY.get(status.get("state", "")):
            subprocess.run(["session", request], env=environment, capture_output=True, check=False)


def sample_folder(folder: Path) -> Path:
    """A folder of an epoch with two episodes, a discarded one, and a journal that is none yet."""
    epoch = folder / "training_session_epoch0"
    (epoch / ".discarded").mkdir(parents=True)
    data = ROOT / "h1_recorder/test/data"
    for name in ("episode_0.hdf5", "episode_1.hdf5", ".discarded/episode_2.hdf5"):
        shutil.copy(data / "format_1.hdf5", epoch / name)
    shutil.copy(data / "format_1.mcap", epoch / ".episode_3.mcap")
    return epoch


def newest_episode(folder: Path) -> str:
    """The episode that stands for FILE in a page."""
    found = sorted(folder.glob("**/episode_*.hdf5"), key=lambda path: path.stat().st_mtime)
    return str(found[-1]) if found else "FILE"


def run_undisturbed(block: Block, environment: dict[str, str], terminal: Path, report: Report) -> None:
    """A robot that stands still with this machine is lost, rightly, and so is the block: it is run again, reported."""
    for attempt in range(ATTEMPTS):
        before = len(terminal.read_text())
        come_to_ready(environment)
        result = Report()
        run(block, environment, result)
        said = terminal.read_text()[before:]
        if not result.failures or STOOD_STILL not in said or attempt + 1 == ATTEMPTS:
            break
        print(f"  again, because {STOOD_STILL} meanwhile", flush=True)
    if result.failures:
        print("The session's terminal:", said, sep="\n", flush=True)
    report.rows += result.rows
    report.failures += result.failures


def run_session_blocks(todo: list[Block], environment: dict[str, str], folder: Path, report: Report) -> None:
    """Start a simulated session that nobody operates, run the blocks in its domain, and end it."""
    output = folder / "session.txt"
    (folder / "config.yaml").write_text(SLOW_CAMERAS)
    command = ["run_session", "--sim", "--operator", "none", "--config", str(folder / "config.yaml")]
    command += [
        "--save-dir",
        str(folder / "episodes"),
        "--rsync-target",
        str(folder / "uploaded"),
        "--log-dir",
        str(folder / "log"),
    ]
    with output.open("w") as file:
        session = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=file)
    try:
        deadline = time.monotonic() + SESSION_READY_S
        while "Press 'y' to start" not in output.read_text() and time.monotonic() < deadline:
            time.sleep(0.2)
        domain = re.search(r"ROS_DOMAIN_ID=(\d+)", output.read_text())
        if domain is None:
            report.add("", "run_session --sim --operator none", "did not start", failed=True)
            return
        inside = environment | {"ROS_DOMAIN_ID": domain[1], "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        # On a busy machine the cameras' rates take a while to be what an episode needs.
        ready = ["session", "preflight"]
        while subprocess.run(ready, env=inside, capture_output=True, check=False).returncode != 0:
            if time.monotonic() > deadline:
                break
        for block in todo:
            run_undisturbed(block, inside | {"FILE": newest_episode(folder)}, output, report)
    finally:
        session.send_signal(signal.SIGINT)
        status = session.wait(40)
        report.add("", "Ctrl+C ends that session", f"exit status {status}", failed=status not in (0, 130))


def main() -> int:
    """0 if every command that was run did what its page says."""
    if sys.argv[1:2] == ["--publish"]:
        return publish(*sys.argv[2:5])
    found = [block for page in pages() for block in blocks(page)]
    report = Report()
    with tempfile.TemporaryDirectory(prefix="docs_check_") as name:
        folder = Path(name)
        environment = os.environ | {
            "SAVE_DIR": str(folder / "here/episodes"),
            "RSYNC_TARGET": str(folder / "here/uploaded"),
            "EPOCHS": "1",
            "EPISODES": "1",
            "FOLDER": str(sample_folder(folder / "samples")),
        }
        with contextlib.ExitStack() as stack:
            for block in (block for block in found if block.how in HERE):
                if block.how == "here":
                    run(block, environment | {"FILE": newest_episode(folder)}, report)
                else:
                    begin(block, environment, report, stack)
        in_session = [block for how in IN_SESSION for block in found if block.how == how]
        run_session_blocks(in_session, environment, folder, report)
    for block in found:
        for command in block.commands if block.how not in (*HERE, *IN_SESSION) else ():
            report.add(
                block.page, command, f"not run: {block.how.removeprefix('by hand, ') or 'the page says not how'}"
            )
    not_run = sum(result.startswith("not run") for _, _, result in report.rows)
    print(f"\n{len(report.rows) - not_run} run, {report.failures} of them failed; {not_run} not run")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
