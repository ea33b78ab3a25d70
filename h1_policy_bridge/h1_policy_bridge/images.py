# SPDX-License-Identifier: Apache-2.0
"""From a camera's JPEG to what a policy looks at: RGB uint8 of the policy's size, in under a millisecond.

The JPEG is decoded at the smallest of libjpeg's sizes (eighths, by its inverse DCT) that still covers the target, and
only the rest is resampled: 0.8 ms where decoding 640x480 whole and resizing takes 1.3, which three times a request is
the difference that `bench/` prints. This is why simplejpeg stands here and not cv_bridge. Entropy decoding is most of
what is left. libjpeg's faster and coarser DCT would save 2 % and darken every image with 4:2:0 colour by 0.4 of 255.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

DUMMY_LEVEL = 128
"""Grey of an image that stands in for a camera that is not there, as the original client has it."""

_QUALITY = 95
"""Of an image that was decoded from a camera's JPEG: what this adds is small beside what that took."""

Image = npt.NDArray[np.uint8]


class ImageError(ValueError):
    """An image that no policy can see."""


def stretched(jpeg: bytes, size: int) -> Image:
    """The whole image, squeezed to a square, as this robot's fork of openpi was trained on.

    Args:
        jpeg: one JPEG file.
        size: side of the square, pixels.

    Returns:
        (size, size, 3) uint8, RGB.

    Raises:
        ImageError: not a whole JPEG.
    """
    return _resized(_decoded(jpeg, size, size), size, size)


def padded(jpeg: bytes, size: int) -> Image:
    """The whole image with its proportions, centred between black bars, as openpi's `resize_with_pad` has it.

    Arguments, result and errors as of `stretched`.
    """
    try:
        height, width = simplejpeg.decode_jpeg_header(jpeg)[:2]
    except ValueError as error:
        raise _not_a_jpeg(jpeg, error) from None
    ratio = max(width / size, height / size)
    inner_height, inner_width = max(1, int(height / ratio)), max(1, int(width / ratio))
    top, left = (size - inner_height) // 2, (size - inner_width) // 2
    canvas = np.zeros((size, size, 3), np.uint8)
    inner = _resized(_decoded(jpeg, inner_height, inner_width), inner_height, inner_width)
    canvas[top : top + inner_height, left : left + inner_width] = inner
    return canvas


def encoded(image: Image) -> Image:
    """A JPEG file as an array, for servers that take one: a sixth of the pixels' bytes.

    Args:
        image: (H, W, 3) uint8, RGB.

    Returns:
        (N,) uint8.
    """
    file = simplejpeg.encode_jpeg(image, quality=_QUALITY, colorspace="RGB", colorsubsampling="444")
    return np.frombuffer(file, np.uint8)


def dummy(size: int) -> Image:
    """(size, size, 3) uint8, even grey."""
    return np.full((size, size, 3), DUMMY_LEVEL, np.uint8)


def _decoded(jpeg: bytes, min_height: int, min_width: int) -> Image:
    try:
        image: Image = simplejpeg.decode_jpeg(
            jpeg, colorspace="RGB", min_height=min_height, min_width=min_width, min_factor=1
        )
    except ValueError as error:
        raise _not_a_jpeg(jpeg, error) from None
    return image


def _not_a_jpeg(jpeg: bytes, error: ValueError) -> ImageError:
    if not jpeg.startswith(b"\xff\xd8"):
        return ImageError(f"{len(jpeg)} bytes that are no JPEG; set the camera's compressed format to jpeg")
    return ImageError(f"a JPEG of {len(jpeg)} bytes that does not decode ({error})")


def _resized(image: Image, height: int, width: int) -> Image:
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
