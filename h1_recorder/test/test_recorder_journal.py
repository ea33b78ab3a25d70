# SPDX-License-Identifier: Apache-2.0
"""The journal: what is in it, who can read it, what a cut, a full disk and a full queue cost."""

from __future__ import annotations

import errno
import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from recorder_builders import (
    CHANNELS,
    END,
    START_NS,
    STREAMS,
    JournalBuilder,
    append,
    channel,
    episode_info,
    open_journal,
    ordinary,
)
from rosbags.highlevel import AnyReader

from h1_recorder.episode.content import make_content
from h1_recorder.episode.info import FORMAT_VERSION, START_RECORD, EpisodeInfo, InfoError
from h1_recorder.episode.timeline import NoRowsError
from h1_recorder.recorder.journal import Journal
from h1_recorder.recorder.journal_file import JournalError, read_info, read_journal
from h1_recorder.recorder.mcap_file import McapFile
from h1_training_testing import wait_until


def test_a_journal_returns_every_byte_in_the_order_of_reception(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / ".episode_0.mcap")
    for number in range(500):
        assert append(journal, number)
    journal.close(END)
    wait_until(lambda: journal.closed, "the journal is closed")
    recorded = read_journal(tmp_path / ".episode_0.mcap").streams["keyboard"]
    assert recorded.log_ns == [START_NS + number for number in range(500)]
    assert [int.from_bytes(data[:4], "little") for data in recorded.data] == list(range(500))


def test_a_journal_knows_everything_about_its_episode(tmp_path: Path) -> None:
    info = episode_info(dummy_cameras=("ego_cam",), allow_dummy_cameras=True)
    path = JournalBuilder().write(tmp_path / ".episode_0.mcap", info)
    assert read_journal(path).info == info == read_info(path)
    end = read_journal(path).end
    assert end is not None
    assert (end.end_reason, end.outcome) == ("operator", "success")


def test_mcap_and_its_ros2_decoder_read_a_finished_journal(tmp_path: Path) -> None:
    path = ordinary().write(tmp_path / ".episode_0.mcap")
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
        assert summary is not None and summary.statistics is not None
        decoded = list(reader.iter_decoded_messages())
        assert len(decoded) == summary.statistics.message_count == len(ordinary().messages)
        times = [message.log_time for _, _, message, _ in decoded]
        assert times == sorted(times)
        modes = {value.mode for schema, _, _, value in decoded if schema and schema.name.endswith("ArmStatus")}
        assert modes == {1, 2, 3, 4}
        assert {record.name for record in reader.iter_metadata()} == {START_RECORD, "h1_recorder.end"}


def test_rosbags_reads_a_finished_journal_own_messages_included(tmp_path: Path) -> None:
    path = ordinary().write(tmp_path / ".episode_0.mcap")
    visible = tmp_path / "bag.mcap"
    visible.write_bytes(path.read_bytes())
    with AnyReader([visible]) as reader:
        connections = [found for found in reader.connections if found.topic == "/arm_status"]
        values = [reader.deserialize(raw, found.msgtype).q[0] for found, _, raw in reader.messages(connections)]
    assert len(values) == 130


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return ordinary().write(tmp_path_factory.mktemp("whole") / ".episode_0.mcap").read_bytes()


