"""The `episodes` command: look at, check, recover and label episodes. Needs no ROS.

python -m h1_recorder VERB ...        or        ros2 run h1_recorder episodes VERB ...
"""

from __future__ import annotations

import argparse
import importlib
import sys

from h1_recorder.save_process import become_child_of

VERBS = ("info", "list", "validate", "recover", "label")
_CHILD = ("recover", "label")


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; returns its exit status."""
    parser = argparse.ArgumentParser(prog="episodes", description="Look at, check, recover and label episodes.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name in VERBS:
        module = importlib.import_module(f"h1_recorder.commands.{name}")
        verb = verbs.add_parser(name, help=module.HELP, description=module.__doc__)
        module.add_arguments(verb)
        verb.add_argument("--json", action="store_true", help="one JSON object a line")
        if name in _CHILD:
            verb.add_argument("--child-of", type=int, help=argparse.SUPPRESS)
        verb.set_defaults(run=module.run)
    parsed = parser.parse_args(arguments)
    if getattr(parsed, "child_of", None) is not None and not become_child_of(parsed.child_of):
        return 1
    return int(parsed.run(parsed))


if __name__ == "__main__":
    sys.exit(main())
