# SPDX-License-Identifier: Apache-2.0
"""The page's link, made before anything starts: whoever starts a session prints it, and no log ever has its token."""

from __future__ import annotations

import errno
import io
import ipaddress
import socket
import sys
from pathlib import Path

import psutil
import segno

from h1_training_bringup.session.configuration import Configuration, ConfigurationError
from h1_training_bringup.session.node_parameters import parameter_class
from h1_training_node.page_tokens import Tokens, page_link, session_token_file, write_secret
from h1_training_node.parameter import ParameterError, from_values

Lines = tuple[str, ...]


def with_page(configuration: Configuration) -> tuple[Configuration, Lines]:
    """The configuration with the page's port and token file settled, and the lines that lead a person to the page.

    Raises:
        ConfigurationError: the page's settings do not go together, or the token file cannot be used.
    """
    if not configuration["web.enabled"]:
        return configuration, ()
    try:
        from_values(parameter_class("web"), configuration.of_node("web"))
    except ParameterError as error:
        raise ConfigurationError(f"web: {error}") from None
    address, port = configuration["web.address"], _free_port(configuration["web.address"], configuration["web.port"])
    file = configuration["web.token_file"]
    try:
        if file:
            tokens = Tokens.from_file(_path(file))
        else:
            tokens, path = Tokens.new(), session_token_file(port)
            write_secret(path, f"{tokens.drive}\n{tokens.look}\n")
            file = str(path)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"'web.token_file': {error}") from None
    settled = configuration.replaced({"web.port": port, "web.token_file": file}, source="page")
    is_tls, host = bool(configuration["web.certificate_file"]), _reachable(address)
    if not sys.stdout.isatty():  # whatever reads this keeps it
        return settled, (f"Page: {page_link(host, port, '', is_tls=is_tls).partition('?')[0]} (token in {file})",)
    link = page_link(host, port, tokens.drive, is_tls=is_tls)
    lines: Lines = (f"Page: {link}",)
    if tokens.look:
        lines += (f"  only to look: {page_link(host, port, tokens.look, is_tls=is_tls)}",)
    if not ipaddress.ip_address(address).is_loopback:
        lines += _code(link)
        if not is_tls:
            lines += ("  Without TLS: everybody on that network can read the token and the images along",)
    return settled, lines


def _code(link: str) -> Lines:
    """The link for a phone's camera."""
    drawn = io.StringIO()
    segno.make(link, error="l").terminal(drawn, compact=True)
    return tuple(drawn.getvalue().splitlines())


def _reachable(address: str) -> str:
    """An address of this machine that others reach, where the page listens on all of them."""
    if not ipaddress.ip_address(address).is_unspecified:
        return address
    for addresses in psutil.net_if_addrs().values():
        for found in addresses:
            if found.family == socket.AF_INET and not ipaddress.ip_address(found.address).is_loopback:
                return str(found.address)
    return address


def _free_port(address: str, port: int) -> int:
    """`port`, if nobody listens on it yet; for 0 any that is free."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the page has it
        try:
            listener.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise ConfigurationError(f"'web.address' is '{address}': {error.strerror}") from None
            raise ConfigurationError(
                f"'web.port' is {port} on {address}: {error.strerror}; choose another one, or 0 for any that is free"
            ) from None
        return int(listener.getsockname()[1])


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()
