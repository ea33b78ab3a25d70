"""Writes tables as Parquet; the one place that needs pyarrow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from h1_recorder.export.lerobot_rows import ExportError


def check_pyarrow() -> None:
    """See that pyarrow is there and runs.

    Raises:
        ExportError: it is not; says what to install.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ExportError(f"exporting needs pyarrow: {error}. 'pip install \"pyarrow<26\"' suits NumPy 1.26") from None


def write_table(path: Path, columns: Mapping[str, Any], *, index: str | None = None) -> None:
    """Write columns under their names; the file appears complete or not at all.

    Args:
        path: final name; replaced if it is there.
        columns: arrays (T,) or (T, n), the latter as lists of fixed length, or lists of plain values.
        index: the column that pandas shall take as the index.
    """
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({name: _column(values) for name, values in columns.items()})
    if index is not None:
        table = table.replace_schema_metadata({b"pandas": _pandas_metadata(table, index)})
    part = path.with_name(f".{path.name}.part")
    pyarrow.parquet.write_table(table, part, compression="snappy")
    part.replace(path)


def _column(values: Any) -> Any:
    import pyarrow

    if isinstance(values, np.ndarray) and values.ndim == 2:
        return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.ravel()), values.shape[1])
    return pyarrow.array(values)


def _pandas_metadata(table: Any, index: str) -> bytes:
    """What pandas notes about an index (pandas: development/developer, "Storing pandas DataFrame objects")."""
    kinds = {"string": ("unicode", "object"), "int64": ("int64", "int64")}
    described = []
    for field in table.schema:
        pandas_type, numpy_type = kinds[str(field.type)]
        described.append(
            {
                "name": field.name,
                "field_name": field.name,
                "pandas_type": pandas_type,
                "numpy_type": numpy_type,
                "metadata": None,
            }
        )
    return json.dumps({"index_columns": [index], "column_indexes": [], "columns": described}).encode()
