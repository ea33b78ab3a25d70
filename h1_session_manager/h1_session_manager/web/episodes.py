# SPDX-License-Identifier: Apache-2.0
"""The page's way to the episodes: asks the reader's process, and the recorder's `episodes` for what changes a file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from h1_session_manager.upload.programs import ValidatorError, episodes_program

_ID = re.compile(r"training_session_epoch\d+/(\.discarded/)?episode_\d+\.hdf5")
_REPLY_S, _PROGRAM_S = 20.0, 120.0
OUTCOMES = ("success", "failure", "unlabeled")


class EpisodesError(Exception):
    """A request about an episode that cannot be carried out; the message is for the person."""


class Episodes:
    """One folder's episodes. All in one event loop.

    Args:
        save_dir: the folder.
        target: where they are uploaded to; empty: nowhere.
    """

    def __init__(self, save_dir: Path, target: str) -> None:
        self._save_dir, self._target = save_dir, target
        self._reader: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def listing(self) -> bytes:
        """All episodes, JSON; see `episode_reader.listing`."""
        return await self._ask("listing", str(self._save_dir), self._target)

    async def read(self, what: str, episode: str, *arguments: Any) -> bytes:
        """Of one episode `detail`, `images` or `thumbnail`: see the functions of that name in `episode_reader`."""
        return await self._ask(what, self._path(episode), *arguments)

    async def change(self, episode: str, what: str) -> str:
        """Label (`success`, `failure`, `unlabeled`), `discard`, `restore` or `validate`; returns what came of it."""
        path = self._path(episode)
        if what in OUTCOMES:
            return await self._run("label", "--outcome", what, path)
        if what in ("discard", "restore", "validate"):
            return await self._run(what, path)
        raise EpisodesError(f"'{what}' is nothing that can be done with an episode")

    async def close(self) -> None:
        """End the reader."""
        async with self._turn:
            await self._end_reader()

    def _path(self, episode: str) -> str:
        if not _ID.fullmatch(episode):
            raise EpisodesError(f"'{episode[:80]}' is no episode")
        return str(self._save_dir / episode)

    async def _ask(self, do: str, *arguments: Any) -> bytes:
        async with self._turn:
            try:
                return await asyncio.wait_for(self._exchange(do, arguments), _REPLY_S)
            except TimeoutError:
                await self._end_reader()
                raise EpisodesError(f"the reader of episodes took more than {_REPLY_S:.0f} s") from None
            except (OSError, ValueError, asyncio.IncompleteReadError) as error:
                await self._end_reader()
                raise EpisodesError(f"the reader of episodes ended: {error}") from None
            except asyncio.CancelledError:  # its reply would be taken for the next one's
                await self._end_reader()
                raise

    async def _exchange(self, do: str, arguments: tuple[Any, ...]) -> bytes:
        if self._reader is None:
            self._reader = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "h1_session_manager.web.episode_reader",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        stdin, stdout = self._reader.stdin, self._reader.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps({"do": do, "with": arguments}).encode() + b"\n")
        await stdin.drain()
        length, is_good = (int(word) for word in (await stdout.readline()).split())
        reply = await stdout.readexactly(length)
        if not is_good:
            raise EpisodesError(reply.decode(errors="replace"))
        return reply

    async def _end_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            with contextlib.suppress(ProcessLookupError):
                reader.kill()
            await reader.wait()

    async def _run(self, *arguments: str) -> str:
        try:
            program = str(episodes_program())
        except ValidatorError as error:
            raise EpisodesError(str(error)) from None
        process = await asyncio.create_subprocess_exec(
            "nice", "-n", "19", program, *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            output, _ = await asyncio.wait_for(process.communicate(), _PROGRAM_S)
        except (TimeoutError, asyncio.CancelledError) as error:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise EpisodesError(f"'episodes {arguments[0]}' took more than {_PROGRAM_S:.0f} s") from None
        text = output.decode(errors="replace").strip()
        if process.returncode:
            raise EpisodesError(text[-2000:] or f"'episodes {arguments[0]}' ended with status {process.returncode}")
        return text[-2000:]