def test_cut_at_any_byte_a_journal_is_good_up_to_its_last_whole_message(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / ".episode_0.mcap"
    path.write_bytes(whole)
    full = read_journal(path)
    full_content = make_content(full)
    chosen = random.Random(4)
    for cut in sorted(chosen.sample(range(len(whole)), 200)):
        path.write_bytes(whole[:cut])
        try:
            found = read_journal(path)
        except JournalError:
            assert cut < 20_000, "only the first record may be needed for anything"
            continue
        assert found.end or cut - found.whole_bytes < 6_000, "no more than one record is lost"
        for name, recorded in found.streams.items():
            count = len(recorded.data)
            assert recorded.log_ns == full.streams[name].log_ns[:count]
            assert all(map(_same, recorded.data, full.streams[name].data[:count]))
        _assert_beginning_of(found, full_content)


def _same(one: memoryview, other: memoryview) -> bool:
    return bytes(one) == bytes(other)


def _assert_beginning_of(found: Any, full: Any) -> None:
    """The rows of a cut journal are the first rows of the whole one."""
    try:
        content = make_content(found)
    except NoRowsError:
        return
    n = content.length
    for name, array in content.arrays.items():
        assert (array[:n] == full.arrays[name][:n]).all(), name


def test_a_tail_of_zeros_as_a_disk_may_leave_it_is_left_out(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / ".episode_0.mcap"
    path.write_bytes(whole[:150_000] + bytes(8192))
    assert read_journal(path).whole_bytes <= 150_000
    assert make_content(read_journal(path)).length > 0


@pytest.mark.parametrize("record", [b"h1_recorder.end", b"h1_recorder.overflow"])
def test_a_last_record_of_which_the_disk_lost_a_part_costs_no_more_than_itself(record: bytes, tmp_path: Path) -> None:
    journal = open_journal(tmp_path / ".episode_0.mcap", queue_bytes=1000)
    for number in range(20):
        append(journal, number)
    journal.close(END)
    wait_until(lambda: journal.closed, "the journal is closed")
    whole = journal.path.read_bytes()
    beyond = whole.index(record) + len(record) + 20  # in its values, as where a page ends that was never written
    journal.path.write_bytes(whole[:beyond] + bytes(len(whole) - beyond))
    found = read_journal(journal.path)
    journal.path.write_bytes(whole[: whole.index(record)])
    cut = read_journal(journal.path)
    assert (found.end, found.whole_bytes, found.drops) == (None, cut.whole_bytes, cut.drops)
    assert [len(stream.data) for stream in found.streams.values()] == [len(one.data) for one in cut.streams.values()]


@pytest.mark.parametrize("content", [b"", b"\x89MCAP0\r\n", b"something else entirely", b"\x89MCAP0\r\n\x01\xff"])
def test_what_is_no_journal_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / ".episode_7.mcap"
    path.write_bytes(content)
    with pytest.raises(JournalError, match="episode_7"):
        read_journal(path)


def test_an_existing_file_is_never_written_to(tmp_path: Path) -> None:
    path = tmp_path / ".episode_0.mcap"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        open_journal(path)
    assert path.read_bytes() == b"precious"


class FullAfter:
    """`os.writev` on a disk with this much space; a write that does not fit writes what does, then fails."""

    def __init__(self, space: int) -> None:
        self.space = space

    def __call__(self, descriptor: int, buffers: Any) -> int:
        if self.space <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = os.write(descriptor, b"".join(buffers)[: self.space])
        self.space -= written
        return written


@pytest.mark.parametrize("space", [60_000, 60_001, 60_050, 60_099, 60_130])
def test_on_a_full_disk_the_journal_says_so_and_keeps_whole_records(
    space: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".episode_0.mcap"
    monkeypatch.setattr(os, "writev", FullAfter(space))
    journal = open_journal(path)
    for number in range(2000):
        append(journal, number)
    journal.close(END)
    wait_until(lambda: journal.closed, "the journal is closed")
    assert journal.error is not None
    assert "No space left" in journal.error and str(path) in journal.error
    found = read_journal(path)
    assert found.whole_bytes == found.size
    assert found.end is None
    assert len(found.streams["keyboard"].data) > 50
    assert not append(journal, 1)


def test_a_disk_that_is_full_at_once_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".episode_0.mcap"
    monkeypatch.setattr(os, "writev", FullAfter(10))
    with pytest.raises(OSError, match="No space left"):
        open_journal(path)
    assert not path.exists()


def test_a_slow_disk_delays_nobody_and_what_does_not_fit_the_queue_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(tmp_path / ".episode_0.mcap", queue_bytes=10_000)
    stalled, go_on = threading.Event(), threading.Event()
    write = McapFile.add_messages

    def stalling(file: McapFile, messages: Any) -> None:
        stalled.set()
        assert go_on.wait(10)
        write(file, messages)

    monkeypatch.setattr(McapFile, "add_messages", stalling)
    append(journal, 0, 1000)
    assert stalled.wait(10)
    accepted = [append(journal, number, 1000) for number in range(1, 31)]
    go_on.set()
    journal.close(END)
    wait_until(lambda: journal.closed, "the journal is closed")
    assert sum(accepted) == 9
    found = read_journal(tmp_path / ".episode_0.mcap")
    assert found.drops == {"keyboard": 21}
    assert len(found.streams["keyboard"].data) == 10


def test_a_sync_that_hangs_does_not_keep_messages_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, let_go = threading.Event(), threading.Event()

    def hang(_: McapFile) -> None:
        hanging.set()
        let_go.wait(10)

    monkeypatch.setattr(McapFile, "sync", hang)
    monkeypatch.setattr("h1_recorder.recorder.journal._SYNC_PERIOD_S", 0.001)
    path = tmp_path / ".episode_0.mcap"
    journal = open_journal(path)
    assert hanging.wait(10)
    before = journal.bytes_written
    append(journal, 1)
    while journal.bytes_written == before:
        pass
    assert len(read_journal(path).streams["keyboard"].data) == 1
    let_go.set()
    journal.close(END)
    wait_until(lambda: journal.closed, "the journal is closed")


def test_a_stream_may_join_an_open_journal(tmp_path: Path) -> None:
    path = tmp_path / ".episode_0.mcap"
    journal = Journal(path, episode_info(), CHANNELS[:1], queue_bytes=1 << 20)
    journal.add_channel(channel(STREAMS[-1]))
    assert append(journal, 3, name=STREAMS[-1].name)
    journal.close(END)
    wait_until(lambda: journal.closed, "the journal is closed")
    assert len(read_journal(path).streams[STREAMS[-1].name].data) == 1


def test_a_journal_of_a_later_format_is_refused_with_both_numbers() -> None:
    record = episode_info(format_version=FORMAT_VERSION + 1).to_record()
    with pytest.raises(InfoError, match=f"format {FORMAT_VERSION + 1}.*up to {FORMAT_VERSION}"):
        EpisodeInfo.from_record(record)


@pytest.mark.parametrize("record", [{}, {"json": "no"}, {"json": "[]"}, {"json": "{}"}])
def test_a_metadata_record_that_says_nothing_is_refused(record: dict[str, str]) -> None:
    with pytest.raises(InfoError, match=START_RECORD):
        EpisodeInfo.from_record(record)


# ---- a folder that vanishes


# ---- what a kill costs


def test_one_look_at_the_queue_takes_everything_that_is_in_it(tmp_path: Path) -> None:
    looked, look = threading.Semaphore(0), threading.Semaphore(0)

    class Stepped(Journal):
        def _rest(self, seconds: float) -> None:
            assert seconds <= 0.0125, "a kill costs what came since the last look, and may cost 20 ms"
            looked.release()
            assert look.acquire(timeout=10)

    journal = Stepped(tmp_path / ".episode_0.mcap", episode_info(), CHANNELS, queue_bytes=1 << 24)
    assert looked.acquire(timeout=10)
    for number in range(1000):
        append(journal, number)
    look.release()
    assert looked.acquire(timeout=10)
    killed = read_journal(tmp_path / ".episode_0.mcap")
    assert len(killed.streams["keyboard"].data) == 1000
    look.release()
    journal.close(END)
    look.release(1000)
    wait_until(lambda: journal.closed, "the journal is closed")
