"""Where a policy server is, in the ways that openpi's client takes it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Address:
    """Where the server is.

    Attributes:
        host: a name or an address, or a whole `ws://` or `wss://` URL, which openpi's client takes as well.
        port: 0 if the URL says it.
    """

    host: str
    port: int

    @property
    def url(self) -> str:
        """`ws://host:port`, without user information."""
        text = self.host if self.host.startswith(("ws://", "wss://")) else f"ws://{self._bracketed()}"
        parts = urlsplit(text)
        port = f":{self.port}" if self.port and parts.port is None else ""
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{port}{parts.path}"

    def check(self) -> None:
        """Raises ValueError if this cannot be an address."""
        parts = urlsplit(self.url)
        if not parts.hostname or any(character.isspace() for character in self.host):
            raise ValueError("expected a host name, an address, or ws://HOST:PORT")
        if parts.port is None and "://" not in self.host:
            raise ValueError("the port is missing")

    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host
