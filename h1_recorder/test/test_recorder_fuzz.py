# SPDX-License-Identifier: Apache-2.0
"""Damaged episode files, thousands of them: every verb says what is wrong in lines, and goes on.

As many as `H1_FUZZ_MUTATIONS` says (default 120), from `H1_FUZZ_SEED` on. No traceback, no hang, no growth, and no
death by a signal. Most files have one child, in which all quick verbs look at them; a file that the child dies of, and
every `REAL_EVERY`-th, is looked at as users do it, where each verb has a child of its own. Those that take longer take
turns at every `SLOW_EVERY`-th.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import random
import resource
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np
import pytest

from h1_recorder.__main__ import main
from h1_recorder.commands.export import FORMATS
from h1_recorder.episode import apart

SAMPLE = Path(__file__).parent / "data/format_1.hdf5"
MUTATIONS, SEED = int(os.environ.get("H1_FUZZ_MUTATIONS", "120")), int(os.environ.get("H1_FUZZ_SEED", "0"))
AT_ONCE = 20
CPU_S = 1
"""For a file of the sample's size, and so many times more where a verb is slow: HDF5 loops over some for all of it."""
MOST_CPU_S, MOST_S = 30.0, 300.0
"""Of a verb with a file: CPU time, all children's with it, and where nothing else bounds it, by the clock."""
MOST_BYTES = 400_000_000
VERBS: tuple[tuple[str, ...], ...] = (
    *(("list", "{}"), ("validate", "{}"), ("info", "{}"), ("diff", "{}", str(SAMPLE))),
    *(("lineage", "{}"), ("label", "--outcome", "failure", "{}")),
)
SLOW_VERBS: tuple[tuple[str, ...], ...] = (
    *(("plot", "{}", "--out", "{}.out"), ("plot", "--labels", "{}", "--out", "{}.out")),
    ("video", "{}", "--out", "{}.out"),
    *(("export", form, "{}", f"{{}}.{form}", "--jobs", "1") for form in FORMATS),
)
SLOW_EVERY, REAL_EVERY = 40, 40
CHILDREN_OF = ("commands.files", "commands.diff", "commands.lineage", "episode.save")
"""Modules of verbs that start children."""

ODD_VALUES: tuple[Any, ...] = (
    *(0, -1, 2**31, 2**62, 1e300, float("nan"), float("inf"), True, b"\xff\xfe", "", "text", "{", "[]"),
    *(np.zeros(0), np.arange(5), np.array(["a", "b"], object), h5py.Empty("f"), np.float16(3)),
)


def attribute_is_odd(file: h5py.File, rng: random.Random) -> None:
    file.attrs[rng.choice(sorted(file.attrs))] = rng.choice(ODD_VALUES)


def attribute_is_gone(file: h5py.File, rng: random.Random) -> None:
    del file.attrs[rng.choice(sorted(file.attrs))]


def dataset_is_gone(file: h5py.File, rng: random.Random) -> None:
    del file[rng.choice(datasets(file))]


def dataset_is_a_group(file: h5py.File, rng: random.Random) -> None:
    name = rng.choice(datasets(file))
    del file[name]
    file.create_group(name)


def dataset_has_another_shape(file: h5py.File, rng: random.Random) -> None:
    name = rng.choice(datasets(file))
    shape = rng.choice([(20, 2), (0,), (), (19, 14), (1, 1, 1), (20, 14, 3), (10**7,)])
    kind = rng.choice([file[name].dtype, np.dtype("f8"), np.dtype("S3"), np.dtype("i1")])
    del file[name]
    file.create_dataset(name, shape, dtype=kind)


def values_are_odd(file: h5py.File, rng: random.Random) -> None:
    name = rng.choice([name for name in datasets(file) if file[name].dtype.kind in "fiS" and file[name].size])
    values = file[name][:]
    flat = values.reshape(-1)
    odd: Any = (
        rng.choice([float("nan"), float("inf"), 1e30, -1e30]) if values.dtype.kind == "f" else rng.choice([-5, 7])
    )
    flat[rng.randrange(flat.size)] = b"nobody" if values.dtype.kind == "S" else odd
    file[name][...] = values


