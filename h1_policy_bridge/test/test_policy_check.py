# SPDX-License-Identifier: Apache-2.0
"""The tool that asks a server whether it fits, as a process or by its main."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
from policy_builders import METADATA, answering, reply, server
from policy_protocol_builders import groot_answers
from policy_servers import groot_server

from h1_policy_bridge import msgpack_numpy, policy_check
from h1_policy_bridge.connection import ServerAddress


def run(monkeypatch, address: ServerAddress, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["policy_check", address.host, "--port", str(address.port), *arguments])
    return policy_check.main()


def test_a_server_that_fits_is_reported_with_its_times(monkeypatch, capsys):
    seen = []

    def handler(connection):
        connection.send(msgpack_numpy.pack({"action_dim": 14}))
        for message in connection:
            seen.append(msgpack_numpy.unpack(message))
            connection.send(reply())

    with server(handler) as address:
        assert run(monkeypatch, address, "--count", "3") == 0
    out = capsys.readouterr().out
    assert "its metadata: action_dim 14, horizon not stated" in out
    assert "fits: chunks of 50 x 14" in out
    assert len(seen) == 3
    assert set(seen[0]["images"]) == {"cam_head", "cam_left_wrist", "cam_right_wrist"}


def test_the_first_chunk_is_drawn_without_a_session(monkeypatch, capsys, tmp_path):
    file = tmp_path / "first.png"
    with server(answering(reply())) as address:
        assert run(monkeypatch, address, "--count", "1", "--draw", str(file)) == 0
        assert run(monkeypatch, address, "--count", "1", "--draw", str(tmp_path / "none" / "first.png")) == 2
    said = capsys.readouterr()
    assert str(file) in said.out
    assert "[ERROR] [Errno 2] No such file or directory" in said.err
    assert cv2.imread(str(file)).shape[0] > 800


def test_a_server_of_another_protocol_is_asked_in_its_own(monkeypatch, capsys):
    with groot_server(groot_answers([])) as address:
        assert run(monkeypatch, address, "--protocol", "groot", "--preset", "groot", "--count", "2") == 0
    assert "fits: chunks of 50 x 14" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("metadata", "answer", "words"),
    [
        (msgpack_numpy.pack({"action_dim": 26}), reply(), "26 values per action, this robot is configured for 14"),
        (METADATA, reply(np.zeros((50, 32), np.float32)), "'actions' is 50x32; expected steps x 14"),
        (METADATA, "Traceback (most recent call last):\n  x\nKeyError: 'cam_high'\n", "KeyError: 'cam_high'"),
    ],
)
def test_a_server_that_does_not_fit_is_reported_with_the_reason(monkeypatch, capsys, metadata, answer, words):
    with server(answering(answer, metadata=metadata)) as address:
        assert run(monkeypatch, address) == 1
    assert f"does not fit: {words}" in capsys.readouterr().out.replace("reply refused: ", "").replace(
        "policy server error: ", ""
    ).replace("the server's policy has ", "")


@pytest.mark.parametrize("count", ["0", "-1", "few"])
def test_a_number_of_requests_that_is_none_is_refused(monkeypatch, capsys, count):
    with server(answering(reply())) as address, pytest.raises(SystemExit) as ended:
        run(monkeypatch, address, "--count", count)
    assert ended.value.code == 2
    assert f"argument --count: '{count}'; expected 1 or more" in capsys.readouterr().err


def test_nobody_there_is_reported(monkeypatch, capsys):
    assert run(monkeypatch, ServerAddress("127.0.0.1", 1), "--timeout", "0.2") == 1
    assert "connection refused by ws://127.0.0.1:1; is the policy server running?" in capsys.readouterr().out


def test_options_that_cannot_work_are_refused_in_one_line(monkeypatch, capsys, tmp_path):
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("images: 3")
    assert run(monkeypatch, ServerAddress("127.0.0.1", 1), "--mapping", str(mapping)) == 2
    assert run(monkeypatch, ServerAddress("127.0.0.1", 1), "--mapping", str(tmp_path / "none")) == 2
    assert run(monkeypatch, ServerAddress("127.0.0.1", 1), "--ca-file", str(mapping)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "needs images" in lines[0]
    assert "No such file" in lines[1]
    assert "no certificate" in lines[2]
