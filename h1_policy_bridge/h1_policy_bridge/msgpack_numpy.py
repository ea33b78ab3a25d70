# SPDX-License-Identifier: Apache-2.0
"""msgpack with numpy arrays, byte for byte as openpi puts it on the wire, and suspicious of what comes back.

The format is Physical-Intelligence/openpi's (`packages/openpi-client/src/openpi_client/msgpack_numpy.py`): an array is
a map with *bytes* keys, `b"__ndarray__"`, `b"data"`, `b"dtype"`, `b"shape"`; a numpy scalar one with
`b"__npgeneric__"`. No pickle anywhere: a policy server may be anybody's machine, and a reply moves arms.

Only plain numbers pass (bool, integers and floats of 1 to 8 bytes). Everything else is refused by a named error, all
of them `CodecError`: whoever decodes needs to catch one thing.
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np

from h1_policy_bridge.plain_array import ArrayError, DtypeError, is_plain, plain_array, plain_dtype, short
from h1_policy_bridge.plain_array import CodecError as CodecError

MAX_BYTES = 4 * 1024 * 1024
"""Largest message decoded, bytes. A chunk of 50 x 32 float64 has 12 800; a byte of msgpack can cost 64 in memory."""

MAX_DEPTH = 16
"""Deepest nesting decoded: openpi's replies have three levels."""

_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"
_DATA, _DTYPE, _SHAPE = b"data", b"dtype", b"shape"


class NotMsgpackError(CodecError):
    """The bytes are not one whole msgpack message of the kinds that openpi uses."""


class TooDeepError(CodecError):
    """Nested deeper than `MAX_DEPTH`."""


class TooLargeError(CodecError):
    """More bytes than allowed."""


def pack(value: Any) -> bytes:
    """Encode maps, lists, text, numbers and numpy arrays.

    Raises:
        CodecError: something in it cannot go over this wire; for arrays `DtypeError`.
    """
    try:
        packed: bytes = msgpack.packb(value, default=_encoded)
    except CodecError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise CodecError(f"cannot be encoded: {error}") from None
    return packed


def unpack(data: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """Decode one message. Arrays come back read-only, over the bytes of `data`'s own copy.

    Raises:
        CodecError: one of this module's errors, which says what was found and what was expected.
    """
    if len(data) > max_bytes:
        raise TooLargeError(f"message of {len(data)} bytes; at most {max_bytes} are decoded")
    try:
        value = msgpack.unpackb(data, object_hook=_decoded, ext_hook=_refused_extension, strict_map_key=True)
    except CodecError:
        raise
    except msgpack.exceptions.StackError:
        raise TooDeepError(f"message nested deeper than {MAX_DEPTH} levels") from None
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise NotMsgpackError(f"not a msgpack message: {error or type(error).__name__}") from None
    _check_depth(value)
    return value


def _encoded(value: Any) -> dict[bytes, Any]:
    if not isinstance(value, (np.ndarray, np.generic)):
        raise CodecError(f"{type(value).__name__} cannot be encoded; send numbers, text, lists, maps or arrays")
    if not is_plain(value.dtype):
        raise DtypeError(f"array of dtype {value.dtype} cannot be encoded; only plain numbers can")
    if isinstance(value, np.ndarray):
        return {_ARRAY: True, _DATA: value.tobytes(), _DTYPE: value.dtype.str, _SHAPE: value.shape}
    return {_SCALAR: True, _DATA: value.item(), _DTYPE: value.dtype.str}


def _decoded(fields: dict[Any, Any]) -> Any:
    if _ARRAY in fields:
        return _array(fields)
    if _SCALAR in fields:
        return _scalar(fields)
    return fields


def _array(fields: dict[Any, Any]) -> np.ndarray[Any, Any]:
    if missing := {_DATA, _DTYPE, _SHAPE} - set(fields):
        raise ArrayError(f"array without {sorted(missing)[0].decode()}")
    data, shape, dtype = fields[_DATA], fields[_SHAPE], fields[_DTYPE]
    return plain_array(data, dtype, shape)


def _scalar(fields: dict[Any, Any]) -> np.generic:
    if missing := {_DATA, _DTYPE} - set(fields):
        raise ArrayError(f"numpy scalar without {sorted(missing)[0].decode()}")
    value, dtype = fields[_DATA], plain_dtype(fields[_DTYPE])
    if not isinstance(value, (bool, int, float)):
        raise ArrayError(f"numpy scalar holds {type(value).__name__}; expected a number")
    if dtype.kind in "iu" and not (isinstance(value, int) and np.iinfo(dtype).min <= int(value) <= np.iinfo(dtype).max):
        raise ArrayError(f"numpy scalar {short(value)} does not fit dtype {dtype}")
    with np.errstate(over="ignore"):
        scalar: np.generic = dtype.type(value)
    return scalar


def _refused_extension(code: int, data: bytes) -> Any:
    raise NotMsgpackError(f"message holds a msgpack extension (code {code}, {len(data)} bytes); openpi uses none")


def _check_depth(value: Any) -> None:
    """Without recursion, because depth is what is in doubt."""
    level, depth = [value], 0
    while level := [
        child
        for node in level
        if isinstance(node, (dict, list))
        for child in (node.values() if isinstance(node, dict) else node)
    ]:
        depth += 1
        if depth > MAX_DEPTH:
            raise TooDeepError(f"message nested deeper than {MAX_DEPTH} levels")
