# SPDX-License-Identifier: Apache-2.0
"""rsync's options and the key, before anything is sent."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h1_session_manager.parameters import SessionParameters
from h1_session_manager.upload.rsync import RsyncJob
from h1_session_manager.upload.rsync_options import RsyncOptionError, parse_options
from h1_training_node.parameter import ParameterError, from_values


def test_bundles_long_forms_and_the_remote_shell_are_taken_apart():
    parsed = parse_options("-avzP --compress-level 3 --rsh='ssh -p 2222' --bwlimit=2m")
    assert parsed.words == ("-a", "-v", "-z", "--compress-level=3", "--bwlimit=2m")
    assert parsed.shell == "ssh -p 2222"
    assert parse_options("-aze 'ssh -p 2222'").shell == "ssh -p 2222"


@given(st.text(max_size=60))
def test_no_text_whatever_breaks_the_options(text):
    with contextlib.suppress(RsyncOptionError):
        assert all(word.startswith("-") for word in parse_options(text).words)


@pytest.mark.parametrize("target", ["", "-e sh"])
def test_a_target_that_is_none_is_refused(target):
    with pytest.raises(RsyncOptionError, match="which is no target"):
        RsyncJob("/data", target).upload_command()


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"rsync_target": "ssh://host/data"}, "parameter 'rsync_target' is 'ssh://host/data'; rsync knows no ssh://"),
        ({"rsync_target": "/t", "rsync_options": "-a --delete"}, "'rsync_options' holds '--delete'"),
        (
            {"rsync_target": "/t", "rsync_options": "-a -e ssh"},
            "holds '-e', which means nothing for '/t'",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_starts(parameters, problem):
    with pytest.raises(ParameterError, match=re.escape(problem)):
        from_values(SessionParameters, parameters)


def test_the_key_is_handed_to_ssh_in_one_argument_that_rsync_understands():
    command = RsyncJob("/data", "robot@host:/data", ssh_key="/home/kim's keys/id").upload_command()
    shell = command[command.index("-e") + 1]
    assert shell.startswith("ssh ")
    assert "-i '/home/kim''s keys/id'" in shell
    assert "BatchMode=yes" in shell
    assert command[-3:] == ["--", "/data/", "robot@host:/data"]


def test_no_key_no_argument_for_it():
    command = RsyncJob("/data", "robot@host:/data").upload_command()
    assert "-i" not in command[command.index("-e") + 1]


def test_a_remote_shell_among_the_options_is_kept():
    command = RsyncJob("/data", "robot@host:/data", options="-az -e 'ssh -p 2222'", ssh_key="/k").upload_command()
    assert command.count("-e") == 1
    assert command[command.index("-e") + 1].startswith("ssh -p 2222 -o BatchMode=yes")


def test_a_local_target_needs_no_ssh():
    assert "-e" not in RsyncJob("/data", "/backup/a:b").upload_command()
