# SPDX-License-Identifier: Apache-2.0
"""What the documentation shows is generated from the code, and what it names exists.

Needs the repository around the package; an installed package alone has no README to check.
"""

import re
import runpy
import shutil
from pathlib import Path

import pytest

from h1_training_bringup.session.node_parameters import CLASSES, parameter_fields

PACKAGE = Path(__file__).resolve().parents[1]
REPOSITORY = PACKAGE.parent
README = (REPOSITORY / "README.md").read_text()


Capture = pytest.CaptureFixture[str]
GENERATE = runpy.run_path(str(PACKAGE / "docs/generate.py"))


@pytest.mark.parametrize("part", list(GENERATE["parts"]()), ids=lambda part: part[1])
def test_what_a_page_shows_of_the_code_is_what_the_code_says(part: tuple[Path, str, str]) -> None:
    page, name, content = part
    assert GENERATE["replaced"](page.read_text(), name, content) == page.read_text(), "run: make docs"


@pytest.mark.parametrize("node", sorted(CLASSES))
def test_every_parameter_says_what_it_means(node: str) -> None:
    for name, about in parameter_fields(node).items():
        assert len(about.description) > 5, name


CHECK = runpy.run_path(str(PACKAGE / "docs/check.py"))
PAGES = CHECK["pages"]()


def anchors(page: Path) -> set[str]:
    """What a link can lead to in a page, as GitHub makes it from the headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_file_and_heading_that_a_page_links_to_exists(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        linked = (page.parent / target) if target else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_command_that_a_page_shows_says_how_it_is_checked(page: Path) -> None:
    fences = re.findall(r"^```(\w*)$", page.read_text(), re.MULTILINE)
    assert all(fences[::2]) and not any(fences[1::2]), "every block names its language"
    found = list(CHECK["blocks"](page))
    assert sum("```bash" in line for line in page.read_text().splitlines()) == len(found)
    for block in found:
        assert block.how in (*CHECK["HERE"], *CHECK["IN_SESSION"]) or block.how.startswith("by hand, "), block.commands


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = {REPOSITORY / "README.md"}
    for _ in PAGES:
        texts = [(page, page.read_text()) for page in linked if page.suffix == ".md"]
        linked |= {
            (page.parent / target).resolve() for page, text in texts for target in re.findall(r"\]\(([^)#:]+)", text)
        }
    assert {page for page in PAGES if page not in linked} == set()


@pytest.mark.parametrize(
    ("command", "same"),
    [
        ("ros2 service call /session_manager/stop std_srvs/srv/Trigger", "session stop"),
        ("ros2 run h1_recorder episodes info FILE", "episodes info FILE"),
        ("ros2 topic hz /lowstate", None),
    ],
)
def test_a_command_of_ros2cli_is_run_by_what_does_the_same(command: str, same: str | None) -> None:
    assert CHECK["without_ros2cli"](command) == same


def test_the_readmes_program_reads_an_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    shutil.copy(REPOSITORY / "h1_recorder/test/data/format_1.hdf5", tmp_path / "episode_0.hdf5")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "README.md", "exec"), {})
    assert capsys.readouterr().out == "pick up the block success 20 10\n"


def test_the_readme_is_of_a_length_that_is_read() -> None:
    assert 250 <= len(README.split()) <= 1100


def test_the_ways_through_the_code_name_files_and_functions_that_there_are() -> None:
    page = (PACKAGE / "docs/how_it_works.md").read_text()
    ways = page[page.index("## Four ways") : page.index("## Record first")]
    sources = [path for path in REPOSITORY.glob("h1_*/**/*.py") if "/test/" not in str(path)]
    steps = re.findall(r"^\d+\. `([\w/]+\.py)`(.*)$", ways, re.MULTILINE)
    assert len(steps) > 40
    for file, text in steps:
        named = [path for path in sources if str(path).endswith(f"/{file}")]
        assert named, file
        for function in re.findall(r"`(?:\w+\.)?([a-z_]+)`", text.split(" by `")[0].split(" on `")[0]):
            assert any(re.search(rf"def {function}\b", path.read_text()) for path in named), f"{file}: {function}"


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", README)) <= targets
