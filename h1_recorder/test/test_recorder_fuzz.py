# SPDX-License-Identifier: Apache-2.0
"""Damaged episode files, thousands of them: every verb says what is wrong in lines, and goes on.

As many as `H1_FUZZ_MUTATIONS` says (default 40), from `H1_FUZZ_SEED` on. They are looked at in child processes: no
traceback, no hang, no growth, and no death by a signal.
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
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from h1_recorder.__main__ import main
from h1_recorder.commands.export import FORMATS
from h1_recorder.episode import apart

SAMPLE = Path(__file__).parent / "data/format_1.hdf5"
MUTATIONS, SEED = int(os.environ.get("H1_FUZZ_MUTATIONS", "40")), int(os.environ.get("H1_FUZZ_SEED", "0"))
AT_ONCE = 10
LONGEST_S = 60.0
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
SLOW_EVERY = 40

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


def look_at(path: Path, slow: bool) -> list[str]:
    """What a verb did wrong with the file, a line each."""
    wrong = []
    for verb, *arguments in (*VERBS, *(SLOW_VERBS if slow else ())):
        out, begun = io.StringIO(), time.monotonic()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                status = main([verb, *(argument.format(path) for argument in arguments)])
        except BaseException as error:
            wrong.append(f"{verb} raised {error!r}")
            continue
        text = out.getvalue()
        if "Traceback" in text or status not in (0, 1, 2) or (status and not text.strip()):
            wrong.append(f"{verb}: status {status}, {text[:300]!r}")
        if time.monotonic() - begun > LONGEST_S:
            wrong.append(f"{verb} took {time.monotonic() - begun:.0f} s")
    return wrong


def look_at_all(seeds: range, folder: str, reports: Any) -> None:
    """In a child: every damaged file of `seeds`; reports the seed before, and what was wrong after."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    apart._CPU_S = 1  # HDF5 loops over some for all that it is given; the sample takes a tenth
    # A fork's size begins with that of the process that all tests have grown.
    allowed = MOST_BYTES + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for seed in seeds:
        reports.send((seed, None))
        path = Path(folder) / "episode_0.hdf5"
        kind = mutate(path, seed)
        for leftover in Path(folder).glob("episode_0.hdf5.*"):
            shutil.rmtree(leftover)
        reports.send((seed, [f"{seed} ({kind}): {text}" for text in look_at(path, seed % SLOW_EVERY == 0)]))
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
        seed, is_open = seeds[0], False
        deadline = time.monotonic() + 60 + LONGEST_S * len(seeds)
        with contextlib.suppress(EOFError):
            while receiver.poll(max(0.0, deadline - time.monotonic())):
                seed, texts = receiver.recv()
                is_open = texts is None
                found += texts or []
        child.kill() if time.monotonic() > deadline else None
        child.join()
        if child.exitcode or is_open:
            found.append(f"{seed}: the process ended with {child.exitcode}")
    return found


@pytest.mark.timeout(600)  # HDF5 loops over some for all of the CPU time that it is given
@pytest.mark.parametrize("first", range(SEED, SEED + MUTATIONS, AT_ONCE))
def test_a_damaged_file_is_a_line_and_never_a_traceback(first: int) -> None:
    assert findings(range(first, min(first + AT_ONCE, SEED + MUTATIONS))) == []


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
