# SPDX-License-Identifier: Apache-2.0
"""Read each interface once a build. Python imports this at its start, where bootstrap.py puts its folder on PYTHONPATH.

Six generators of rosidl run one after the other, and each parses every .idl file with a general (Earley) grammar, which
is most of their time. What the first has parsed is kept for the others, in the folder of the build.
"""

import hashlib
import os
import pickle
import sys
from pathlib import Path

FOLDER_VARIABLE = "H1_PARSED_INTERFACES"


def keep_parsed(folder: Path) -> None:
    """Have `rosidl_parser` look in `folder` first; it parses what is not there, and keeps it by the text's hash."""
    from rosidl_parser import parser

    parse = parser.parse_idl_string

    def parse_once(idl_string: str, png_file: str | None = None) -> object:
        path = folder / hashlib.sha256(idl_string.encode()).hexdigest()
        if path.exists():
            return pickle.loads(path.read_bytes())
        content = parse(idl_string, png_file)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(pickle.dumps(content))
        unfinished.rename(path)
        return content

    folder.mkdir(parents=True, exist_ok=True)
    parser.parse_idl_string = parse_once


if FOLDER_VARIABLE in os.environ and any("/rosidl_" in word for word in sys.orig_argv[:2]):
    keep_parsed(Path(os.environ[FOLDER_VARIABLE]))