def lines_are_no_json(file: h5py.File, rng: random.Random) -> None:
    name = rng.choice(["events", "gaps"])
    del file[name]
    lines = [rng.choice(["{", "[1]", "null", "\ud7ff", "x" * 1000, '{"a": ']) for _ in range(rng.randrange(1, 4))]
    file.create_dataset(name, data=np.array(lines, object), dtype=h5py.string_dtype())


def image_is_odd(file: h5py.File, rng: random.Random) -> None:
    images = file["observations/images"][rng.choice(["ego_cam", "cam_left_wrist", "cam_right_wrist"])]
    row = rng.randrange(len(images))
    data = np.array(images[row])
    if rng.random() < 0.5:
        start = rng.randrange(len(data))
        data[start : start + rng.randrange(1, 300)] = 0
    images[row] = data[: rng.randrange(len(data) + 1)]


def link_leads_elsewhere(file: h5py.File, rng: random.Random) -> None:
    name = rng.choice(["observations/images/cam_head", "stamps/tick", "observations/qpos", "phase", "observations"])
    del file[name]
    file[name] = rng.choice([h5py.SoftLink("/nowhere"), h5py.SoftLink(f"/{name}"), h5py.ExternalLink("no.hdf5", "/x")])


def datasets(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


STRUCTURE: tuple[Callable[[h5py.File, random.Random], None], ...] = (
    attribute_is_odd,
    attribute_is_gone,
    dataset_is_gone,
    dataset_is_a_group,
    dataset_has_another_shape,
    values_are_odd,
    lines_are_no_json,
    image_is_odd,
    link_leads_elsewhere,
)


def damage_bytes(data: bytearray, rng: random.Random) -> bytes:
    """A few bytes, a stretch of zeros, a piece from elsewhere, or the end missing."""
    for _ in range(rng.randrange(1, 8)):
        at, length = rng.randrange(len(data)), rng.choice([1, 1, 2, 4, 8, 64, 2000])
        kind = rng.randrange(4)
        if kind == 0:
            data[at : at + length] = rng.randbytes(len(data[at : at + length]))
        elif kind == 1:
            data[at : at + length] = bytes(len(data[at : at + length]))
        elif kind == 2:
            source = rng.randrange(len(data) - length)
            data[at : at + length] = data[source : source + len(data[at : at + length])]
        else:
            data[at] ^= 1 << rng.randrange(8)
    return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.1 else data)


def mutate(path: Path, seed: int) -> str:
    """A damaged copy of the sample at `path`; returns how it was damaged."""
    rng = random.Random(seed)
    shutil.copyfile(SAMPLE, path)
    if rng.random() < 0.5:
        path.write_bytes(damage_bytes(bytearray(path.read_bytes()), rng))
        return "bytes"
    kinds = rng.sample(STRUCTURE, rng.choice([1, 1, 2]))
    for kind in kinds:
        with contextlib.suppress(Exception), h5py.File(path, "r+") as file:  # what one took away the next cannot change
            kind(file, rng)
    return ", ".join(kind.__name__ for kind in kinds)


def look_at(path: Path, verbs: tuple[tuple[str, ...], ...]) -> list[str]:
    """What `verbs` did wrong with the file, a line each."""
    wrong = []
    for verb, *arguments in verbs:
        out, begun_s = io.StringIO(), cpu_s()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                status = main([verb, *(argument.format(path) for argument in arguments)])
        except BaseException as error:
            wrong.append(f"{verb} raised {error!r}")
            continue
        text = out.getvalue()
        if "Traceback" in text or status not in (0, 1, 2) or (status and not text.strip()):
            wrong.append(f"{verb}: status {status}, {text[:300]!r}")
        if (took_s := cpu_s() - begun_s) > MOST_CPU_S:
            wrong.append(f"{verb} took {took_s:.0f} s of CPU")
    return wrong


def cpu_s() -> float:
    """Of this process and its children, so far."""
    return sum(os.times()[:4])


