# SPDX-License-Identifier: Apache-2.0
"""Reads a journal: a finished one, or one that was cut anywhere, up to its last whole record.

The records are walked by hand over a memory map (https://mcap.dev/spec: opcode, uint64 length, content), so that
nothing is copied: messages are views. `mcap.stream_reader.StreamReader` also reads a file that was cut, in two to three
times the time (0.11 against 0.04 to 0.06 s for a minute), because it copies every record.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from h1_recorder.episode.info import END_RECORD, OVERFLOW_RECORD, START_RECORD, EpisodeEnd, EpisodeInfo, InfoError
from h1_recorder.recorder.filesystem import mapped

MAGIC = b"\x89MCAP0\r\n"
_RECORD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_U16, _U32 = struct.Struct("<H"), struct.Struct("<I")
_SCHEMA, _CHANNEL, _MESSAGE_OP, _CHUNK, _METADATA, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0C, 0x0F


class JournalError(ValueError):
    """The file is no journal, or was cut before it said what it is about."""


@dataclass
class Recorded:
    """The messages of one stream, in the order in which they were received.

    Attributes:
        name: of the stream.
        topic: as it was resolved.
        type: e.g. `std_msgs/msg/String`.
        schema: its `ros2msg` definition.
        log_ns: session time of reception, one a message.
        data: serialized messages, views into the file.
    """

    name: str
    topic: str
    type: str
    schema: str
    log_ns: list[int] = field(default_factory=list)
    data: list[memoryview] = field(default_factory=list)


@dataclass
class JournalFile:
    """A journal that was read.

    Attributes:
        path: of the file.
        info: what the episode is about.
        end: how it ended; None if the journal was cut.
        drops: messages lost at a full queue, by stream, as far as the file knows.
        streams: by name.
        whole_bytes: length up to the end of the last whole record.
        size: of the file, bytes.
    """

    path: Path
    info: EpisodeInfo
    end: EpisodeEnd | None
    drops: Mapping[str, int]
    streams: Mapping[str, Recorded]
    whole_bytes: int
    size: int


def read_journal(path: Path) -> JournalFile:
    """Read the journal at `path`; whatever follows the last whole record is left out.

    Raises:
        JournalError: not a journal, or cut before its first record was whole.
        OSError: the file cannot be opened.
    """
    try:
        return _Reading(path, _mapped(path, whole=True)).result()
    except InfoError as error:
        raise JournalError(f"{path}: {error}") from None


def read_info(path: Path) -> EpisodeInfo:
    """What the episode of a journal is about, without reading its messages.

    Raises:
        JournalError, OSError: as `read_journal`.
    """
    try:
        return _Reading(path, _mapped(path)).first_info()
    except InfoError as error:
        raise JournalError(f"{path}: {error}") from None


def _mapped(path: Path, *, whole: bool = False) -> memoryview:
    view = mapped(path, whole=whole)
    if len(view) < len(MAGIC):
        raise JournalError(f"{path}: {len(view)} bytes; nothing was recorded")
    if bytes(view[: len(MAGIC)]) != MAGIC:
        raise JournalError(f"{path}: does not begin as an MCAP file does")
    return view


class _Reading:
    """One pass over the records."""

    def __init__(self, path: Path, view: memoryview) -> None:
        self._path, self._view = path, view
        self._info: EpisodeInfo | None = None
        self._end: EpisodeEnd | None = None
        self._drops: dict[str, int] = {}
        self._schemas: dict[int, tuple[str, str]] = {}
        self._channels: dict[int, Recorded] = {}
        self._whole = len(MAGIC)
        self._last: tuple[Recorded, int] | None = None

    def first_info(self) -> EpisodeInfo:
        for opcode, start, end in self._records():
            if opcode == _METADATA:
                self._on_other(opcode, self._view[start:end])
            if self._info is not None:
                return self._info
        raise JournalError(f"{self._path}: cut within its first record; nothing was recorded")

    def result(self) -> JournalFile:
        for opcode, start, end in self._records():
            if opcode == _MESSAGE_OP:
                self._on_message(start, end)
            elif opcode in (_SCHEMA, _CHANNEL, _METADATA):
                try:
                    self._on_other(opcode, self._view[start:end])
                except (struct.error, KeyError, ValueError) as error:
                    if self._info is None and isinstance(error, InfoError):
                        raise
                    break  # its length was whole, its content is not: the disk lost it; good up to here
            elif opcode == _CHUNK:
                raise JournalError(f"{self._path}: has chunks; journals of this recorder have none")
            self._whole = end
        if self._info is None:
            raise JournalError(f"{self._path}: cut within its first record; nothing was recorded")
        self._distrust_before_zeros()
        if self._end is not None:
            self._drops = self._end.drops
        by_name = {channel.name: channel for channel in self._channels.values()}
        return JournalFile(self._path, self._info, self._end, self._drops, by_name, self._whole, len(self._view))

    def _distrust_before_zeros(self) -> None:
        """Take back the last message if zeros follow it.

        After a power failure some file systems give a file its length without its data: the record that the zeros
        begin in looks whole and is not.
        """
        if self._last is not None and self._whole < len(self._view) and self._view[self._whole] == 0:
            channel, start = self._last
            channel.log_ns.pop()
            channel.data.pop()
            self._whole = start - _RECORD.size

    def _records(self) -> Iterator[tuple[int, int, int]]:
        """Opcode, start and end of the content of every whole record of the data section."""
        position, size = len(MAGIC), len(self._view)
        while position + _RECORD.size <= size:
            opcode, length = _RECORD.unpack_from(self._view, position)
            start = position + _RECORD.size
            end = start + length
            if end > size or not 0x01 <= opcode <= 0x0F:
                return
            yield opcode, start, end
            if opcode == _DATA_END:
                return
            position = end

    def _on_message(self, start: int, end: int) -> None:
        if end - start < _MESSAGE.size:
            return
        channel_id, _, log_ns, _ = _MESSAGE.unpack_from(self._view, start)
        channel = self._channels.get(channel_id)
        if channel is not None:
            channel.log_ns.append(log_ns)
            channel.data.append(self._view[start + _MESSAGE.size : end])
            self._last = (channel, start)

    def _on_other(self, opcode: int, content: memoryview) -> None:
        if opcode == _SCHEMA:
            schema_id = _U16.unpack_from(content)[0]
            name, at = _string(content, 2)
            _, at = _string(content, at)
            self._schemas[schema_id] = (name, _string(content, at)[0])
        elif opcode == _CHANNEL:
            channel_id, schema_id = struct.unpack_from("<HH", content)
            topic, at = _string(content, 4)
            _, at = _string(content, at)
            metadata = _string_map(content, at)
            type_name, schema = self._schemas[schema_id]
            self._channels[channel_id] = Recorded(metadata.get("stream", topic), topic, type_name, schema)
        else:
            name, at = _string(content, 0)
            self._on_metadata(name, _string_map(content, at))

    def _on_metadata(self, name: str, values: dict[str, str]) -> None:
        if name == START_RECORD:
            self._info = EpisodeInfo.from_record(values)
        elif name == END_RECORD:
            self._end = EpisodeEnd.from_record(values)
        elif name == OVERFLOW_RECORD:
            self._drops = {stream: int(count) for stream, count in values.items()}


def _string(content: memoryview, at: int) -> tuple[str, int]:
    """A length-prefixed string at `at`, and where it ends."""
    length = _U32.unpack_from(content, at)[0]
    end = at + 4 + length
    if end > len(content):
        raise struct.error("string longer than its record")
    return bytes(content[at + 4 : end]).decode("utf-8"), end


def _string_map(content: memoryview, at: int) -> dict[str, str]:
    end = at + 4 + _U32.unpack_from(content, at)[0]
    at += 4
    values: dict[str, str] = {}
    while at < end:
        key, at = _string(content, at)
        values[key], at = _string(content, at)
    return values
