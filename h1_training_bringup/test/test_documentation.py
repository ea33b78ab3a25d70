"""What the documentation shows is generated from the code, and what it names exists.

Needs the repository around the package; an installed package alone has no README to check.
"""

import dataclasses
import re
import runpy
from pathlib import Path

import pytest

from h1_training_bringup.configuration import load
from h1_training_bringup.keys import NODES
from h1_training_node.parameter import from_values

PACKAGE = Path(__file__).resolve().parents[1]
REPOSITORY = PACKAGE.parent
README = (REPOSITORY / "README.md").read_text()


GENERATE = runpy.run_path(str(PACKAGE / "docs/generate.py"))


@pytest.mark.parametrize("part", list(GENERATE["parts"]()), ids=lambda part: part[1])
def test_what_a_page_shows_of_the_code_is_what_the_code_says(part: tuple[Path, str, str]) -> None:
    page, name, content = part
    assert GENERATE["replaced"](page.read_text(), name, content) == page.read_text(), "run: make docs"


def test_the_tables_hold_every_node_whose_parameters_a_file_may_set() -> None:
    assert set(GENERATE["CLASSES"]) == set(NODES)


@pytest.mark.parametrize("name", ["training_config.yaml", "sim.yaml"])
def test_the_parameters_in_our_files_are_those_in_the_tables(name: str) -> None:
    for node, parameters in load(PACKAGE / "config" / name).node_parameters.items():
        from_values(GENERATE["parameter_class"](node), parameters, owner=node)


@pytest.mark.parametrize("node", sorted(NODES))
def test_every_parameter_says_what_it_means(node: str) -> None:
    for field in dataclasses.fields(GENERATE["parameter_class"](node)):
        assert len(field.metadata["description"]) > 5, field.name


def test_every_file_that_a_page_links_to_exists() -> None:
    pages = [REPOSITORY / "README.md", *REPOSITORY.glob("h1_*/docs/*.md"), *REPOSITORY.glob("h1_*/README.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", README)) <= targets