def look_here(path: Path) -> int:
    """In a child that may die of it: the quick verbs, without children of their own; prints what was wrong."""
    with contextlib.ExitStack() as patches:
        for module in CHILDREN_OF:
            patches.enter_context(mock.patch(f"h1_recorder.{module}.in_child", lambda work, *paths, slow=1: work()))
        for text in look_at(path, VERBS):
            print(text)
    return 0


def look_in_one_child(path: Path) -> list[str]:
    """As `look_at`, cheaper: all of them together take no more than one may, or each has a child after all.

    Raises:
        ChildError: the child died of the file.
    """
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = apart.in_child(partial(look_here, path), path)
    return [*out.getvalue().splitlines(), *(["the child raised"] if status else [])]


def look_at_one(path: Path, seed: int) -> list[str]:
    """What any verb did wrong with the file that was made from `seed`."""
    is_real = seed % REAL_EVERY == 0
    wrong: list[str] = []
    if not is_real:
        try:
            wrong = look_in_one_child(path)
        except apart.ChildError:
            is_real = True
    if is_real:
        wrong = look_at(path, VERBS)
    if seed % SLOW_EVERY == 0:
        wrong += look_at(path, (SLOW_VERBS[seed // SLOW_EVERY % len(SLOW_VERBS)],))
    return wrong


def look_at_all(seeds: range, folder: str, reports: Any) -> None:
    """In a child: every damaged file of `seeds`; reports the seed before, and what was wrong after."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    apart._CPU_S = CPU_S
    # A fork's size begins with that of the process that all tests have grown.
    allowed = MOST_BYTES + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for seed in seeds:
        reports.send((seed, None))
        path = Path(folder) / "episode_0.hdf5"
        kind = mutate(path, seed)
        reports.send((seed, [f"{seed} ({kind}): {text}" for text in look_at_one(path, seed)]))
        for leftover in Path(folder).glob("episode_0.hdf5.*"):
            shutil.rmtree(leftover)
        grown = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        if grown > allowed:
            reports.send((seed, [f"{seed} ({kind}): {grown / 1e6:.0f} MB"]))
            return


def findings(seeds: range) -> list[str]:
    """What was wrong with the damaged files of `seeds`, dead children included."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        child = context.Process(target=look_at_all, args=(seeds, folder, sender))
        child.start()
        sender.close()
        found: list[str] = []
        seed, is_open, is_hanging = seeds[0], False, False
        with contextlib.suppress(EOFError):
            while not (is_hanging := not receiver.poll(MOST_S)):
                seed, texts = receiver.recv()
                is_open = texts is None
                found += texts or []
        if is_hanging:
            child.kill()
        child.join()
        if child.exitcode or is_open:
            found.append(f"{seed}: the process ended with {child.exitcode}{', it hung' if is_hanging else ''}")
    return found


@pytest.fixture(autouse=True, scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the quick verbs import is imported here, once, and not in each child: that took most of a file's time."""
    path = tmp_path_factory.mktemp("whole") / "episode_0.hdf5"
    shutil.copyfile(SAMPLE, path)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        look_here(path)
    assert not out.getvalue()


@pytest.mark.timeout(1200)  # HDF5 loops over some for all of the CPU time that it is given
@pytest.mark.parametrize("first", range(SEED, SEED + MUTATIONS, AT_ONCE))
def test_a_damaged_file_is_a_line_and_never_a_traceback(first: int) -> None:
    assert findings(range(first, min(first + AT_ONCE, SEED + MUTATIONS))) == []


@pytest.mark.parametrize("seed", [2179, 2919])
def test_a_damaged_length_of_an_image_takes_no_gigabytes(seed: int) -> None:
    assert findings(range(seed, seed + 1)) == []


def test_what_is_behind_a_damaged_file_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        shutil.copyfile(SAMPLE, tmp_path / f"episode_{number}.hdf5")
    (tmp_path / "episode_0.hdf5").write_bytes(b"")
    with h5py.File(tmp_path / "episode_1.hdf5", "r+") as file:
        file.attrs["fps"] = 0
    for verb in ("list", "validate", "info"):
        assert main([verb, str(tmp_path)]) == 1
        lines = capsys.readouterr().out.splitlines()
        for number in range(3):
            assert any(f"episode_{number}.hdf5" in line for line in lines), (verb, number)
