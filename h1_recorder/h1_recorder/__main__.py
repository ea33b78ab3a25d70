# SPDX-License-Identifier: Apache-2.0
"""The `episodes` command: look at, check, recover, label, discard and restore episodes. Needs no ROS but for `replay`.

python -m h1_recorder VERB ...        or        ros2 run h1_recorder episodes VERB ...
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from functools import cache

from h1_recorder.recorder.jobs import CHILD_OPTION, arguments_for_child

MODULES = ("inspection", "repair", "drawing", "replay", "diff", "export", "lineage")
"""Of `commands`, with the verbs in the order in which they are listed."""


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; returns its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a damaged file may hold any text
    parser = _parser()
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == [CHILD_OPTION]:  # of a recorder: everything is imported, and it says what to do
        job = arguments_for_child(int(arguments[1]))
        if job is None:
            return 0
        status = _run(parser, job)
        sys.stdout.flush()
        os._exit(status)  # nothing is left to tidy up, and somebody waits for the exit
    return _run(parser, arguments)


@cache
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="episodes", description="Look at, check and repair episodes.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for module in MODULES:
        for verb in importlib.import_module(f"h1_recorder.commands.{module}").VERBS:
            its = verbs.add_parser(verb.name, help=verb.help, description=verb.run.__doc__)
            verb.add_arguments(its)
            its.add_argument("--json", action="store_true", help="one JSON object a line")
            its.add_argument("--allow-empty", action="store_true", help="that nothing is found is no fault")
            its.set_defaults(run=verb.run)
    return parser


def _run(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    parsed = parser.parse_args(arguments)
    try:
        status = int(parsed.run(parsed))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has enough (`... | head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
