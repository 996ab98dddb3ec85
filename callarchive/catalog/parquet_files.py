"""The Parquet file of a partition: rows to bytes and back. For where it is stored, see `parquet_catalog`."""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa
import pyarrow.parquet as pq

from callarchive.catalog.arrow_columns import in_order
from callarchive.catalog.schemas import Table
from callarchive.domain.errors import ArchiveError

_COMPRESSION: Final = "zstd"

ROWS_AT_ONCE = 8192
"""Rows of a row group, and of the parts in which a long day is read and written."""

Parts = Callable[[], Iterator[pa.Table]]
"""Returns the rows in the order of their keys, in parts. Called a second time if the partition changes."""


class DamagedError(Exception):
    """The bytes are not a Parquet file of the table."""


def in_parts(table: Table, rows: pa.Table | Iterable[Mapping[str, Any]] | Parts) -> Parts:
    """Return the rows as `to_arrow` does, in parts; at least one, possibly without rows."""
    if callable(rows):
        return partial(_ordered, table, rows)
    data = to_arrow(table, rows)
    return lambda: (data.slice(at, ROWS_AT_ONCE) for at in range(0, max(len(data), 1), ROWS_AT_ONCE))


def _ordered(table: Table, parts: Parts) -> Iterator[pa.Table]:
    last: list[Any] = []
    for part in parts():
        if not len(part):
            continue
        data = to_arrow(table, part)
        first, end = ([data[name][row].as_py() for name in table.key] for row in (0, len(data) - 1))
        if last and first <= last:
            raise ArchiveError(f"{table.name}: the key {first} follows {last}")
        last = end
        yield data
    if not last:
        yield to_arrow(table, ())


def to_arrow(table: Table, rows: pa.Table | Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return the rows in the table's schema and order. Raises ArchiveError if two rows have the same key."""
    if isinstance(rows, pa.Table):
        data = rows.select(table.schema.names).cast(table.schema)
    else:
        data = pa.Table.from_pylist(list(rows), schema=table.schema)
    if not in_order(data, table.key):  # they mostly are, and sorting 1 M rows takes 2 s
        data = data.sort_by([(name, "ascending") for name in table.key])
        _check_unique_keys(table, data)
    return data.replace_schema_metadata(None)


def _check_unique_keys(table: Table, data: pa.Table) -> None:
    keys = data.group_by(list(table.key), use_threads=False).aggregate([([], "count_all")])
    if keys.num_rows != data.num_rows:
        twice = next(row for row in keys.to_pylist() if row["count_all"] > 1)
        key = ", ".join(f"{name}={twice[name]}" for name in table.key)
        raise ArchiveError(f"{table.name}: {twice['count_all']} rows have the key {key}")


def _is_as_written(file: pq.ParquetFile, parts: Iterable[pa.Table]) -> bool:
    """Return whether the file has these rows, and the schema, column metadata and compression of a new one."""
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    codecs = {group.column(n).compression for group in groups for n in range(group.num_columns)}
    if not codecs <= {_COMPRESSION.upper()}:
        return False
    batches = file.iter_batches(batch_size=ROWS_AT_ONCE, use_threads=False)
    found: list[pa.Table] = []
    for part in parts:
        if not (file.schema_arrow.equals(part.schema) and _meanings(file.schema_arrow) == _meanings(part.schema)):
            return False
        while sum(map(len, found)) < len(part) and (batch := next(batches, None)) is not None:
            found.append(pa.Table.from_batches([batch]).cast(part.schema))
        rows = pa.concat_tables([part.slice(0, 0), *found])
        if not rows.slice(0, len(part)).equals(part):
            return False
        found = [rows.slice(len(part))]
    return not any(map(len, found)) and not any(map(len, batches))


def _meanings(schema: pa.Schema) -> list[Mapping[bytes, bytes] | None]:
    return [field.metadata for field in schema]


class _HashedFile(io.BufferedIOBase):
    """A file that hashes what is written into it. Arrow does not close files that it did not open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()


def write(parts: Iterable[pa.Table], file: BinaryIO) -> tuple[str, int]:
    """Write the parts of `in_parts`, one row group for each, and one column chunk at a time, with a checksum for each page.

    Return the SHA-256 of the file, hex, and its row count.
    """
    hashed, row_count, parts = _HashedFile(file), 0, iter(parts)
    first = next(parts)
    with pq.ParquetWriter(
        cast("BinaryIO", hashed),
        first.schema,
        compression=_COMPRESSION,
        coerce_timestamps="us",
        write_page_checksum=True,
    ) as writer:
        for part in chain((first,), parts):
            writer.write_table(part)
            row_count += len(part)
    return hashed.sha256.hexdigest(), row_count


def decode(data: bytes, table: Table, *, columns: Sequence[str] | None) -> pa.Table:
    """Return the rows of a file in the table's schema, or the named columns.

    Columns that an older file lacks are NULL. Raises DamagedError if the bytes are not a Parquet file.
    """
    schema = schema_of(table, columns)
    # One day is too small for threads to pay off: 5,000 rows take 2 ms, 100,000 take 25.
    with opened(data) as file:
        found = file.read(columns=schema.names, use_threads=False)
    return in_schema(found, schema)


def schema_of(table: Table, columns: Sequence[str] | None) -> pa.Schema:
    """Return the table's schema, or that of the named columns."""
    return table.schema if columns is None else pa.schema([table.schema.field(name) for name in columns])


def in_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows of a file in the schema. Columns that they lack are NULL."""
    arrays = [
        rows[field.name].cast(field.type) if field.name in rows.schema.names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def column_names(data: bytes) -> frozenset[str]:
    """Return the columns in the file itself. Raises DamagedError."""
    with opened(data) as file:
        return frozenset(file.schema_arrow.names)


def row_count(data: bytes) -> int:
    """Return the number of rows in the file. Raises DamagedError."""
    with opened(data) as file:
        return int(file.metadata.num_rows)


def holds(data: bytes, parts: Iterable[pa.Table]) -> bool:
    """Return whether the file is what `write` would produce from the parts; False for anything but a Parquet file."""
    with suppress(DamagedError), opened(data) as file:
        return _is_as_written(file, parts)
    return False


@contextmanager
def opened(data: bytes) -> Iterator[pq.ParquetFile]:
    """Open a file in memory. The block raises DamagedError for what Arrow raises in it."""
    try:
        # A page with a wrong checksum is an error; files of older versions have no checksums.
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as err:  # the last: a column name in a damaged footer
        raise DamagedError(str(err)) from err
