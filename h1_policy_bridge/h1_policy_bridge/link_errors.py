# SPDX-License-Identifier: Apache-2.0
"""How a connection to a policy server fails, in words for the operator: one place for all protocols.

What a server writes is made fit for a terminal and a log: no control sequences, no megabytes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

LINE = 200
_LOG = 16_000


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
        elsewhere = one_line(location or "elsewhere")
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
        raise LinkError(f"{broken_words}: {one_line(str(error)) or type(error).__name__}") from None


def one_line(text: str, longest: int = LINE) -> str:
    """`text` as one printable line of at most `longest` characters."""
    plain = "".join(character if character.isprintable() else " " for character in text[: 4 * longest])
    plain = " ".join(plain.split())
    return plain if len(plain) <= longest else plain[: longest - 3] + "..."


def for_log(text: str) -> str:
    """`text` with its lines, else printable; of a long one the beginning and the end."""
    if len(text) > _LOG:
        text = f"{text[: _LOG // 2]}\n... {len(text) - _LOG} characters left out ...\n{text[-_LOG // 2 :]}"
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)


def cause_line(text: str) -> str:
    """The line of a server's error text that says what went wrong: of a traceback that is the exception's own."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "it did not say what"
    if not lines[0].startswith("Traceback (most recent call last)"):
        return one_line(lines[0])
    raised = [line for line in text.splitlines() if re.match(r"[A-Za-z_][\w.]*(:|$)", line)]
    return one_line(raised[-1] if raised else lines[-1])
