# SPDX-License-Identifier: Apache-2.0
"""Which arrays may come off a wire: plain numbers (bool, integers and floats of 1 to 8 bytes) that fit their bytes.

No pickle anywhere: a policy server may be anybody's machine, and a reply moves arms. What a format says of an array is
checked before anything is allocated, whatever the format.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

_MAX_AXES = 8
_MAX_AXIS = 1 << 24
_PLAIN_DTYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248])")
_NPY_HEADER = re.compile(
    r"\s*\{\s*'descr':\s*'([^']{1,8})',\s*'fortran_order':\s*(True|False),\s*'shape':\s*\(([\d\s,]{0,120})\),?\s*\}\s*"
)
"""As numpy writes it; `numpy.load` evaluates it as Python, and allocates what it says."""


class CodecError(ValueError):
    """A message that cannot be encoded, or must not be decoded."""


class DtypeError(CodecError):
    """An array of something else than plain numbers: objects, records, complex, text, dates."""


class ArrayError(CodecError):
    """An array whose shape, byte count or fields do not belong together."""


def is_plain(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of it may go over a wire."""
    return _PLAIN_DTYPE.fullmatch(dtype.str) is not None


def plain_dtype(text: Any) -> np.dtype[Any]:
    """The dtype that a format's text names.

    Raises:
        DtypeError: not the name of plain numbers.
    """
    if not isinstance(text, str) or _PLAIN_DTYPE.fullmatch(text) is None:
        raise DtypeError(f"array dtype is {short(text)}; only plain numbers (b1, i1-i8, u1-u8, f2-f8) are accepted")
    return np.dtype(text)


def plain_array(data: Any, dtype: Any, shape: Any, *, order: str = "C") -> np.ndarray[Any, Any]:
    """The array that a format describes, read-only, over the bytes of `data`.

    Args:
        data: its bytes.
        dtype: text, as `numpy.dtype.str`.
        shape: list of whole numbers.
        order: `C` or `F`.

    Raises:
        DtypeError: not plain numbers.
        ArrayError: shape and bytes do not belong together.
    """
    kind = plain_dtype(dtype)
    if not isinstance(data, bytes):
        raise ArrayError(f"array data is {type(data).__name__}; expected bytes")
    if not isinstance(shape, list) or not all(type(axis) is int for axis in shape):
        raise ArrayError(f"array shape is {short(shape)}; expected a list of whole numbers")
    if len(shape) > _MAX_AXES or any(not 0 <= axis <= _MAX_AXIS for axis in shape):
        raise ArrayError(f"array shape {short(shape)} is negative or too large")
    expected = math.prod(shape) * kind.itemsize
    if len(data) != expected:
        raise ArrayError(f"array of shape {short(shape)} and dtype {kind} needs {expected} bytes, has {len(data)}")
    return np.ndarray(shape=tuple(shape), dtype=kind, buffer=data, order="F" if order == "F" else "C")


def npy_array(file: bytes) -> np.ndarray[Any, Any]:
    """The array in a `.npy` file (numpy's `lib/format.py`, versions 1 to 3), read-only.

    Raises:
        DtypeError: not plain numbers.
        ArrayError: no `.npy` file, or one whose bytes do not fit its header.
    """
    wide = file[6:7] in (b"\x02", b"\x03")
    start = 12 if wide else 10
    if file[:6] != b"\x93NUMPY" or len(file) < start or not (wide or file[6:7] == b"\x01"):
        raise ArrayError("array is no .npy file")
    end = start + int.from_bytes(file[8:start], "little")
    header = _NPY_HEADER.fullmatch(file[start:end].decode("latin-1")) if end <= min(len(file), 4096) else None
    if header is None:
        raise ArrayError(f"array has a .npy header that describes no plain array: {short(file[start : start + 60])}")
    dtype, is_fortran, axes = header.groups()
    shape = [int(axis[:20]) for axis in axes.split(",") if axis.strip()]
    return plain_array(file[end:], dtype, shape, order="F" if is_fortran == "True" else "C")


def short(value: Any) -> str:
    """For a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
