# SPDX-License-Identifier: Apache-2.0
"""The page's link: printed for a person, its token in a file of mode 600 and in no log."""

import socket
import stat
from pathlib import Path

import pytest

from h1_training_bringup.session.configuration import Configuration, ConfigurationError, load
from h1_training_bringup.session.page import with_page
from h1_training_node.page_tokens import session_token_file, write_secret


def configured(**changes: object) -> Configuration:
    return load().replaced({f"web.{name}": value for name, value in changes.items()}, source="test")


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)


def test_every_session_has_new_tokens_in_a_file_of_its_owner_alone() -> None:
    first, _ = with_page(configured(port=0))
    path = Path(first["web.token_file"])
    tokens = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again, _ = with_page(configured(port=first["web.port"]))
    assert Path(again["web.token_file"]) == path and path.read_text() != tokens


def test_a_port_that_another_sessions_page_has_ends_the_start_and_leaves_that_pages_tokens_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        path = session_token_file(port)
        write_secret(path, "those of the other session")
        with pytest.raises(ConfigurationError, match=rf"'web\.port' is {port}.*in use.*another"):
            with_page(configured(port=port))
        assert path.read_text() == "those of the other session"


def test_a_terminal_gets_the_whole_link(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    settled, lines = with_page(configured(port=0))
    drive, look = Path(settled["web.token_file"]).read_text().split()
    assert lines == (
        f"Page: http://127.0.0.1:{settled['web.port']}/?token={drive}",
        f"  only to look: http://127.0.0.1:{settled['web.port']}/?token={look}",
    )


def test_what_is_kept_in_a_file_gets_no_token() -> None:
    settled, lines = with_page(configured(port=0))
    drive, look = Path(settled["web.token_file"]).read_text().split()
    text = "\n".join(lines)
    assert str(settled["web.token_file"]) in text and drive not in text and look not in text


def test_on_a_network_the_link_is_a_code_for_a_phone_and_plain_http_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    _, lines = with_page(configured(port=0, address="0.0.0.0", allow_plain_http=True))
    assert any("█" in line or "▄" in line for line in lines)
    assert "Without TLS" in lines[-1]


def test_no_page_no_lines() -> None:
    assert with_page(configured(enabled=False))[1] == ()


def test_a_token_file_that_others_can_read_ends_the_start(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("d" * 32)
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match=r"web\.token_file.*chmod 600"):
        with_page(configured(token_file=str(path)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"address": "192.168.1.5"}, "allow_plain_http"),
        ({"address": "localhost"}, "expected an IP address"),
        ({"certificate_file": "/etc/cert.pem"}, "go together"),
    ],
)
def test_what_would_open_the_page_by_accident_is_refused_before_anything_starts(
    changes: dict[str, object], expected: str
) -> None:
    from h1_training_bringup.session import graph
    from h1_training_bringup.session.process import SessionOptions

    with pytest.raises(ConfigurationError, match=expected):
        settled, _ = with_page(configured(**{"port": 0, **changes}))
        graph.processes(settled, SessionOptions(False, "keyboard", Path("/data")))
