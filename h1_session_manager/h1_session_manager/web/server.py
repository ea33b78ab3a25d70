# SPDX-License-Identifier: Apache-2.0
"""The page's HTTP server: uvicorn on a socket that is open before anything is announced."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from h1_session_manager.web.application import MOST_MESSAGE_BYTES

_MOST_CONNECTIONS = 200
_CLOSE_S = 1


class Server(uvicorn.Server):
    """Serves an application until `should_exit` is set.

    Args:
        application: the page.
        certificate: PEM files of certificate and private key; None serves plain HTTP.
    """

    def __init__(self, application: ASGIApp, certificate: tuple[Path, Path] | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                ws="websockets-sansio",
                ws_max_size=MOST_MESSAGE_BYTES,
                ws_per_message_deflate=False,  # JPEGs do not shrink
                access_log=False,  # it would log the token of a link
                log_level="warning",
                lifespan="off",
                server_header=False,
                limit_concurrency=_MOST_CONNECTIONS,
                ssl_certfile=None if certificate is None else str(certificate[0]),
                ssl_keyfile=None if certificate is None else str(certificate[1]),
                timeout_graceful_shutdown=_CLOSE_S,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process has its own handlers."""
        yield


def listening(address: str, port: int) -> socket.socket:
    """A socket bound to `address` and `port` (0: a free one).

    Raises:
        OSError: it cannot be had; says which.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {address} port {port}: {error.strerror}; set another web.port") from None
    return listener
