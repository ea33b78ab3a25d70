"""One word for one thing: the words that were replaced do not come back (docs/glossary.md)."""

import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BANNED = re.compile(
    r"\b(?:house|room|mend(?:s|ed|ing)?|bears?|borne|anew|pictures?|told|tells?|news|farewell|refuge|stone|knock(?:s|ed)?"
    r"|led away|looks? on|looking on|whose turn|in step|beats?|(?:give|gives|given|giving|gave) back)\b",
    re.IGNORECASE,
)
BANNED_NAMES = re.compile(r"\b(?:Ear|Scissors|Desk|Course|Blackboard|HandNews|SessionNode)\b")
TEXT = {".py", ".md", ".msg", ".srv", ".yaml", ".yml", ".toml", ".xml", ".sh", ".bash", ".txt", ".js", ".css", ".html"}
SELF = "test_words.py"
SPOKEN = re.compile(r"looks? on (?:the|its)\b", re.IGNORECASE)
"""Ordinary English with one of the words in another sense."""


def ours() -> list[Path]:
    """Tracked files of text."""
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    paths = [REPOSITORY / line for line in listed.splitlines()]
    return [
        path for path in paths if path.is_file() and (path.suffix in TEXT or path.name in ("Makefile", "Dockerfile"))
    ]


def test_no_replaced_word_comes_back() -> None:
    found = []
    for path in ours():
        if path.name == SELF:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            text = SPOKEN.sub("", line)
            matches = (*BANNED.finditer(text), *BANNED_NAMES.finditer(text))
            found += [f"{path.relative_to(REPOSITORY)}:{number}: '{match[0]}'" for match in matches]
    assert not found, "docs/glossary.md has the word to use:\n" + "\n".join(found)
