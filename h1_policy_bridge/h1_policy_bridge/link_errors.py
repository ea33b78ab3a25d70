# SPDX-License-Identifier: Apache-2.0
"""How a connection to a policy server fails, in words for the operator: one place for all protocols."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from h1_policy_bridge import server_text


class LinkError(Exception):
    """The connection cannot be made, or is lost; the message is for the operator."""


class DeadlineError(Exception):
    """The deadline passed before the operation was over."""


class TooMuchError(Exception):
    """The peer sent more bytes than it may."""


class InterruptedWait(Exception):  # noqa: N818 - it reports no error
    """Another thread asked for attention. Nothing is lost: the read may be continued where it was."""


_HINTS = {
    401: "check the API key",
    403: "check the API key",
    502: "the proxy reaches no policy server behind it",
    503: "the proxy reaches no policy server behind it",
    504: "the proxy reaches no policy server behind it",
}


def bad_status(url: str, status: int, location: str | None, *, to: str, hint: str) -> LinkError:
    """What an HTTP status other than the right one means.

    Args:
        url: that was asked.
        status: the answer's.
        location: its header of that name; a redirection is not followed: it would carry the key elsewhere.
        to: what it answered to, for instance ` instead of a WebSocket handshake`.
        hint: what to check if nothing better is known.
    """
    if status // 100 == 3:
        elsewhere = server_text.one_line(location or "elsewhere")
        return LinkError(f"{url} redirects to {elsewhere}, which is not followed; set that URL")
    return LinkError(f"{url} answered HTTP {status}{to}; {_HINTS.get(status, hint)}")


@contextlib.contextmanager
def link_errors(
    largest: int,
    *,
    late: str = "",
    too_much: str = "",
    closed: tuple[type[Exception], ...] = (ConnectionError,),
    broken: tuple[type[Exception], ...] = (OSError, ValueError),
    broken_words: str = "the connection to the policy server broke",
) -> Iterator[None]:
    """What a library and the system raise, as `LinkError`.

    Args:
        largest: bytes that a message may have.
        late: says that the deadline passed; empty: `DeadlineError` passes.
        too_much: says that more came than may; empty: that a message has no end.
        closed: means that the server closed the connection.
        broken: means anything else that ends the connection; its own words follow `broken_words`.
    """
    try:
        yield
    except (LinkError, InterruptedWait):
        raise
    except DeadlineError:
        if not late:
            raise
        raise LinkError(late) from None
    except TooMuchError:
        words = too_much or f"the policy server sent a message without end; at most {largest} are read"
        raise LinkError(words) from None
    except closed:
        raise LinkError("the policy server closed the connection") from None
    except broken as error:
        raise LinkError(f"{broken_words}: {server_text.one_line(str(error)) or type(error).__name__}") from None
