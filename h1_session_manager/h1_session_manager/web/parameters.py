# SPDX-License-Identifier: Apache-2.0
"""What can be set about the page."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from h1_training_node.forms import check_path
from h1_training_node.parameter import parameter


@dataclass(frozen=True)
class WebParameters:
    """Where the page listens, who may use it, and what it shows."""

    save_dir: str = parameter("data/episodes", "folder of the episodes")
    rsync_target: str = parameter("", "where the episodes are uploaded to, for their upload state; empty: nowhere")
    address: str = parameter("127.0.0.1", "address that the page listens on; another than this machine's own needs TLS")
    port: int = parameter(8090, "port of the page; 0 takes a free one", low=0, high=65535)
    token_file: str = parameter(
        "",
        "file of mode 600 with the token of the page on its first line, and on its second, if there is one, the token "
        "of those who only look; made with new tokens if it is missing. Empty: new tokens at every start",
        check=check_path,
    )
    certificate_file: str = parameter(
        "", "PEM file of the certificate, for https; with private_key_file", check=check_path
    )
    private_key_file: str = parameter("", "PEM file of the certificate's private key", check=check_path)
    allow_plain_http: bool = parameter(False, "listen without TLS on an address that others reach; they can read along")
    allowed_hosts: tuple[str, ...] = parameter(("",), "names under which browsers reach the page, beside addresses")
    on_lost: str = parameter(
        "warn",
        "what follows in EXECUTING when the driving page is silent: warn, or stop (damping, as by 's')",
        choices=("warn", "stop"),
    )
    lost_after_s: float = parameter(1.0, "silence of the driving page that is reported", unit="s", low=0.5, high=10.0)
    cameras: tuple[str, ...] = parameter(
        ("ego_cam:head_camera/image_raw/compressed",
         "cam_left_wrist:left_wrist_camera/color/image_raw/compressed",
         "cam_right_wrist:right_wrist_camera/color/image_raw/compressed"),
        "NAME:TOPIC of the cameras that are shown",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Refuse what would open the page by accident."""
        if bool(self.certificate_file) != bool(self.private_key_file):
            raise ValueError("parameters 'certificate_file' and 'private_key_file' go together; one of them is empty")
        try:
            address = ipaddress.ip_address(self.address)
        except ValueError:
            raise ValueError(
                f"parameter 'address' is '{self.address}'; expected an IP address of this machine, e.g. 127.0.0.1"
            ) from None
        if not address.is_loopback and not self.certificate_file and not self.allow_plain_http:
            raise ValueError(
                f"parameter 'address' is {self.address}, which others reach, and there is no certificate: set "
                "certificate_file and private_key_file, or allow_plain_http if everybody on that network may read along"
            )
        for entry in self.cameras:
            if not all(entry.partition(":")[::2]):
                raise ValueError(f"parameter 'cameras' has '{entry}'; expected NAME:TOPIC")

    @property
    def camera_topics(self) -> dict[str, str]:
        """Topic of each camera by its name."""
        return dict(entry.split(":", 1) for entry in self.cameras)
