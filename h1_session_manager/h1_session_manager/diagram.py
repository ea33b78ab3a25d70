"""The README's picture of the session, drawn from the table.

`python -m h1_session_manager.diagram` prints it; `README.md` holds that text between ```mermaid fences.
"""

from __future__ import annotations

from h1_session_manager.table import ARMS, EMERGENCY, ROWS, Row, State


def mermaid() -> str:
    """The state table as a Mermaid `stateDiagram-v2`, one line a row, ending without a newline."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.STARTING.value}"]
    lines += [f"    {state.value} : {state.value} ({arms})" for state, arms in ARMS.items()]
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


if __name__ == "__main__":
    print(mermaid())
