# SPDX-License-Identifier: Apache-2.0
"""Who may use the page."""

import stat
from pathlib import Path

import pytest

from h1_session_manager.web.access import Access, TooManyTriesError
from h1_training_node.page_tokens import Role, Tokens, page_link


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def access(clock: Clock | None = None, tokens: Tokens | None = None) -> Access:
    return Access(tokens or Tokens("d" * 32, "l" * 32), frozenset({"robot-laptop"}), clock or Clock())


def test_the_driving_token_drives_and_the_spectators_token_looks() -> None:
    page = access()
    driving, looking = page.sign_in("d" * 32, "127.0.0.1"), page.sign_in("l" * 32, "127.0.0.1")
    assert driving is not None and page.role(driving) is Role.DRIVE
    assert looking is not None and page.role(looking) is Role.LOOK


@pytest.mark.parametrize("token", ["", "d", "d" * 31, "d" * 33, "D" * 32, "d" * 100_000, "é" * 32])
def test_another_token_is_refused(token: str) -> None:
    assert access().sign_in(token, "127.0.0.1") is None


def test_an_empty_token_is_none_even_where_there_is_no_spectators_token() -> None:
    assert Tokens("d" * 32).role("") is None


def test_no_cookie_and_a_made_up_cookie_are_nobody() -> None:
    assert access().role("") is None
    assert access().role("d" * 32) is None


def test_a_cookie_is_not_the_token() -> None:
    cookie = access().sign_in("d" * 32, "127.0.0.1")
    assert cookie is not None and "d" * 32 not in cookie and cookie != access().sign_in("d" * 32, "127.0.0.1")


def test_after_five_wrong_tokens_not_even_the_right_one_counts_for_a_minute() -> None:
    clock = Clock()
    page = access(clock)
    for _ in range(5):
        assert page.sign_in("wrong", "10.0.0.9") is None
    with pytest.raises(TooManyTriesError):
        page.sign_in("d" * 32, "10.0.0.9")
    assert page.sign_in("d" * 32, "10.0.0.10") is not None, "another address is not held up"
    clock.now_s += 61
    assert page.sign_in("d" * 32, "10.0.0.9") is not None


def test_the_tries_of_many_addresses_take_bounded_memory() -> None:
    page = access()
    for number in range(1000):
        page.sign_in("wrong", f"10.0.{number // 250}.{number % 250}")
    assert len(page._wrong) <= 256


@pytest.mark.parametrize("host", ["127.0.0.1:8090", "localhost:8090", "[::1]:8090", "10.1.2.3", "Robot-Laptop:8090"])
def test_addresses_and_known_names_are_answered(host: str) -> None:
    assert access().is_known_host(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8090", "127.0.0.1.evil.example:8090", "localhost.evil"]
)
def test_a_name_that_was_rebound_to_this_machine_is_not(host: str) -> None:
    assert not access().is_known_host(host)


def test_only_the_page_itself_is_its_own_origin() -> None:
    page = access()
    assert page.is_own_origin("http://127.0.0.1:8090", "127.0.0.1:8090", is_tls=False)
    for origin in ("", "null", "http://127.0.0.1:8091", "https://127.0.0.1:8090", "http://evil.example"):
        assert not page.is_own_origin(origin, "127.0.0.1:8090", is_tls=False)


def test_a_missing_token_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "page"
    tokens = Tokens.from_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Tokens.from_file(path) == tokens
    assert len(bytes.fromhex(tokens.drive)) == 16 and tokens.drive != tokens.look


def test_a_token_file_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "page"
    path.write_text("d" * 32)
    path.chmod(0o644)
    with pytest.raises(ValueError, match=r"mode 644.*chmod 600"):
        Tokens.from_file(path)


@pytest.mark.parametrize("text", ["", "short", f"{'d' * 32}\nshort"])
def test_a_token_that_can_be_guessed_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "page"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ValueError, match="expected at least 32"):
        Tokens.from_file(path)


def test_a_file_with_one_token_lets_no_spectators_in(tmp_path: Path) -> None:
    path = tmp_path / "page"
    path.write_text("d" * 32)
    path.chmod(0o600)
    assert Tokens.from_file(path) == Tokens("d" * 32)


def test_the_same_token_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page"
    path.write_text(f"{'d' * 32}\n{'d' * 32}\n")
    path.chmod(0o600)
    with pytest.raises(ValueError, match="the same token twice"):
        Tokens.from_file(path)


def test_the_link_names_an_address_that_a_browser_can_open() -> None:
    assert page_link("0.0.0.0", 8090, "t", is_tls=False) == "http://127.0.0.1:8090/?token=t"
    assert page_link("::", 8090, "t", is_tls=True) == "https://[::1]:8090/?token=t"
    assert page_link("fd00::2", 1, "t", is_tls=True) == "https://[fd00::2]:1/?token=t"


def test_a_page_that_was_started_again_knows_its_browsers_and_one_with_other_tokens_does_not() -> None:
    cookie = access().sign_in("d" * 32, "127.0.0.1")
    assert cookie is not None
    assert access().role(cookie) is Role.DRIVE
    assert Access(Tokens("f" * 32, ""), frozenset()).role(cookie) is None
    assert access().role(cookie[:-1] + ("0" if cookie[-1] != "0" else "1")) is None
