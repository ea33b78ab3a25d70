# SPDX-License-Identifier: Apache-2.0
"""One word for one thing: the words that were replaced do not come back (docs/glossary.md)."""

import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
WORDS = (
    *("house", "rooms?", "mend(?:s|ed|ing)?", "bears?|borne", "anew", "pictures?", "told|tells?|telling", "news"),
    *("speaks?|speaking|spoken|spoke", "farewells?", "refuges?", "stones?", "knock(?:s|ed|ing)?", "led[ _]away"),
    *("look(?:s|ed|ing)?[ _]on", "whose[ _]turn", "in[ _]step", "beats?", "(?:give|gives|given|giving|gave)[ _]back"),
    *("(?:take|takes|taking|took|taken) (?:back )?the arms", "afterwards", "droppable"),
)
BANNED = re.compile(rf"(?<![A-Za-z])(?:{'|'.join(WORDS)})(?![A-Za-z])", re.IGNORECASE)
"""Also where a name joins words by underscores."""
BANNED_NAMES = re.compile(
    r"\b(?:Ear|Scissors|Desk|Course|World|Blackboard|HandNews|SessionNode)\b|\bclass Peers\b"
    r"|\b(?:def|class|self\.)\s*_?(?:shown|watch|reserve)\b"
)
BANNED_FILES = {"machine.py", "afterwards.py", "utils.py", "helpers.py", "common.py"}
TEXT = {
    ".py",
    ".md",
    ".msg",
    ".srv",
    ".yaml",
    ".yml",
    ".toml",
    ".xml",
    ".sh",
    ".bash",
    ".txt",
    ".js",
    ".css",
    ".html",
    ".rst",
}
SELF = "test_words.py"
FIXED = re.compile(r"Press 'y' to take the arms|take the arms and move|speechSynthesis\.speak")
"""The operator's line, word for word, and a browser's own name."""


def tracked() -> list[Path]:
    """Files that git tracks and that are there."""
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return [path for path in map(REPOSITORY.joinpath, listed.splitlines()) if path.is_file()]


def test_no_replaced_word_comes_back() -> None:
    found = []
    for path in tracked():
        if (path.suffix not in TEXT and path.name not in ("Makefile", "Dockerfile")) or path.name == SELF:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            text = FIXED.sub("", line)
            matches = (*BANNED.finditer(text), *BANNED_NAMES.finditer(text))
            found += [f"{path.relative_to(REPOSITORY)}:{number}: '{match[0]}'" for match in matches]
        found += [f"{path.relative_to(REPOSITORY)}: its name"] if path.name in BANNED_FILES else []
    assert not found, "docs/glossary.md has the word to use:\n" + "\n".join(found)


def test_every_file_of_ours_names_its_licence() -> None:
    suffixes = TEXT - {".rst"} | {".urdf", ".rviz", ".repos", ".cfg"}
    listed = [path for path in tracked() if path.suffix in suffixes or path.name in ("Makefile", "Dockerfile", "run")]
    assert len(listed) > 500
    unnamed = []
    for path in listed:
        licence = "BSD-3-Clause" if "underlay/unitree_hg/msg" in str(path) else "Apache-2.0"
        if f"SPDX-License-Identifier: {licence}" not in "".join(path.read_text().splitlines()[:4]):
            unnamed.append(str(path.relative_to(REPOSITORY)))
    assert not unnamed, "first line, after a shebang: SPDX-License-Identifier: Apache-2.0"
