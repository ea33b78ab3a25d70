# SPDX-License-Identifier: Apache-2.0
"""What the pages show of the session, drawn from the table: the README's image, and the operating guide's lists.

`python -m h1_session_manager.diagram` prints the diagram, `... keys`, `... services` and `... options` the lists.
"""

from __future__ import annotations

import sys

from h1_session_manager.states import ROWS, SERVICES, STATES
from h1_session_manager.table import EMERGENCY, Row, State
from h1_session_manager.upload import rsync_options


def mermaid() -> str:
    """The state table as a Mermaid `stateDiagram-v2`, one line a row, ending without a newline."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.STARTING.value}"]
    lines += [f"    {state.name.value} : {state.name.value} ({state.arms})" for state in STATES]
    merged: dict[tuple[State, str], list[str]] = {}
    for row in ROWS:
        if row.trigger != EMERGENCY:
            dest = row.dest.value if row.dest else "[*]"
            merged.setdefault((row.source, dest), []).append(_label(row))
    lines += [f"    {source.value} --> {dest} : {', '.join(labels)}" for (source, dest), labels in merged.items()]
    lines += [
        "    state any_state <<choice>>",
        f"    any_state --> {State.STOPPED.value} : q (but in {State.WAITING.value}), the remote's button, {EMERGENCY}",
    ]
    return "\n".join(lines)


def _label(row: Row) -> str:
    if not row.key:
        return row.trigger
    presses = " twice" if row.twice else ""
    condition = f" if {row.when.value}" if row.when.value else ""
    return f"{row.key}{presses} ({row.trigger}{condition})"


def keys() -> str:
    """Every key by state, with its service, as a Markdown table."""
    rows = ["| state | arms | key | service | what it does |", "|---|---|---|---|---|"]
    known: set[tuple[State, str]] = set()
    for state in STATES:
        for row in ROWS:
            if row.source is state.name and row.key and (state.name, row.key) not in known:
                known.add((state.name, row.key))
                key = f"`{row.key}`{' twice' if row.twice else ''}"
                says = "skip; uploads what is owed, if anything is" if row.trigger == "skip" else row.says
                rows.append(f"| {state.name.value} | {state.arms} | {key} | `{row.trigger}` | {says} |")
    return "\n".join(rows)


def services() -> str:
    """A line for each service, to copy."""
    lines = (f"ros2 service call /session_manager/{name} std_srvs/srv/Trigger" for name in (*SERVICES, "preflight"))
    return "\n".join(lines)


if __name__ == "__main__":
    printed = {"diagram": mermaid, "keys": keys, "services": services, "options": rsync_options.markdown}
    print(printed[(sys.argv[1:] or ["diagram"])[0]]())
