"""Writes anew what pages show of the code: the tables of docs/configuration.md, the README's picture of the states.

`make docs` runs it; a test says when it is due. A generated part stands between `<!-- NAME: begin -->` and its `end`.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from h1_training_bringup.session.keys import markdown_table

PACKAGE = Path(__file__).resolve().parents[1]
README = PACKAGE.parent / "README.md"
OPERATING = PACKAGE.parent / "h1_session_manager/docs/operating.md"
CONFIGURATION = PACKAGE / "docs/configuration.md"

CLASSES = {
    "arm_driver": "h1_training_bringup.arm_driver.parameters:ArmParameters",
    "arm_guard": "h1_training_bringup.arm_driver.parameters:GuardParameters",
    "head_camera": "h1_training_bringup.head_camera.head_camera_parameters:HeadCameraParameters",
    "inspire_driver": "h1_inspire_driver.parameters:DriverParameters",
    "policy_bridge": "h1_policy_bridge.parameters:BridgeParameters",
    "recorder": "h1_recorder.recorder.parameters:RecorderParameters",
    "session_manager": "h1_session_manager.parameters:SessionParameters",
    "keyboard": "h1_session_manager.parameters:KeyboardParameters",
    "console": "h1_session_manager.parameters:ConsoleParameters",
}
"""By node, what it reads. Whoever is in `keys.NODES` is here."""


def parameter_class(node: str) -> type[Any]:
    """The dataclass of the parameters of `node`."""
    module, _, name = CLASSES[node].partition(":")
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


def table(node: str) -> str:
    """The parameters of `node` as a Markdown table."""
    rows = [f"### {node}", "", "| parameter | default | unit | range | meaning |", "|---|---|---|---|---|"]
    for field in dataclasses.fields(parameter_class(node)):
        about = field.metadata
        rows.append(
            f"| `{field.name}` | {_default(field.default)} | {about['unit']} | {_range(about)} "
            f"| {about['description'].replace('|', '/')} |"
        )
    return "\n".join(rows)


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`" if str(value) else ""


def _range(about: Any) -> str:
    if about["choices"]:
        return ", ".join(about["choices"])
    low, high = about["low"], about["high"]
    if low is None and high is None:
        return ""
    return f"{'' if low is None else f'{low:g}'} … {'' if high is None else f'{high:g}'}".strip()


def parts() -> Iterator[tuple[Path, str, str]]:
    """Every generated part: page, name, and what has to stand there."""
    yield CONFIGURATION, "keys", markdown_table()
    yield CONFIGURATION, "nodes", "\n\n".join(table(node) for node in CLASSES)
    yield README, "states", f"```mermaid\n{_session('picture')}\n```"
    yield OPERATING, "keys", _session("keys")
    by_hand = "<!-- run: by hand, each asks the session for something else -->"
    yield OPERATING, "services", f"{by_hand}\n```bash\n{_session('services')}\n```"


def _session(what: str) -> str:
    command = [sys.executable, "-m", "h1_session_manager.diagram", what]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def replaced(text: str, name: str, content: str) -> str:
    """`text` with its part `name` replaced by `content`.

    Raises:
        ValueError: it has no such part, or more than one.
    """
    marked = re.compile(rf"(<!-- {name}: begin[^>]*-->\n).*?(\n<!-- {name}: end -->)", re.DOTALL)
    found, count = marked.subn(lambda match: match[1] + content + match[2], text)
    if count != 1:
        raise ValueError(f"expected one part '{name}', found {count}")
    return found


def main() -> None:
    for page, name, content in parts():
        page.write_text(replaced(page.read_text(), name, content))


if __name__ == "__main__":
    main()
