# SPDX-License-Identifier: Apache-2.0
"""Journals outlive the code that wrote them: an interface changes by decision, not by accident.

Whoever changes one writes the new hash here, raises the recorder's `format_version`, and sees to it that journals of
the old version are still read.
"""

import json
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

PINNED = {
    "msg/ArmStatus": "RIHS01_76363d85963e01cb9f24218ca28cad102727db032198d9355fe0f9070d5a6b45",
    "msg/Event": "RIHS01_76aaa7d1f916021a2756e2bb9e55b1c48c392d0825ae77b088bd5e991d139ae7",
    "msg/GuardStatus": "RIHS01_f16842097f7556806e3504bde677bd1ce30fd252812ef1ab89b745d022e34dd7",
    "msg/HandCommand": "RIHS01_c89577a38befae567eb287d77f185840a07fa167756548979a59ec4e62690060",
    "msg/HandState": "RIHS01_d119448d246b8b01a3b31ed99e329190546b4d9588a8b70d73d38c25a37d11ee",
    "msg/PolicyAction": "RIHS01_9490e029cf54fcc4c3ead6aeef0ff72165eea952c2028719e0eda4bd84ad3727",
    "msg/PolicyStatus": "RIHS01_acf16208aab4a500445178ceb643ffba39dce33d71a41540d21f9a3ff1c0e024",
    "msg/Preflight": "RIHS01_06dfbe56da5072b3da65726bdae4fdd51e7ff8699660501dd8a83303e31a3a4e",
    "msg/RecorderStatus": "RIHS01_0f6a1d80f7edbd5bca1438648bb85f96f28a854df501eabcab75e9dff5ab80fc",
    "msg/SessionState": "RIHS01_ebed12ca4e13c1bac03d96ae89eaeae67b9aa07584b87a1cb3b1b0db04e81988",
    "msg/SyncProgress": "RIHS01_ee9d5929e73ab9247ea8d4318ae662496f878ce8be73a843dd35fbb7d93f2479",
    "msg/TrainingStatus": "RIHS01_4108bba3bd758bc15fedf3a65ffdc7c19517dff7a5b7f09b142fc30b19a352fd",
    "srv/DiscardEpisode": "RIHS01_6420b84c217f0c290a9d7bd484acb83327277f648b9950cb64bf4888721655f9",
    "srv/FinishEpisode": "RIHS01_9070660432cea4cf12d2f2f6f2201e16bfd3d16d2d21d2f83641e8ecf66acb16",
    "srv/LabelEpisode": "RIHS01_366479ee5c76e58df8e23acf8ae7220d5d4b1c379a543fd0c7879a3e62b38928",
    "srv/SetArmMode": "RIHS01_1e59b809f3bcf543051e6367dfdc57bb80d71516fc57e4106a9416715e1efde2",
    "srv/StartEpisode": "RIHS01_816e5c260a51f4c54d4614bbbcfb1133d2358ed0428391587dd6e64de517a90c",
}


def built_hashes() -> dict[str, str]:
    share = Path(get_package_share_directory("h1_training_msgs"))
    found = {}
    for path in [*share.glob("msg/*.json"), *share.glob("srv/*.json")]:
        name = f"{path.parent.name}/{path.stem}"
        for entry in json.loads(path.read_text())["type_hashes"]:
            if entry["type_name"] == f"h1_training_msgs/{name}":
                found[name] = entry["hash_string"]
    return found


def test_no_interface_differs_from_its_pinned_hash() -> None:
    assert built_hashes() == PINNED
