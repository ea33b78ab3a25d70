# SPDX-License-Identifier: Apache-2.0
"""The journal: every message of an episode, raw as received, on its way to the disk the moment it arrives.

Three threads share it. Whoever receives a message appends it to a queue, which is all that ever happens in a
callback. A writer takes it from there within 10 ms and hands it to the kernel: from then on it survives
the death of this process. A third calls `fsync` once a second, which may take as long as the disk likes; what
the machine's own death can cost is therefore about a second.

The file is an MCAP without chunks, each record whole by one write: cut anywhere, it is good up to its last whole
record, and no buffer of this process holds anything back (https://mcap.dev/spec). The queue is bounded by bytes; a
message that finds it full is dropped and counted, never waited for.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from h1_recorder.episode.folder import DISCARDED, discard, rescue_path
from h1_recorder.episode.info import END_RECORD, OVERFLOW_RECORD, START_RECORD, EpisodeEnd, EpisodeInfo
from h1_recorder.recorder.filesystem import sync_folder
from h1_recorder.recorder.mcap_file import McapFile, Message

_SYNC_PERIOD_S = 1.0
_PAUSE_S = 0.010
"""Between two looks of the writer at its queue; a kill may cost 20 ms. To be woken for each of 300 messages a second
costs 1 % of a core more, in the thread that receives as much as here; to look every 5 ms 0.6 %."""


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
    """An open journal. `append` from any one thread; everything else happens behind it.

    Args:
        path: of the new file; it must not exist.
        info: what the episode is about; the file's first record.
        channels: the streams known so far.
        queue_bytes: how much may wait for the disk.
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
        fallback: Path | None = None,
    ) -> None:
        self.path = path
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
        self._queue: deque[Message | Channel | EpisodeEnd] = deque()
        self._taken_bytes = 0  # counted by whoever appends
        self._written_bytes = 0  # counted by the writer
        self._ending = False
        self._drops: Counter[str] = Counter()
        self._dropped = 0
        self._error: str | None = None
        self._closed = threading.Event()
        self._moving = threading.Lock()
        threading.Thread(target=self._write_all, name="journal-writer", daemon=True).start()
        threading.Thread(target=self._sync_all, name="journal-sync", daemon=True).start()

    # ---- from the node's thread

    def append(self, name: str, raw: bytes, log_ns: int) -> bool:
        """Hand over one message; False if it was dropped because the queue is full or the journal has ended.

        Args:
            name: of a stream whose channel is known.
            raw: serialized message as received.
            log_ns: session time of its reception.
        """
        size = len(raw)
        if self._ending or self._error or self._taken_bytes - self._written_bytes + size > self._queue_bytes:
            self._drops[name] += 1
            self._dropped += 1
            return False
        self._taken_bytes += size
        self._queue.append((self._channel_ids[name], log_ns, raw))
        return True

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
        reported = 0
        try:
            while True:
                batch = [self._queue.popleft() for _ in range(len(self._queue))]
                if self._dropped > reported:
                    reported = self._dropped
                    drops = dict(self._drops)
                    self._file.add_metadata(OVERFLOW_RECORD, {name: str(count) for name, count in drops.items()})
                if batch:
                    self._write(batch)
                    if isinstance(batch[-1], EpisodeEnd):
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

    def _write(self, batch: list[Message | Channel | EpisodeEnd]) -> None:
        """Everything in order; messages that follow each other in one go."""
        messages: list[Message] = []
        for item in batch:
            if isinstance(item, tuple):
                messages.append(item)
                continue
            self._write_messages(messages)
            messages = []
            if isinstance(item, Channel):
                self._register(item)
            else:
                self._file.add_metadata(END_RECORD, item.to_record())
                self._file.finish()
        self._write_messages(messages)

    def _write_messages(self, messages: list[Message]) -> None:
        if messages:
            self._file.add_messages(messages)
            self._written_bytes += sum([len(raw) for _, _, raw in messages])

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
