# SPDX-License-Identifier: Apache-2.0
"""Writes and reads tables as Parquet; the one place that needs pyarrow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from h1_recorder.export.rows import ExportError


def check_pyarrow() -> None:
    """See that pyarrow is there and runs.

    Raises:
        ExportError: it is not; says what to install.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ExportError(f"exporting needs pyarrow: {error}. 'pip install \"pyarrow<26\"' suits NumPy 1.26") from None


def write_table(
    path: Path, columns: Mapping[str, Any], *, index: str | None = None, row_groups: Sequence[int] = ()
) -> None:
    """Write columns under their names; the file appears complete or not at all.

    Args:
        path: final name; replaced if it is there.
        columns: arrays (T,) or (T, n), the latter as lists of fixed length, or lists of plain values.
        index: the column that pandas shall take as the index.
        row_groups: rows of each, together all; empty: one.
    """
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({name: _column(values) for name, values in columns.items()})
    if index is not None:
        table = table.replace_schema_metadata({b"pandas": _pandas_metadata(table, index)})
    part = path.with_name(f".{path.name}.part")
    with pyarrow.parquet.ParquetWriter(part, table.schema, compression="snappy") as writer:
        start = 0
        for rows in row_groups or [table.num_rows]:
            writer.write_table(table.slice(start, rows))
            start += rows
    part.replace(path)


def write_rows(path: Path, blocks: Iterable[Sequence[Mapping[str, Any]]]) -> None:
    """Write rows of plain values block by block, all with the keys of the first; the file appears complete or not."""
    import pyarrow
    import pyarrow.parquet

    part = path.with_name(f".{path.name}.part")
    writer, schema = None, None
    try:
        for block in blocks:
            table = pyarrow.Table.from_pylist(list(block), schema=schema)
            schema = table.schema
            writer = writer or pyarrow.parquet.ParquetWriter(part, schema, compression="snappy")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    part.replace(path)


def read_columns(paths: Iterable[Path], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """These columns of each table: arrays (T,) or (T, n)."""
    import pyarrow.parquet

    for path in paths:
        table = pyarrow.parquet.read_table(path, columns=list(names), use_threads=False)
        yield {name: _array(table.column(name).combine_chunks(), table.num_rows) for name in names}


def _array(column: Any, rows: int) -> Any:
    if hasattr(column, "flatten") and hasattr(column.type, "list_size"):
        return column.flatten().to_numpy(zero_copy_only=False).reshape(rows, -1)
    return column.to_numpy(zero_copy_only=False)


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
