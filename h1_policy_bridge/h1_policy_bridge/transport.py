"""The way to a policy server below the WebSocket: TCP, and TLS with certificates checked."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from h1_training_node.server_access import tls_context

_SOCKET_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # The kernel of a server that is busy answers these probes; a pulled cable is noticed within 25 s.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class LinkError(Exception):
    """The connection cannot be made, or is lost; the message is for the operator."""


def connected(url: str, timeout_s: float, *, ca_file: str = "") -> socket.socket:
    """A socket to the host and port of `url`, inside TLS if it begins with `wss://`.

    Args:
        url: `ws://` or `wss://`.
        timeout_s: for TCP, with each address that the name has, and again for TLS.
        ca_file: PEM file of authorities that are trusted beside the system's; empty: the system's alone.

    Raises:
        LinkError: nobody there, or nobody who can prove to be that host.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        sock = socket.create_connection((parts.hostname or "", port), timeout=timeout_s)
    except TimeoutError:
        raise LinkError(f"no answer from {url} within {timeout_s:g} s; is the host up?") from None
    except ConnectionRefusedError:
        raise LinkError(f"connection refused by {url}; is the policy server running?") from None
    except (OSError, ValueError) as error:
        raise LinkError(f"cannot reach {url}: {getattr(error, 'strerror', None) or error}") from None
    try:
        for level, option, value in _SOCKET_OPTIONS:
            sock.setsockopt(level, option, value)
        if parts.scheme == "wss":
            return tls_context(ca_file).wrap_socket(sock, server_hostname=parts.hostname or "")
    except (OSError, ValueError) as error:
        sock.close()
        raise LinkError(f"no TLS with {url}: {_tls_problem(error)}") from None
    return sock


def _tls_problem(error: Exception) -> str:
    """What went wrong, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = (
            "is the name in 'host' the certificate's?"
            if "match" in error.verify_message
            else ("name its authority's PEM file in the parameter 'ca_file'")
        )
        return f"certificate not accepted ({error.verify_message}); {remedy}"
    if isinstance(error, TimeoutError):
        return "the handshake was not answered in time; does this port speak TLS (wss://), or plain ws://?"
    if isinstance(error, ssl.SSLError):
        return f"{(error.reason or str(error)).replace('_', ' ').lower()}; does this port speak TLS (wss://), or plain ws://?"
    return str(error)
