"""A frozen camera at the source: when it is one, and over the real wires that it is told once and counted."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from head_camera_builders import ClassicServer, jpeg, with_header
from hypothesis import given, settings
from hypothesis import strategies as st
from test_head_camera_node import Viewer, a_camera, a_free_port, open_later  # noqa: F401 (a fixture)

from h1_training_bringup.head_camera.frozen import FrozenWatch
from h1_training_testing import Graph

MS = 1_000_000


def test_the_same_bytes_for_long_enough_are_a_frozen_camera_told_once() -> None:
    watch = FrozenWatch(400 * MS)
    turns = [watch.frame(b"same", at * 33 * MS) for at in range(40)]
    told = [(index, turn) for index, turn in enumerate(turns) if turn is not None]
    ((index, turn),) = told
    assert (index, turn.is_frozen, turn.repeats) == (13, True, 13)
    assert turn.lasted_ns == 13 * 33 * MS


def test_a_new_picture_ends_the_freeze_and_tells_how_long_it_was() -> None:
    watch = FrozenWatch(400 * MS)
    for at in range(31):
        watch.frame(b"same", at * 20 * MS)
    turn = watch.frame(b"new", 5000 * MS)
    assert turn is not None
    assert (turn.is_frozen, turn.repeats, turn.lasted_ns) == (False, 30, 600 * MS)
    assert watch.frame(b"newer", 5020 * MS) is None
    assert watch.total_repeats == 30


def test_one_frame_sent_twice_by_a_slow_camera_is_no_freeze() -> None:
    watch = FrozenWatch(400 * MS)
    assert [watch.frame(data, at * 1000 * MS) for at, data in enumerate((b"a", b"a", b"b", b"b"))] == [None] * 4


@given(st.lists(st.sampled_from([b"a", b"b"]), max_size=60))
@settings(max_examples=60, deadline=None)
def test_freezing_and_living_again_take_turns_whatever_comes(frames: list[bytes]) -> None:
    watch = FrozenWatch(100 * MS)
    turns = [turn for at, data in enumerate(frames) if (turn := watch.frame(data, at * 40 * MS)) is not None]
    assert [turn.is_frozen for turn in turns] == [index % 2 == 0 for index in range(len(turns))]
    assert watch.total_repeats == sum(a == b for a, b in itertools.pairwise(frames))


def test_a_frozen_camera_is_told_and_its_return_too_and_its_frames_go_on(graph: Graph, open_later: Callable) -> None:  # noqa: F811
    numbers, seeds, is_frozen = itertools.count(), itertools.count(), [False]
    pictures = [jpeg(64, 48, seed=seed) for seed in range(8)]

    def frame() -> bytes:
        """The stamp before the picture goes on whatever becomes of the picture, as that of a real server does."""
        picture = pictures[0] if is_frozen[0] else pictures[next(seeds) % len(pictures)]
        return with_header(picture, next(numbers))

    server = open_later(ClassicServer(frame))
    viewer = graph.add(Viewer())
    a_camera(graph, server.port)
    graph.spin_until(lambda: len(viewer.images["head"]) > 20, "pictures")
    assert viewer.told("head_camera_frozen") == []
    is_frozen[0] = True
    graph.spin_until(lambda: viewer.told("head_camera_frozen"), "the freeze is told")
    before = len(viewer.images["head"])
    graph.spin_until(lambda: len(viewer.images["head"]) > before + 5, "what the camera sends is passed on")
    is_frozen[0] = False
    graph.spin_until(lambda: viewer.told("head_camera_alive_again"), "the return is told")
    assert len(viewer.told("head_camera_frozen")) == 1
    assert "repeated frames so far" in viewer.told("head_camera_alive_again")[0]


def test_messages_too_large_to_be_received_are_told_and_good_ones_follow(graph: Graph, open_later: Callable) -> None:  # noqa: F811
    good = jpeg(64, 48)
    sent = [good + bytes(1_000_000)]
    server = open_later(ClassicServer(lambda: sent[0]))
    viewer = graph.add(Viewer())
    a_camera(graph, server.port, max_frame_bytes=100_000)
    graph.spin_until(lambda: viewer.told("head_camera_cut_off"), "the event")
    assert "more than 400000 bytes" in viewer.told("head_camera_cut_off")[0]
    assert viewer.images["head"] == []
    sent[0] = good
    graph.spin_until(lambda: viewer.images["head"], "an image")


def test_a_server_that_ends_is_told_as_cut_off(graph: Graph) -> None:
    sent, port = jpeg(64, 48), a_free_port()
    server = ClassicServer(lambda: sent, port)
    viewer = graph.add(Viewer())
    a_camera(graph, port)
    graph.spin_until(lambda: viewer.images["head"], "an image")
    server.close()
    graph.spin_until(lambda: viewer.told("head_camera_cut_off"), "the event")
    assert f"tcp://127.0.0.1:{port}" in viewer.told("head_camera_cut_off")[0]


def test_a_grey_camera_says_so(graph: Graph, open_later: Callable) -> None:  # noqa: F811
    sent = jpeg(64, 48, grey=True)
    server = open_later(ClassicServer(lambda: sent))
    viewer = graph.add(Viewer())
    a_camera(graph, server.port)
    graph.spin_until(lambda: viewer.images["head"], "an image")
    assert viewer.images["head"][0].format == "mono8; jpeg compressed mono8"
