# SPDX-License-Identifier: Apache-2.0
"""Splits a frame into its cameras' images: not at all, without loss, or by encoding again; the first possible.

Without loss means that the coefficients are moved, not the pixels (libjpeg-turbo's transform). It is possible where
every cut begins on the JPEG's block grid; decoded, only the colour of the columns next to a cut may differ a little.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from h1_training_bringup.head_camera.layout import Cut, FrameLayout
from h1_training_bringup.head_camera.payload import BadJpegError, Frame, JpegHeader, RefusedFrameError, jpeg_header

Cutter = Callable[[bytes, Sequence[Cut]], list[bytes]]
"""Takes a JPEG and cuts, returns a JPEG a cut; raises OSError or ValueError if the JPEG cannot be read."""


Check = Callable[[bytes], None]
"""Takes a JPEG; raises OSError or ValueError if its image data are damaged."""


class Method(Enum):
    """How images were made from a frame; the value is the reason of the event that reports it."""

    PASSED_ON = "head_camera_passthrough"
    CUT = "head_camera_cut_lossless"
    ENCODED = "head_camera_reencoded"


@dataclass(frozen=True)
class Images:
    """What is published of one frame.

    Attributes:
        jpegs: by camera.
        method: how they were made.
        why: it could not be done better; empty for `PASSED_ON`.
        is_grey: they have one component.
    """

    jpegs: dict[str, bytes]
    method: Method
    why: str
    is_grey: bool = False


def carried_library(module_file: str) -> str | None:
    """libturbojpeg of the wheel `turbojpeg`, beside PyTurboJPEG's module; None where the system's is to be used."""
    return next(map(str, Path(module_file).parent.glob("turbojpeg.libs/libturbojpeg*.so*")), None)


def _turbojpeg() -> tuple[Any, Any]:
    """PyTurboJPEG's module, and an instance; ImportError, or RuntimeError or OSError without the library."""
    import turbojpeg

    return turbojpeg, turbojpeg.TurboJPEG(carried_library(turbojpeg.__file__))


@contextmanager
def _refusing_damage() -> Iterator[None]:
    """A damaged JPEG is only warned about: here that is an OSError."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            yield
        except UserWarning as warning:
            raise OSError(str(warning)) from None


def lossless_cutter() -> tuple[Cutter | None, str]:
    """libjpeg-turbo's transform, or None and what is missing for it."""
    try:
        _, turbo = _turbojpeg()
    except ImportError:
        return None, "the Python package PyTurboJPEG is not installed"
    except (RuntimeError, OSError):
        return None, "the library libturbojpeg is not installed (apt install libturbojpeg0, on Ubuntu libturbojpeg)"

    def cut(jpeg: bytes, cuts: Sequence[Cut]) -> list[bytes]:
        with _refusing_damage():
            return list(turbo.crop_multiple(jpeg, [(part.x, 0, part.width, part.height) for part in cuts]))

    return cut, ""


def damage_check() -> Check | None:
    """Reads all image data of a JPEG at an eighth of its size, for what its markers do not show; None if it cannot.

    A camera that loses a part of an image on its own cable, as USB cameras do, may still close it with an end marker.
    """
    try:
        module, turbo = _turbojpeg()
    except (ImportError, RuntimeError, OSError):
        return None
    options = {"pixel_format": module.TJPF_GRAY, "scaling_factor": (1, 8), "flags": module.TJFLAG_FASTDCT}

    def check(jpeg: bytes) -> None:
        with _refusing_damage():
            turbo.decode(jpeg, **options)

    return check


class FrameSplitter:
    """Splits the frames of one stream, all of one shape.

    Args:
        layout: how a frame is divided.
        shape: (width, height) px that every frame must have; None: that of the first good one.
        lossless: see `lossless_cutter`.
        encode_again: decodes, cuts and encodes.
        why_not_lossless: what is missing when `lossless` is None.
        check: of what is passed on untouched; whatever is cut is read anyway.
    """

    def __init__(
        self,
        layout: FrameLayout,
        shape: tuple[int, int] | None,
        *,
        lossless: Cutter | None,
        encode_again: Cutter,
        why_not_lossless: str = "",
        check: Check | None = None,
    ) -> None:
        self._layout = layout
        self._shape = shape
        self._lossless = lossless
        self._encode_again = encode_again
        self._why_not_lossless = why_not_lossless
        self._check = check

    def split(self, frame: Frame) -> Images:
        """The images in `frame`.

        Raises:
            RefusedFrameError: `wrong_shape`, or `corrupt` if it turns out that it cannot be read.
        """
        header = frame.header
        cuts = self._layout.cuts(header.width, header.height)
        if self._shape is not None and self._shape != (header.width, header.height):
            raise RefusedFrameError(
                "wrong_shape",
                f"{header.width}x{header.height} instead of {self._shape[0]}x{self._shape[1]}; "
                "if the camera was changed on purpose, restart head_camera",
            )
        if len(cuts) == 1 and (cuts[0].x, cuts[0].width) == (0, header.width):
            images = self._pass_on(frame, cuts[0].camera)
        else:
            images = self._cut(frame, cuts)
        self._shape = (header.width, header.height)
        return images

    def _pass_on(self, frame: Frame, camera: str) -> Images:
        if self._check is not None:
            try:
                self._check(frame.jpeg)
            except (OSError, ValueError) as error:
                raise RefusedFrameError("corrupt", f"cannot be read: {error}") from None
        return Images({camera: frame.jpeg}, Method.PASSED_ON, "", frame.header.components == 1)

    def _cut(self, frame: Frame, cuts: tuple[Cut, ...]) -> Images:
        why_not = self._why_not_lossless or _off_grid(frame.header, cuts)
        cutter = self._encode_again if why_not or self._lossless is None else self._lossless
        method = Method.ENCODED if cutter is self._encode_again else Method.CUT
        try:
            jpegs = cutter(frame.jpeg, cuts)
            sizes = [(header.width, header.height) for header in map(jpeg_header, jpegs)]
        except (OSError, ValueError) as error:
            cause = "cut_failed" if isinstance(error, BadJpegError) else "corrupt"
            raise RefusedFrameError(cause, f"cannot be read: {error}") from None
        if sizes != [(cut.width, cut.height) for cut in cuts]:
            raise RefusedFrameError("cut_failed", f"cut into {sizes}")
        by_camera = dict(zip((cut.camera for cut in cuts), jpegs, strict=True))
        return Images(by_camera, method, why_not, frame.header.components == 1)


def _off_grid(header: JpegHeader, cuts: Sequence[Cut]) -> str:
    """Why `cuts` cannot be made on the JPEG's grid; empty if they can."""
    for cut in cuts:
        if cut.x % header.block_width:
            return f"the cut at {cut.x} px is not on the JPEG's grid of {header.block_width} px"
    return ""
