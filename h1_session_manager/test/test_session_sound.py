"""What is heard: before the arms move, and above all before they are given back."""

import io
import sys

import pytest
from session_builders import Theatre

from h1_session_manager import lines
from h1_session_manager.keyboard.terminal import Terminal
from h1_session_manager.sound import Sound
from h1_session_manager.values import ReleaseWarned
from h1_training_testing import wait_until


def warnings(theatre: Theatre) -> int:
    assert all(speak.urgent for speak in theatre.spoken if speak.text == lines.RELEASE_SPEECH)
    return sum(speak.text == lines.RELEASE_SPEECH for speak in theatre.spoken)


@pytest.mark.parametrize("way", ["q in WAITING", "y in STOPPED", "a signal", "the guard"])
def test_a_release_is_spoken_of_once_by_whatever_way_it_comes(way):
    theatre = Theatre()
    theatre.to("WAITING" if way == "q in WAITING" else "EXECUTING")
    theatre.run(1)
    theatre.guard_active = way == "the guard"
    if way in ("y in STOPPED", "the guard"):
        theatre.press("q")
        theatre.run(2)
    assert warnings(theatre) == 0
    theatre.session.interrupt("SIGTERM", theatre.now_ns) if way == "a signal" else theatre.press(
        "q" if way == "q in WAITING" else "y"
    )
    theatre._carry_out()
    theatre.session.observe(ReleaseWarned(), theatre.now_ns)  # the driver's own event about the same
    theatre.run(2)
    assert warnings(theatre) == 1


def test_a_release_that_nobody_asked_the_session_for_is_spoken_of_too():
    theatre = Theatre()
    theatre.to("READY")
    theatre.session.observe(ReleaseWarned(), theatre.now_ns)
    theatre.step()
    assert warnings(theatre) == 1
    theatre.run(20)
    theatre.session.observe(ReleaseWarned(), theatre.now_ns)
    theatre.step()
    assert warnings(theatre) == 2


def test_motion_that_begins_is_spoken_of():
    theatre = Theatre()
    theatre.to("READY")
    theatre.run(1)
    theatre.spoken.clear()
    theatre.press("y")
    assert [speak.text for speak in theatre.spoken] == ["The arms move home, then the policy moves them in 1 seconds."]
    assert not theatre.spoken[0].urgent


def test_a_sound_is_started_without_a_shell_and_a_missing_one_is_told_once(tmp_path):
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
