# SPDX-License-Identifier: Apache-2.0
"""What a policy server says of itself when it is connected to, checked, and compared with what it said before.

Each of openpi's servers chooses its own metadata, down to none; whatever they are, other ones than before are other
weights, or the same weights served otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from h1_policy_bridge.chunk import ARM_JOINTS, MAX_HORIZON, Expectation, flag
from h1_policy_bridge.layout import ObservationLayout
from h1_policy_bridge.link_errors import one_line

_HORIZON_KEYS = ("action_horizon", "horizon")
_MOST_ENTRIES = 64
_LONGEST_VALUE = 40
_LISTED_CHANGES = 3


class MetadataError(ValueError):
    """The server does not fit the configuration."""


@dataclass(frozen=True)
class ServerFacts:
    """What a server's metadata says of itself; 0 or empty where it is silent.

    Attributes:
        checkpoint: name of the weights that serve, fit for a terminal.
        takes_jpeg: images may be sent as JPEG files (`image_encodings` in the metadata holds `jpeg`).
        takes_remainder: it does real-time chunking with what is left of the previous chunk (`rtc` in the metadata).
        contents: all of the metadata but the flag of the end, an entry each, fit for a terminal.
    """

    action_dim: int = 0
    horizon: int = 0
    done: bool = False
    checkpoint: str = ""
    takes_jpeg: bool = False
    takes_remainder: bool = False
    contents: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The same for the same metadata; other metadata count as other weights."""
        return _hash(repr(sorted(self.contents.items())))


def read_metadata(metadata: Mapping[str, Any], expected: Expectation) -> ServerFacts:
    """The facts in a server's metadata. A stock openpi server says none of them, and is taken at its first reply.

    Raises:
        MetadataError: the server says that it does not fit.
    """
    action_dim = _count(metadata, "action_dim")
    horizon = next((_count(metadata, key) for key in _HORIZON_KEYS if key in metadata), 0)
    if action_dim and action_dim != expected.action_dim:
        raise MetadataError(
            f"the server's policy has {action_dim} values per action, this robot is configured for "
            f"{expected.action_dim} ({'with' if expected.action_dim > ARM_JOINTS else 'without'} hands); "
            "serve the matching checkpoint, or change robot.include_hands"
        )
    if horizon and expected.horizon and horizon != expected.horizon:
        raise MetadataError(
            f"the server's chunks have {horizon} actions, the configuration asks for {expected.horizon}"
        )
    if expected.layout is not None:
        _check_modalities(metadata.get("modalities"), expected.layout, expected.action_dim)
    checkpoint, encodings = metadata.get("checkpoint"), metadata.get("image_encodings")
    return ServerFacts(
        action_dim,
        horizon,
        flag(metadata, expected.done_field),
        one_line(checkpoint) if isinstance(checkpoint, str) else "",
        takes_jpeg="jpeg" in _names(encodings),
        takes_remainder=flag(metadata, "rtc"),
        contents=_contents(metadata, expected.done_field),
    )


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """What differs between the `contents` of two connections, for the operator; empty if nothing does."""
    differ = [key for key in dict.fromkeys((*before, *after)) if before.get(key) != after.get(key)]
    listed = [f"{key} {before.get(key, 'absent')} -> {after.get(key, 'absent')}" for key in differ[:_LISTED_CHANGES]]
    if more := len(differ) - len(listed):
        listed.append(f"{more} more")
    return "; ".join(listed)


def _contents(metadata: Mapping[str, Any], left_out: str) -> dict[str, str]:
    """Each entry fit for a line, with a hash where that is not all of it. A stranger's map may have any size."""
    entries = sorted((str(key), _canonical(value)) for key, value in metadata.items() if key != left_out)
    kept, rest = entries[:_MOST_ENTRIES], entries[_MOST_ENTRIES:]
    contents = {_printable(key): _printable(text) for key, text in kept}
    if rest:
        contents["other entries"] = f"{len(rest)} {_hash(repr(rest))}"
    return contents


def _canonical(value: Any) -> str:
    """Text that is the same for equal values, whatever the order of their keys."""
    if isinstance(value, Mapping):
        entries = sorted((str(key), _canonical(entry)) for key, entry in value.items())
        return "{" + ", ".join(f"{key}: {text}" for key, text in entries) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_canonical, value)) + "]"
    if isinstance(value, np.ndarray):
        return f"{value.dtype.str}{list(value.shape)} {_hash(value.tobytes())}"
    return str(value)


def _printable(text: str) -> str:
    line = one_line(text, _LONGEST_VALUE)
    return line if line == text else f"{line} ({_hash(text)})"


def _hash(content: str | bytes) -> str:
    data = content if isinstance(content, bytes) else content.encode(errors="surrogatepass")
    return hashlib.sha256(data).hexdigest()[:8]


def _check_modalities(modalities: Any, layout: ObservationLayout, action_dim: int) -> None:
    """GR00T's servers name what they look at and what they give: refuse before the first inference.

    Raises:
        MetadataError: something is wanted that no observation has, or not given that this robot needs.
    """
    if not isinstance(modalities, dict):
        return
    sent = {
        "video": [path[-1] for _, path in layout.images],
        "state": [part.path[-1] for part in layout.state if part.first < action_dim],
        "language": [layout.prompt[-1]] if layout.prompt else [],
    }
    for kind, ours in sent.items():
        if missing := [name for name in _names(modalities.get(kind)) if name not in ours]:
            raise MetadataError(
                f"the server's policy wants {kind} '{one_line(missing[0])}', the observation has "
                f"{', '.join(sorted(ours)) or 'none'}; write a mapping in 'observation_mapping'"
            )
    given = _names(modalities.get("action"))
    needed = [part.path[-1] for part in layout.actions if part.first < action_dim]
    if given and (missing := [name for name in needed if name not in given]):
        raise MetadataError(
            f"the server's policy gives no action '{missing[0]}', only {one_line(', '.join(given))}; "
            "write a mapping in 'observation_mapping'"
        )


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _count(metadata: Mapping[str, Any], key: str) -> int:
    value = metadata.get(key)
    if value is None:
        return 0
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or not 0 < value <= MAX_HORIZON:
        said = one_line(repr(value), 40)
        raise MetadataError(f"the server's metadata says {key} = {said}; expected a whole number above 0")
    return int(value)
