# SPDX-License-Identifier: Apache-2.0
"""The journal: every message of an episode, raw as received, on its way to the disk the moment it arrives.

Three threads share it. Its writer has what has come taken every 12.5 ms, and hands it to the kernel: from then on it
survives the death of this process. While the disk holds the writer up, whoever calls `append` fills a queue. A third
thread calls `fsync` once a second, which may take as long as the disk likes; what the machine's own death can cost is
therefore about a second.

The file is an MCAP without chunks, each record whole by one write: cut anywhere, it is good up to its last whole
record, and no buffer of this process holds anything back (https://mcap.dev/spec). The queue is bounded by bytes; a
message that finds it full is dropped and counted, never waited for.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from h1_recorder.episode.folder import DISCARDED, discard, rescue_path
from h1_recorder.episode.info import END_RECORD, OVERFLOW_RECORD, START_RECORD, EpisodeEnd, EpisodeInfo
from h1_recorder.recorder.filesystem import sync_folder
from h1_recorder.recorder.mcap_file import McapFile

_SYNC_PERIOD_S = 1.0
_PAUSE_S = 0.0125
"""Of the writer, between two looks; a kill costs what came since the last one, and may cost 20 ms. Every look costs it
0.2 ms, most of them for asking each subscription. To be woken for each of 300 messages a second costs 1 % of a core
more; a thread that receives and another that writes 0.6 %."""

Arrival = tuple[int, str, bytes]
"""A message: session time of its reception in ns, name of its stream, serialized as received."""


@dataclass(frozen=True)
class Channel:
    """What a journal has to know of a topic.

    Attributes:
        name: of the stream.
        topic: fully resolved, as players are to publish it.
        type: e.g. `std_msgs/msg/String`.
        schema: full `ros2msg` definition.
        offered_qos: YAML list of the publishers' QoS profiles, as rosbag2 writes it.
    """

    name: str
    topic: str
    type: str
    schema: str
    offered_qos: str


class Journal:
    """An open journal. `append` from any one thread at a time; everything else happens behind it.

    Args:
        path: of the new file; it must not exist.
        info: what the episode is about; the file's first record.
        channels: the streams known so far.
        queue_bytes: how much may wait for the disk.
        take: is called in the writer's thread before each look; appends what has come.
        fallback: folder for the journal if its own has vanished when it ends and cannot be made again.

    Attributes:
        path: of the file; another than the one given if the file was moved, or vanished and was written again.

    Raises:
        OSError: the file cannot be made, or its first records not be written (then there is no file).
    """

    def __init__(
        self,
        path: Path,
        info: EpisodeInfo,
        channels: tuple[Channel, ...],
        *,
        queue_bytes: int,
        take: Callable[[], None] = lambda: None,
        fallback: Path | None = None,
    ) -> None:
        self.path = path
        self._take = take
        self._fallback = fallback
        self._queue_bytes = queue_bytes
        self._file = McapFile(path, profile="ros2", library="h1_recorder")
        self._channel_ids: dict[str, int] = {}
        self._schema_ids: dict[str, int] = {}
        try:
            self._file.add_metadata(START_RECORD, info.to_record())
            for channel in channels:
                self._number(channel)
                self._register(channel)
        except OSError:
            self._file.close()
            path.unlink(missing_ok=True)
            raise
        self._queue: deque[tuple[Sequence[Arrival], int] | Channel | EpisodeEnd] = deque()
        self._taken_bytes = 0  # counted by whoever appends
        self._written_bytes = 0  # counted by the writer
        self._ending = False
        self._drops: Counter[str] = Counter()
        self._error: str | None = None
        self._closed = threading.Event()
        self._moving = threading.Lock()
        threading.Thread(target=self._write_all, name="journal-writer", daemon=True).start()
        threading.Thread(target=self._sync_all, name="journal-sync", daemon=True).start()

    # ---- from the node's thread

    def append(self, messages: Sequence[Arrival]) -> int:
        """Hand over messages; those that the queue has no space for are dropped, and all if the journal has ended.

        Args:
            messages: of streams whose channels are known, in the order of their times.

        Returns:
            How many were not dropped.
        """
        accepted, size = messages, sum([len(raw) for _, _, raw in messages])
        space = 0 if self._ending or self._error else self._queue_bytes - self.bytes_waiting
        if size > space:
            accepted, size = self._fitting(messages, space)
        if accepted:
            self._taken_bytes += size
            self._queue.append((accepted, size))
        return len(accepted)

    def _fitting(self, messages: Sequence[Arrival], space: int) -> tuple[list[Arrival], int]:
        """Those messages that fit into `space` bytes, and their size; all others are counted as dropped."""
        fitting, size = [], 0
        for message in messages:
            _, name, raw = message
            if size + len(raw) > space:
                self._drops[name] += 1
                continue
            size += len(raw)
            fitting.append(message)
        return fitting, size

    def add_channel(self, channel: Channel) -> None:
        """Make a stream known that was not at the start."""
        self._number(channel)
        self._queue.append(channel)

    def close(self, end: EpisodeEnd) -> None:
        """Write what waits, then `end` and the summary; returns at once, `closed` says when it is done."""
        if not self._ending:
            self._ending = True
            self._queue.append(replace(end, drops=dict(self._drops)))

    def discard(self) -> None:
        """Move the file into `.discarded/` beside it, at once: whatever ends this process now, it is no episode.

        What is appended goes on into it. A file that is gone is written again at `close`, under the name it had;
        discard it again then. One that is discarded already stays.

        Raises:
            OSError: it cannot be moved, and stays.
        """
        with self._moving:
            if self.path.parent.name != DISCARDED:
                self.path = next(iter(discard([self.path])), self.path)

    @property
    def closed(self) -> bool:
        """The file is complete, or as complete as it will ever be (see `error`), and synced."""
        return self._closed.is_set()

    @property
    def error(self) -> str | None:
        """Why nothing more can be written; what was written is good."""
        return self._error

    @property
    def bytes_waiting(self) -> int:
        """Of messages that are not in the file yet."""
        return self._taken_bytes - self._written_bytes

    @property
    def bytes_written(self) -> int:
        """Size of the file."""
        return self._file.size

    @property
    def drops(self) -> Mapping[str, int]:
        """Messages dropped at a full queue, by stream."""
        return self._drops

    # ---- the writer's thread

    def _write_all(self) -> None:
        reported: dict[str, int] = {}
        try:
            while True:
                self._take()
                items = [self._queue.popleft() for _ in range(len(self._queue))]
                if self._drops and (drops := dict(self._drops)) != reported:
                    reported = drops
                    self._file.add_metadata(OVERFLOW_RECORD, {name: str(count) for name, count in drops.items()})
                for item in items:
                    if isinstance(item, tuple):
                        self._write(*item)
                    elif isinstance(item, Channel):
                        self._register(item)
                    else:
                        self._file.add_metadata(END_RECORD, item.to_record())
                        self._file.finish()
                        return
                self._rest(_PAUSE_S)
        except OSError as error:
            self._error = f"{self.path}: {error.strerror or error}"
        except Exception as error:  # whatever it is, the episode has ended, and is not complete
            self._error = f"{self.path}: {error!r}"
            raise
        finally:
            self._finish()

    def _rest(self, seconds: float) -> None:
        time.sleep(seconds)

    def _write(self, messages: Sequence[Arrival], size: int) -> None:
        ids = self._channel_ids
        self._file.add_messages([(ids[name], log_ns, raw) for log_ns, name, raw in messages])
        self._written_bytes += size

    def _number(self, channel: Channel) -> None:
        """The id that the file will give to a channel: they are registered in this order."""
        self._channel_ids[channel.name] = len(self._channel_ids) + 1

    def _register(self, channel: Channel) -> None:
        schema = self._schema_ids.get(channel.type)
        if schema is None:
            schema = self._schema_ids[channel.type] = self._file.add_schema(channel.type, channel.schema)
        self._file.add_channel(
            channel.topic, schema, {"offered_qos_profiles": channel.offered_qos, "stream": channel.name}
        )

    def _finish(self) -> None:
        try:
            self._file.sync()
            with self._moving:
                if (now := self._file.where(self.path)) != self.path:
                    self._find_or_rescue(now)
        except OSError as error:
            self._error = self._error or f"{self.path}: {error.strerror or error}"
        finally:
            self._closed.set()

    def _find_or_rescue(self, now: Path | None) -> None:
        """The file is not where it was: follow it, or write it again from what is still open of it.

        Raises:
            OSError: there is no place for it.
        """
        if now is None:
            now = rescue_path(self.path, self._fallback)
            self._file.copy_to(now)
        self.path = now

    # ---- the sync thread

    def _sync_all(self) -> None:
        sync_folder(self.path.parent)  # the file's name, once
        while not self._closed.wait(_SYNC_PERIOD_S):
            try:
                self._file.sync()
            except OSError as error:
                self._error = self._error or f"{self.path}: {error.strerror or error}"
        self._file.close()
