# SPDX-License-Identifier: Apache-2.0
"""A simulated session under launch_testing; `test_launch_session.py` has `launch_test` run it."""

import os
import tempfile
import unittest
from pathlib import Path
from typing import Any

import launch_testing
import launch_testing.actions
import launch_testing.asserts
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

LAUNCH_FILE = Path(__file__).parents[1] / "launch/session.launch.py"


def generate_test_description() -> LaunchDescription:
    folder = os.environ.get("SAVE_DIR") or tempfile.mkdtemp()
    arguments = {"sim": "true", "operator": "none", "save_dir": f"{folder}/episodes", "rsync_target": f"{folder}/up"}
    source = PythonLaunchDescriptionSource(str(LAUNCH_FILE))
    included = IncludeLaunchDescription(source, launch_arguments=list(arguments.items()))
    return LaunchDescription([included, launch_testing.actions.ReadyToTest()])


class TestSession(unittest.TestCase):
    def test_it_comes_to_ready_and_asks(self, proc_output: Any) -> None:
        proc_output.assertWaitFor("Press 'y' to start epoch 0", timeout=60, stream="stdout")


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):
    def test_every_process_ended_by_itself(self, proc_info: Any) -> None:
        """130 is the session manager's: it was interrupted."""
        launch_testing.asserts.assertExitCodes(proc_info, allowable_exit_codes=[0, 130])

    def test_the_arms_were_released(self, proc_output: Any) -> None:
        launch_testing.asserts.assertInStderr(proc_output, "release_warning", process=None)
