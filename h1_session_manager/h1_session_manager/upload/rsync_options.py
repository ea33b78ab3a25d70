# SPDX-License-Identifier: Apache-2.0
"""The options of rsync that a session allows, and what each does to the proof that an upload was complete.

rsync has synonyms and abbreviations for most of its options, so that a list of what is refused never ends: an old
alias of one that deletes the source was accepted that way. What is not in this table is refused by name before
anything starts. `-e` names the remote shell and is handed on apart.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

_NONE = "none: the checksums that are compared at the end do not depend on it"
_ATTRIBUTES = "none: only contents are compared"
_OURS = "none: the session has its own, and leaves this out"

ALLOWED: dict[str, str] = {
    **dict.fromkeys(("-v", "--verbose", "-q", "--quiet", "--stats"), "none: what is printed besides"),
    **dict.fromkeys(("--progress", "-P", "--partial", "-h", "--human-readable", "--no-h"), _OURS),
    **dict.fromkeys(("-a", "--archive", "-r", "--recursive", "-l", "--links", "-D"), _NONE),
    **dict.fromkeys(("-t", "--times", "--no-times", "-O", "--omit-dir-times"), _ATTRIBUTES),
    **dict.fromkeys(("-p", "--perms", "--no-perms", "--no-p", "--chmod=", "--executability", "-E"), _ATTRIBUTES),
    **dict.fromkeys(("-o", "--owner", "--no-owner", "--no-o", "-g", "--group", "--no-group", "--no-g"), _ATTRIBUTES),
    **dict.fromkeys(("--chown=", "--usermap=", "--groupmap=", "--numeric-ids"), _ATTRIBUTES),
    **dict.fromkeys(("-z", "--compress", "--compress-level=", "--compress-choice=", "--skip-compress="), _NONE),
    **dict.fromkeys(("-W", "--whole-file", "--no-whole-file", "-S", "--sparse", "--preallocate", "--fsync"), _NONE),
    **dict.fromkeys(("-c", "--checksum"), "none, but that each file is read once more on both sides"),
    "--checksum-choice=": "the checksum that both sides compare; 'none' is refused",
    **dict.fromkeys(
        ("--bwlimit=", "-4", "--ipv4", "-6", "--ipv6", "--address=", "--sockopts=", "--contimeout="), _NONE
    ),
    **dict.fromkeys(("--port=", "--password-file=", "--rsync-path=", "--mkpath", "-s", "--secluded-args"), _NONE),
}
"""By option (with `=` if it has a value): its effect on the proof."""
_LEFT_OUT = frozenset({"--progress", "-P", "--partial", "-h", "--human-readable", "--no-h"})
_WHY = {
    "-n": "sends nothing",
    "--dry-run": "sends nothing",
    "--timeout": "is nodes.session_manager.rsync_timeout_s here",
    **dict.fromkeys(
        ("--exclude", "--include", "--filter", "-f", "-F", "--exclude-from", "--include-from", "-C", "--max-size"),
        "leaves files out, which would be owed for ever",
    ),
    **dict.fromkeys(
        ("-u", "--update", "--ignore-existing", "--existing", "--size-only", "-I", "--append"),
        "leaves files at the target that differ",
    ),
}
"""What may be expected by people, and why it is not allowed; all others are refused without a reason of their own."""


class RsyncOptionError(ValueError):
    """An option that cannot be used; the message says what follows the name of the parameter or key."""


@dataclass(frozen=True)
class RsyncOptions:
    """Options taken apart: what rsync itself gets, and the remote shell, e.g. `ssh -p 2222` (empty: ssh)."""

    words: tuple[str, ...]
    shell: str = ""


def parse_options(text: str) -> RsyncOptions:
    """Options as on rsync's command line, each of them allowed.

    Raises:
        RsyncOptionError: one that is not, or that is none; names it.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise RsyncOptionError(f"is '{text}', which cannot be split into options: {error}") from None
    kept: list[str] = []
    shell = ""
    remaining = iter(words)
    for word in remaining:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            if name == "--rsh":
                shell = value or next(remaining, "")
            elif not equals and f"{name}=" in ALLOWED:
                kept.append(_long(name, "=", next(remaining, "")))
            else:
                kept.append(_long(name, equals, value))
        elif word.startswith("-") and len(word) > 1:
            letters, e, rest = word[1:].partition("e")
            kept += [_checked(f"-{letter}") for letter in letters]
            if e:
                shell = rest or next(remaining, "")
        else:
            raise RsyncOptionError(f"holds '{word}', which is no option (write --name=value)")
    try:
        shlex.split(shell)
    except ValueError as error:
        raise RsyncOptionError(f"names a remote shell that cannot be split: {error}") from None
    return RsyncOptions(tuple(word for word in kept if word not in _LEFT_OUT), shell)


def _long(name: str, equals: str, value: str) -> str:
    _checked(f"{name}{equals}")
    if equals and not value:
        raise RsyncOptionError(f"holds '{name}' without its value: write {name}=VALUE")
    if name == "--checksum-choice" and "none" in value:
        raise RsyncOptionError(
            f"holds '{name}={value}', which is not allowed: without checksums nothing proves an upload"
        )
    return f"{name}{equals}{value}"


def _checked(option: str) -> str:
    if option not in ALLOWED:
        name = option.rstrip("=")
        why = f": it {_WHY[name]}" if name in _WHY else "; the guide (console.md, Upload) lists those that are"
        raise RsyncOptionError(f"holds '{name}', which is not allowed{why}")
    return option


def markdown() -> str:
    """The table of the guide: option, effect on the proof."""
    effects: dict[str, list[str]] = {}
    for option, effect in ALLOWED.items():
        effects.setdefault(effect, []).append(f"`{option}`")
    rows = [f"| {', '.join(options)} | {effect} |" for effect, options in effects.items()]
    return "\n".join(["| options | effect on the proof |", "|---|---|", *rows])
