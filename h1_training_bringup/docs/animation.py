# SPDX-License-Identifier: Apache-2.0
"""Draws the README's animation from a real simulated session: `make docs`.

Runs one episode by the scripted operator, and draws the head camera's recorded images with the phase and time of each,
then the table that ends the session. What it shows is what was recorded; nothing is drawn by hand. The
person's hands, which images for training leave out, are switched on.

    python h1_training_bringup/docs/animation.py [OUTPUT.gif]
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

OUTPUT = Path(__file__).resolve().parent / "session.gif"
MOST_BYTES = 3_000_000
WIDTH, BAR_HEIGHT = 480, 30
FRAMES_PER_S = 8
TABLE_SHOWN_S = 5
SAME = 12
"""Of 255: a pixel that changes by less stays as it was, so that the noise of a JPEG costs no bytes."""
COLOURS = (256, 128, 64, 32)
"""Of the palette; the first that keeps the file below MOST_BYTES."""
CONFIGURATION = "simulation: {show_person: true}\n"
PHASES = {b"policy": ("the policy moves the arms", (38, 84, 140)), b"human": ("a person guides them", (176, 88, 20))}
SESSION_TIMEOUT_S = 300


def font(size: int) -> ImageFont.FreeTypeFont:
    """The monospaced font that matplotlib brings along."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSansMono.ttf"), size)


def run_session(folder: Path) -> tuple[Path, list[str]]:
    """Run one episode; returns its file, and the lines of the table that the session printed last.

    Raises:
        SystemExit: the session recorded no episode of both phases.
    """
    (folder / "config.yaml").write_text(CONFIGURATION)
    command = ["run_session", "--sim", "--operator", "scripted", "--epochs", "1", "--episodes", "1"]
    command += ["--config", f"{folder}/config.yaml", "--log-dir", f"{folder}/log"]
    command += ["--save-dir", f"{folder}/episodes", "--rsync-target", f"{folder}/uploaded"]
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SESSION_TIMEOUT_S, check=False
    )
    episodes = sorted(folder.glob("episodes/**/episode_*.hdf5"))
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", result.stdout).splitlines()
    begin = next((number for number, line in enumerate(lines) if line.startswith("Episodes of this session")), None)
    if result.returncode != 0 or not episodes or begin is None:
        raise SystemExit(f"the session ended with {result.returncode}:\n" + "\n".join(lines[-30:]) + result.stderr)
    table = [line for line in lines[begin:] if not line.startswith("Logs:")]
    return episodes[0], [table[0].replace(str(folder), "data"), *table[1:]]


def episode_frames(path: Path) -> list[Image.Image]:
    """The head camera at FRAMES_PER_S of the animation, each with a bar that names phase and time."""
    with h5py.File(path) as episode:
        phases, ticks = episode["phase"][:], episode["stamps/tick"][:]
        if set(phases) != set(PHASES):
            raise SystemExit(f"the episode has the phases {set(phases)}; run it again")
        seconds = (ticks - ticks[0]) / 1e9
        rows = np.searchsorted(seconds, np.arange(0.0, seconds[-1], 1 / FRAMES_PER_S))
        jpegs = episode["observations/images/ego_cam"]
        return [drawn(jpegs[row].tobytes(), phases[row], seconds[row], seconds[-1]) for row in rows]


def drawn(jpeg: bytes, phase: bytes, time_s: float, length_s: float) -> Image.Image:
    """One image of the head camera above its bar."""
    camera = Image.open(io.BytesIO(jpeg)).convert("RGB")
    camera = camera.resize((WIDTH, WIDTH * camera.height // camera.width), Image.Resampling.LANCZOS)
    text, colour = PHASES[phase]
    image = Image.new("RGB", (WIDTH, camera.height + BAR_HEIGHT), colour)
    image.paste(camera)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, image.height - 4, WIDTH * time_s / length_s, image.height), fill="white")
    draw.text((8, camera.height + 6), f"{phase.decode()}: {text}", font=font(13), fill="white")
    draw.text((WIDTH - 64, camera.height + 6), f"{time_s:5.1f} s", font=font(13), fill="white")
    return image


def steadied(frames: list[Image.Image]) -> list[Image.Image]:
    """The frames without what no eye sees: a pixel that changes by less than SAME stays as it was."""
    shown = np.array(frames[0])
    result = [frames[0]]
    for frame in frames[1:]:
        new = np.array(frame)
        changed = (np.abs(new.astype(int) - shown) >= SAME).any(axis=2, keepdims=True)
        shown = np.where(changed, new, shown)
        result.append(Image.fromarray(shown))
    return result


def palette(frames: list[Image.Image], colours: int) -> Image.Image:
    """Colours that serve both phases and the table."""
    chosen = [frames[0], frames[len(frames) // 2], frames[-2], frames[-1]]
    sheet = Image.new("RGB", (chosen[0].width, sum(frame.height for frame in chosen)))
    for number, frame in enumerate(chosen):
        sheet.paste(frame, (0, number * frame.height))
    return sheet.quantize(colours)


def table_image(lines: list[str], size: tuple[int, int]) -> Image.Image:
    """The session's last table, as large as fits."""
    image = Image.new("RGB", size, (16, 16, 16))
    letters = next(letter for letter in range(16, 4, -1) if font(letter).getlength(max(lines, key=len)) <= size[0] - 16)
    ImageDraw.Draw(image).multiline_text(
        (8, size[1] // 3), "\n".join(lines), font=font(letters), fill="white", spacing=6
    )
    return image


def main() -> None:
    """Run, draw, and keep the file below MOST_BYTES."""
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT
    with tempfile.TemporaryDirectory(prefix="animation_") as name:
        episode, table = run_session(Path(name))
        frames = steadied(episode_frames(episode))
    frames.append(table_image(table, frames[0].size))
    durations_ms = [1000 // FRAMES_PER_S] * (len(frames) - 1) + [1000 * TABLE_SHOWN_S]
    for colours in COLOURS:
        colour_map = palette(frames, colours)
        drawn_frames = [frame.quantize(palette=colour_map, dither=Image.Dither.NONE) for frame in frames]
        drawn_frames[0].save(
            output, save_all=True, append_images=drawn_frames[1:], duration=durations_ms, loop=0, optimize=True
        )
        if output.stat().st_size <= MOST_BYTES:
            break
    else:
        raise SystemExit(f"{output} has {output.stat().st_size} bytes, more than {MOST_BYTES}")
    print(f"{output}: {len(frames)} images, {output.stat().st_size / 1e6:.1f} MB, {colours} colours")


if __name__ == "__main__":
    main()
