# SPDX-License-Identifier: Apache-2.0
"""A real sshd on 127.0.0.1 for the length of a test: its own keys and configuration, in a folder of the test's."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from h1_training_testing import wait_until

SSHD = shutil.which("sshd") or ("/usr/sbin/sshd" if Path("/usr/sbin/sshd").exists() else None)
_PRIVILEGE_SEPARATION = Path("/run/sshd")


@dataclass(frozen=True)
class Host:
    """Where it listens and what logs in: options for ssh beside the key."""

    folder: Path
    port: int

    @property
    def key(self) -> str:
        return str(self.folder / "user_key")

    @property
    def other_key(self) -> str:
        return str(self.folder / "other_key")

    def options(self, known_hosts: str = "known_hosts") -> str:
        return f"-az -e 'ssh -F none -p {self.port} -o UserKnownHostsFile={self.folder / known_hosts}'"


def can_serve() -> bool:
    """Whether an sshd can be started here: it wants its folder, which a machine without a running one may lack."""
    if SSHD is None or shutil.which("ssh-keygen") is None:
        return False
    with contextlib.suppress(OSError):
        if os.geteuid() == 0:
            _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    return os.geteuid() != 0 or _PRIVILEGE_SEPARATION.is_dir()


def make_key(path: Path) -> str:
    """A key pair; returns the public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_name(path.name + ".pub").read_text()


@contextlib.contextmanager
def serving(folder: Path, *further: str, before: tuple[str, ...] = ()) -> Iterator[Host]:
    """An sshd with `further` lines of configuration, started through the command `before`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.mkdir(mode=0o700)
    kind, public = make_key(folder / "host_key").split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {public}\n")
    (folder / "authorized").write_text(make_key(folder / "user_key"))
    other = make_key(folder / "other_key").split()
    (folder / "changed_hosts").write_text(f"[127.0.0.1]:{port} {other[0]} {other[1]}\n")
    lines = (
        *(f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder / 'host_key'}", "PidFile none"),
        *(f"AuthorizedKeysFile {folder / 'authorized'}", "StrictModes no", "UsePAM no", "PasswordAuthentication no"),
        *("KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password", *further),
    )
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    with (folder / "sshd.log").open("wb") as log:
        command = [*before, str(SSHD), "-D", "-e", "-f", str(folder / "sshd_config")]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until(lambda: "Server listening" in (folder / "sshd.log").read_text(), "sshd", 15)
        yield Host(folder, port)
    finally:
        process.terminate()
        process.wait(10)
