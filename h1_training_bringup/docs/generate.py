# SPDX-License-Identifier: Apache-2.0
"""Writes what pages show of the code: the tables of docs/configuration.md, the diagram and tables of operating.md.

`make docs` runs it; a test says when it is due. A generated part stands between `<!-- NAME: begin -->` and its `end`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from h1_training_bringup.session.keys import markdown_row, markdown_table
from h1_training_bringup.session.node_parameters import CLASSES, parameter_fields

PACKAGE = Path(__file__).resolve().parents[1]
OPERATING = PACKAGE.parent / "h1_session_manager/docs/operating.md"
CONFIGURATION = PACKAGE / "docs/configuration.md"


def table(node: str) -> str:
    """The parameters of `node` as a Markdown table."""
    rows = [f"### {node}", "", "| parameter | default | unit | range | meaning |", "|---|---|---|---|---|"]
    return "\n".join([*rows, *(markdown_row(name, about) for name, about in parameter_fields(node).items())])


def parts() -> Iterator[tuple[Path, str, str]]:
    """Every generated part: page, name, and what has to stand there."""
    yield CONFIGURATION, "keys", markdown_table()
    yield CONFIGURATION, "nodes", "\n\n".join(table(node) for node in CLASSES)
    yield OPERATING, "states", f"```mermaid\n{_session('diagram')}\n```"
    yield OPERATING, "keys", _session("keys")
    yield OPERATING.with_name("console.md"), "options", _session("options")
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
