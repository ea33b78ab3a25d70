# SPDX-License-Identifier: Apache-2.0
"""`docker/until_the_last.sh`: no container ends under a session that still gives the arms back. No engine runs here."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "docker/until_the_last.sh"
ON_SIGINT = "trap 'echo reported; exit 7' INT; echo ready; while :; do sleep 0.05; done"


@contextlib.contextmanager
def started(*command: str, script: Path = SCRIPT) -> Iterator[subprocess.Popen[str]]:
    popen = subprocess.Popen(
        [str(script), *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield popen
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.communicate()


def line(popen: subprocess.Popen[str]) -> str:
    assert popen.stdout is not None
    return popen.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["docker_stop", "ctrl_c"])
def test_every_request_to_end_reaches_the_command_as_sigint_and_its_status_is_the_containers(
    number: signal.Signals,
) -> None:
    with started("bash", "-c", ON_SIGINT) as popen:
        assert line(popen) == "ready"
        popen.send_signal(number)
        assert line(popen) == "reported"
        assert popen.wait(30) == 7


@pytest.mark.parametrize(("command", "status"), [(["true"], 0), (["sh", "-c", "exit 3"], 3)])
def test_a_command_that_ends_by_itself_ends_the_container_with_its_status(command: Sequence[str], status: int) -> None:
    with started(*command) as popen:
        assert popen.wait(30) == status


def test_a_node_that_outlives_the_command_is_waited_for(tmp_path: Path) -> None:
    script, node, saved = (tmp_path / name for name in ("docker/until_the_last.sh", "install/x/lib/x/node", "saved"))
    for path in (script, node):
        path.parent.mkdir(parents=True)
    script.write_text(SCRIPT.read_text())
    node.write_text(
        f"#!/bin/bash\necho runs\ntouch '{tmp_path}/runs'\nread -r _ <'{tmp_path}/go'\nsleep 0.5\ntouch '{saved}'\n"
    )
    for path in (script, node):
        path.chmod(0o755)
    os.mkfifo(tmp_path / "go")
    command = f"'{node}' & until [ -e '{tmp_path}/runs' ]; do sleep 0.05; done; kill -KILL $$"
    with started("bash", "-c", command, script=script) as popen:
        assert line(popen) == "runs"
        (tmp_path / "go").write_text("\n")
        assert popen.wait(30) == 128 + signal.SIGKILL
        assert saved.exists()
