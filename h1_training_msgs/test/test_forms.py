# SPDX-License-Identifier: Apache-2.0
"""Hosts, servers and paths are checked by their form, and refused with the one to write."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h1_training_node.forms import check_host, check_path, check_server


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0.1", "robot", "robot-1.lab", "h1_2.local.", "::1", "fd00::5", "fe80::1%eth0", "xn--bcher-kva.de"],
)
def test_a_host_is_a_name_or_an_address_of_either_kind(text: str) -> None:
    check_host(text)
    check_server(text)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("http://10.0.0.1:5555/x", "write the host alone: 10.0.0.1"),
        ("tcp://[::1]:5555", "write the host alone: ::1"),
        ("10.0.0.1:5555", "write the host alone, 10.0.0.1, and the port under its own key"),
        ("[::1]", "write an IPv6 address without brackets: ::1"),
        ("[::1]:5555", "write an IPv6 address without brackets: ::1"),
        (" 10.0.0.1", "write it without blanks: 10.0.0.1"),
        ("10.0.0.1\n", "write it without blanks: 10.0.0.1"),
        ("192.168.123", "is no IPv4 address"),
        ("192.168.123.256", "is no IPv4 address"),
        ("3232267171", "is no IPv4 address"),
        ("user@robot", "expected a host name or an IP address"),
        ("robot/x", "expected a host name or an IP address"),
        ("-x", "expected a host name or an IP address"),
        ("a..b", "expected a host name or an IP address"),
        ("a" * 300, "expected a host name or an IP address"),
    ],
)
def test_anything_else_is_refused_with_the_form_to_write(text: str, form: str) -> None:
    with pytest.raises(ValueError, match=r"is '") as error:
        check_host(text)
    assert form in str(error.value)


@pytest.mark.parametrize("text", ["ws://robot", "wss://policy.lab:443/v1", "ws://[::1]:8000"])
def test_a_server_may_be_a_whole_url(text: str) -> None:
    check_server(text)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("http://policy.lab:8000", "write the host alone: policy.lab"),
        ("ws://", "names no host"),
        ("ws://a b", "without blanks"),
        ("ws://h:99999", "expected ws://HOST:PORT"),
        ("ws://h:x", "expected ws://HOST:PORT"),
        ("ws://me:secret@h", "write the key into a file"),
        ("ws://h/?token=1", "is not sent: leave it out"),
        ("ws://1.2.3", "is no IPv4 address"),
    ],
)
def test_a_url_that_is_no_server_is_refused(text: str, form: str) -> None:
    with pytest.raises(ValueError) as error:
        check_server(text)
    assert form in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("text", ["", "data", "~/data", "/a b/ä", "$", "a$", "/x/$/y"])
def test_a_path_is_taken_as_it_is(text: str) -> None:
    check_path(text)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("$HOME/data", "$HOME is not expanded: write the whole path, or begin it with ~"),
        ("/data/${USER}/x", "${USER} is not expanded"),
        ("~nobody-of-this-name/x", "this computer has no user 'nobody-of-this-name'"),
        ("a\0b", "NUL"),
    ],
)
def test_a_path_with_a_variable_or_an_unknown_user_is_refused(text: str, form: str) -> None:
    with pytest.raises(ValueError) as error:
        check_path(text)
    assert form in str(error.value)


@given(st.ip_addresses())
def test_every_address_is_a_host(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    check_host(str(address))


@given(st.text(max_size=40))
def test_any_text_is_taken_or_refused_with_a_reason(text: str) -> None:
    for check in (check_host, check_server, check_path):
        try:
            check(text)
        except ValueError as error:
            assert str(error)


def test_what_the_resolver_would_silently_complete_is_refused() -> None:
    """`192.168.123` is an address to inet_aton: that of another host."""
    assert socket.inet_ntoa(socket.inet_aton("192.168.123")) == "192.168.0.123"
    with pytest.raises(ValueError, match="no IPv4 address"):
        check_host("192.168.123")
