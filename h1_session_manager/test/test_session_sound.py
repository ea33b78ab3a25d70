# SPDX-License-Identifier: Apache-2.0
"""What is heard: before the arms move, and above all before they are released."""

import io
import sys

import pytest
from session_builders import Harness

from h1_session_manager.context import RELEASE_SPEECH
from h1_session_manager.operator_output import Sound, Terminal
from h1_session_manager.values import ReleaseAnnounced
from h1_training_testing import wait_until


def warnings(harness: Harness) -> int:
    assert all(aloud.urgent for aloud in harness.said_aloud if aloud.text == RELEASE_SPEECH)
    return sum(aloud.text == RELEASE_SPEECH for aloud in harness.said_aloud)


@pytest.mark.parametrize("way", ["q in WAITING", "y in STOPPED", "a signal", "the guard"])
def test_a_release_is_announced_aloud_once_by_whatever_way_it_comes(way):
    harness = Harness()
    harness.to("WAITING" if way == "q in WAITING" else "EXECUTING")
    harness.run(1)
    harness.guard_active = way == "the guard"
    if way in ("y in STOPPED", "the guard"):
        harness.press("q")
        harness.run(2)
    assert warnings(harness) == 0
    harness.engine.interrupt("SIGTERM", harness.now_ns) if way == "a signal" else harness.press(
        "q" if way == "q in WAITING" else "y"
    )
    harness._carry_out()
    harness.engine.observe(ReleaseAnnounced(), harness.now_ns)  # the driver's own event about the same
    harness.run(2)
    assert warnings(harness) == 1


def test_a_release_that_nobody_asked_the_session_for_is_announced_aloud_too():
    harness = Harness()
    harness.to("READY")
    harness.engine.observe(ReleaseAnnounced(), harness.now_ns)
    harness.step()
    assert warnings(harness) == 1
    harness.run(20)
    harness.engine.observe(ReleaseAnnounced(), harness.now_ns)
    harness.step()
    assert warnings(harness) == 2


def test_motion_that_begins_is_announced_aloud():
    harness = Harness()
    harness.to("READY")
    harness.run(1)
    harness.said_aloud.clear()
    harness.press("y")
    assert [aloud.text for aloud in harness.said_aloud] == [
        "The arms move home, then the policy moves them in 1 seconds."
    ]
    assert not harness.said_aloud[0].urgent


def test_a_sound_is_started_without_a_shell_and_a_missing_one_is_reported_once(tmp_path):
    heard = tmp_path / "heard $(no shell)"
    assert Sound(("touch", str(heard))).play() == ""
    wait_until(heard.exists, "the sound")
    missing = Sound(("no-such-player",))
    assert missing.play() == "no-such-player: No such file or directory; check sound_command"
    assert missing.play() == ""
    assert Sound(("",)).play() == ""


def test_what_is_said_comes_last_and_an_urgent_word_takes_the_place_of_another(tmp_path):
    said = tmp_path / "said"
    writes = f"import signal, sys; open({str(said)!r}, 'a').write(sys.argv[1] + '|')"
    speech = Sound((sys.executable, "-c", f"{writes}; sys.argv[1] == 'on and on' and signal.pause()"), "speech_command")
    assert speech.play("on and on") == ""
    wait_until(lambda: said.exists() and said.read_text() == "on and on|", "the first word")
    assert speech.play("b") == ""
    assert speech.play("stand clear", urgent=True) == ""
    wait_until(lambda: said.read_text() == "on and on|stand clear|", "the urgent word")


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_three_rings_are_three():
    screen = _Screen()
    terminal = Terminal(screen)
    terminal.say(("a line",), "prompt: ", replaces_prompt=True)
    terminal.bell(3)
    terminal.close(5.0)
    assert screen.getvalue() == "a line\nprompt: \a\a\a\n"
