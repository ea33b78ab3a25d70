"""What the documentation shows is generated from the code, and what it names exists.

Needs the repository around the package; an installed package alone has no README to check.
"""

import re
import subprocess
import sys
from pathlib import Path

from h1_training_bringup.keys import markdown_table

PACKAGE = Path(__file__).resolve().parents[1]
REPOSITORY = PACKAGE.parent
README = (REPOSITORY / "README.md").read_text()


def test_the_readmes_picture_of_the_states_is_the_state_table() -> None:
    command = [sys.executable, "-m", "h1_session_manager.diagram"]
    diagram = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert f"```mermaid\n{diagram}\n```" in README


def test_the_table_of_keys_is_the_table_that_checks_them() -> None:
    assert markdown_table() in (PACKAGE / "docs/configuration.md").read_text()


def test_every_file_that_a_page_links_to_exists() -> None:
    pages = [REPOSITORY / "README.md", *REPOSITORY.glob("h1_*/docs/*.md"), *REPOSITORY.glob("h1_*/README.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", README)) <= targets
