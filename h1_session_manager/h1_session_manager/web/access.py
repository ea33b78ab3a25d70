# SPDX-License-Identifier: Apache-2.0
"""Who may use the page: two tokens of 128 bits, a cookie for each browser that showed one, and checks of every request.

A page on 127.0.0.1 is reached by every web site that its user visits, so the token alone is not enough: `Host` must be
an address or a known name (a site whose name is re-bound to 127.0.0.1 sends its own), and whatever changes something
or opens a socket must come from the page itself (`Origin`). Tokens are compared in constant time, wrong ones are few
a minute, and none is ever logged. A cookie is signed with its token, so that a page that was started again knows its
browsers.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from h1_training_node.page_tokens import TOKEN_BYTES, Role, Tokens

COOKIE = "h1_page"
_MOST_WRONG = 5
_WRONG_WITHIN_S = 60.0
_MOST_ADDRESSES = 256


class TooManyTriesError(Exception):
    """An address has shown too many wrong tokens; the argument is the time to wait, s."""


class Access:
    """Decides about requests; knows nothing of HTTP's libraries.

    Args:
        tokens: the page's.
        hosts: names (without port) under which the page may be asked for, beside IP addresses and `localhost`.
        clock_s: a steady clock.
    """

    def __init__(self, tokens: Tokens, hosts: frozenset[str], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._tokens = tokens
        self._hosts = hosts | {"localhost"}
        self._clock_s = clock_s
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def sign_in(self, token: str, address: str) -> str | None:
        """The value of a new cookie for a browser at `address` that shows `token`; None if the token is wrong.

        Raises:
            TooManyTriesError: the address has shown wrong ones lately, so that not even the right one counts now.
        """
        now_s, wrong = self._clock_s(), self._wrong.get(address, deque())
        while wrong and now_s - wrong[0] > _WRONG_WITHIN_S:
            wrong.popleft()
        if len(wrong) >= _MOST_WRONG:
            raise TooManyTriesError(_WRONG_WITHIN_S - (now_s - wrong[0]))
        role = self._tokens.role(token)
        if role is None:
            wrong.append(now_s)
            self._wrong[address] = wrong
            self._wrong.move_to_end(address)
            while len(self._wrong) > _MOST_ADDRESSES:
                self._wrong.popitem(last=False)
            return None
        nonce = secrets.token_hex(TOKEN_BYTES)
        return nonce + _signature(token, nonce)

    def role(self, cookie: str) -> Role | None:
        """What a browser with this cookie may do; None: it has to show a token first."""
        nonce, signature = cookie[: 2 * TOKEN_BYTES], cookie[2 * TOKEN_BYTES :]
        for role, token in ((Role.DRIVE, self._tokens.drive), (Role.LOOK, self._tokens.look)):
            if token and hmac.compare_digest(_signature(token, nonce).encode(), signature.encode()):
                return role
        return None

    def is_known_host(self, host: str) -> bool:
        """Whether the header `Host` names this page: an address, or a name that was allowed."""
        name = host.strip().lower()
        name = name.partition("]")[0].lstrip("[") if name.startswith("[") else name.rpartition(":")[0] or name
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return True

    def is_own_origin(self, origin: str, host: str, *, is_tls: bool) -> bool:
        """Whether the header `Origin` is the page that `Host` names."""
        return origin == f"{'https' if is_tls else 'http'}://{host}"


def _signature(token: str, nonce: str) -> str:
    return hmac.new(token.encode(), nonce.encode(), hashlib.sha256).hexdigest()
