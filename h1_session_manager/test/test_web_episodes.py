# SPDX-License-Identifier: Apache-2.0
"""What a page may do with an episode goes through the recorder's own `episodes` verbs, on the file."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
from web_page import WAIT_S, Served, served, write_episode

EPISODE = "training_session_epoch1/episode_0.hdf5"
DISCARDED = "training_session_epoch1/.discarded/episode_0.hdf5"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Served]:
    write_episode(tmp_path / EPISODE)
    with served(tmp_path) as page:
        yield page


def changed(page: Served, episode: str, what: str) -> dict[str, object]:
    """The page's answer to `what`."""
    wanted = {"episode": episode, "what": what}
    answer = page.signed_in().post(
        f"{page.base}/api/change", json=wanted, headers={"origin": page.base}, timeout=4 * WAIT_S
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def test_an_outcome_gets_into_the_file(page: Served, tmp_path: Path) -> None:
    assert changed(page, EPISODE, "failure")["success"]
    with h5py.File(tmp_path / EPISODE) as file:
        assert file.attrs["outcome"] == "failure"


def test_an_episode_that_is_discarded_can_be_restored(page: Served, tmp_path: Path) -> None:
    assert changed(page, EPISODE, "discard")["success"]
    assert not (tmp_path / EPISODE).exists() and (tmp_path / DISCARDED).exists()
    (listed,) = page.signed_in().get(f"{page.base}/api/episodes", timeout=WAIT_S).json()
    assert (listed["id"], listed["is_discarded"]) == (DISCARDED, True)
    assert changed(page, DISCARDED, "restore")["success"]
    assert (tmp_path / EPISODE).exists() and not (tmp_path / DISCARDED).exists()


def test_an_episode_that_does_not_validate_is_named_with_the_reason(page: Served) -> None:
    answer = changed(page, EPISODE, "validate")
    assert not answer["success"] and "episode_0.hdf5" in str(answer["message"])


def test_what_cannot_be_done_changes_nothing(page: Served, tmp_path: Path) -> None:
    before = (tmp_path / EPISODE).read_bytes()
    assert not changed(page, EPISODE, "delete")["success"]
    assert not changed(page, "../../etc/passwd", "discard")["success"]
    assert not changed(page, DISCARDED, "restore")["success"]
    assert (tmp_path / EPISODE).read_bytes() == before
