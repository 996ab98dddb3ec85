"""A partition's Parquet file: from rows to its bytes and back. Where the bytes lie is for `catalog` to know."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from callarchive.catalog.arrow_columns import in_order
from callarchive.catalog.schemas import Table
from callarchive.domain.errors import ArchiveError

_COMPRESSION: Final = "zstd"
_COMPARED_AT_ONCE = 16384
"""Rows: a large day is not held twice."""


class DamagedError(Exception):
    """Bytes that are no Parquet file of the table's."""


def to_arrow(table: Table, rows: pa.Table | Iterable[Mapping[str, Any]]) -> pa.Table:
    """The rows in the table's schema and order. Raises ArchiveError when two of them have one key."""
    if isinstance(rows, pa.Table):
        data = rows.select(table.schema.names).cast(table.schema)
    else:
        data = pa.Table.from_pylist(list(rows), schema=table.schema)
    if not in_order(data, table.key):  # what was made of ordered partitions mostly is, and sorting 1 M rows takes 2 s
        data = data.sort_by([(name, "ascending") for name in table.key])
        _refuse_repeated_keys(table, data)
    return data.replace_schema_metadata(None)


def _refuse_repeated_keys(table: Table, data: pa.Table) -> None:
    keys = data.group_by(list(table.key), use_threads=False).aggregate([([], "count_all")])
    if keys.num_rows != data.num_rows:
        twice = next(row for row in keys.to_pylist() if row["count_all"] > 1)
        key = ", ".join(f"{name}={twice[name]}" for name in table.key)
        raise ArchiveError(f"{table.name}: {twice['count_all']} rows have the key {key}")


def _is_as_written(file: pq.ParquetFile, data: pa.Table) -> bool:
    """Whether the file is what we would write of these rows: columns, their types and meanings, compression, values."""
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    alike = (
        file.metadata.num_rows == data.num_rows
        and file.schema_arrow.equals(data.schema)
        and [field.metadata for field in file.schema_arrow] == [field.metadata for field in data.schema]
        and {group.column(n).compression for group in groups for n in range(group.num_columns)}
        <= {_COMPRESSION.upper()}
    )
    if not alike:
        return False
    at = 0
    for batch in file.iter_batches(batch_size=_COMPARED_AT_ONCE, use_threads=False):
        if not pa.Table.from_batches([batch]).cast(data.schema).equals(data.slice(at, len(batch))):
            return False
        at += len(batch)
    return True


def write(data: pa.Table, file: BinaryIO) -> None:
    """The file has these rows, which `to_arrow` has put in order; to be made a column chunk at a time."""
    pq.write_table(data, file, compression=_COMPRESSION, coerce_timestamps="us", store_schema=True)


def about_bytes(data: pa.Table) -> int:
    """How large the file will be, roughly: ids, paths and hashes are pressed to a third."""
    return data.nbytes // 3


def decode(data: bytes | None, table: Table, *, columns: Sequence[str] | None) -> pa.Table:
    """The rows of the file in the table's schema, or those of its columns that are named; none where there is no file.

    Columns that an older file lacks are null.

    Raises:
        DamagedError: these bytes are no such file.
    """
    schema = table.schema if columns is None else pa.schema([table.schema.field(name) for name in columns])
    if data is None:
        return schema.empty_table()
    # One day is too little for threads to be worth starting: 5,000 rows take 2 ms, 100,000 take 25.
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            found = file.read(columns=schema.names, use_threads=False)
    except (pa.ArrowException, OSError) as err:
        raise DamagedError(str(err)) from err
    arrays = [
        found[field.name].cast(field.type) if field.name in found.schema.names else pa.nulls(len(found), field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def column_names(data: bytes) -> frozenset[str]:
    """Return the columns that the file itself has. Raises DamagedError."""
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            return frozenset(file.schema_arrow.names)
    except (pa.ArrowException, OSError) as err:
        raise DamagedError(str(err)) from err


def holds(data: bytes, rows: pa.Table) -> bool:
    """Whether the file is just what `write` would make of the rows. Bytes that are no Parquet file hold nothing."""
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            return _is_as_written(file, rows)
    except (pa.ArrowException, OSError):
        return False
