# SPDX-License-Identifier: Apache-2.0
"""Where rsync would bring the episodes, by every form that it has."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h1_training_node.upload_target import Way, parse_upload_target


@pytest.mark.parametrize(
    ("text", "way", "user", "host", "port", "path"),
    [
        ("/data/a:b", Way.LOCAL, "", "", 0, "/data/a:b"),
        ("data/a:b", Way.LOCAL, "", "", 0, "data/a:b"),
        ("./a:b", Way.LOCAL, "", "", 0, "./a:b"),
        ("a folder", Way.LOCAL, "", "", 0, "a folder"),
        ("host:/data", Way.SSH, "", "host", 0, "/data"),
        ("kim@host.example:data/x y", Way.SSH, "kim", "host.example", 0, "data/x y"),
        ("host:", Way.SSH, "", "host", 0, ""),
        ("[fe80::1]:/data", Way.SSH, "", "fe80::1", 0, "/data"),
        ("kim@[fe80::1%eth0]:/data:b", Way.SSH, "kim", "fe80::1%eth0", 0, "/data:b"),
        ("host::episodes", Way.DAEMON, "", "host", 0, "episodes"),
        ("kim@[::1]::episodes/h1", Way.DAEMON, "kim", "::1", 0, "episodes/h1"),
        ("rsync://host/episodes/h1", Way.DAEMON, "", "host", 0, "episodes/h1"),
        ("rsync://kim@[::1]:8730/episodes", Way.DAEMON, "kim", "::1", 8730, "episodes"),
    ],
)
def test_every_form_of_rsyncs_is_taken_apart(text, way, user, host, port, path):
    target = parse_upload_target(text)
    assert (target.way, target.user, target.host, target.port, target.path) == (way, user, host, port, path)
    assert target.is_remote == (way is not Way.LOCAL)
    assert target.login == (f"{user}@{host}" if user else host)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no target"),
        ("-e sh", "no target"),
        ("ssh://host/data", "rsync knows no ssh://"),
        ("http://host/data", "rsync knows no http://"),
        ("fe80::1:/data", "stands in brackets"),
        ("2001:db8::1:/data", "stands in brackets"),
        ("kim@@host:/data", "is no [USER@]HOST"),
        ("a b:/data", "is no [USER@]HOST"),
        (":/data", "is no [USER@]HOST"),
        ("host::", "names no module"),
        ("host::/data", "names no module"),
        ("rsync://host", "names no module"),
        ("rsync://host:99999/m", "expected rsync://"),
        ("rsync://fe80::1/m", "expected rsync://"),
        ("host:/data\n", "line break"),
    ],
)
def test_what_is_no_target_is_refused_with_the_form_to_write(text, problem):
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse_upload_target(text)


@given(st.text(max_size=40))
def test_no_text_whatever_breaks_the_parser(text):
    try:
        target = parse_upload_target(text)
    except ValueError:
        return
    assert target.text == text
    assert target.is_remote == bool(target.host)
