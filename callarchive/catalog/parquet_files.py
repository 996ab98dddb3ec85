"""The Parquet file of a partition: rows to bytes and back. For where it is stored, see `parquet_catalog`."""

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa
import pyarrow.parquet as pq

from callarchive.catalog.arrow_columns import in_order
from callarchive.catalog.schemas import Table
from callarchive.domain.errors import ArchiveError

_COMPRESSION: Final = "zstd"
_ROWS_COMPARED_AT_ONCE = 16384  # bounds the memory used: a large day is not held twice


class DamagedError(Exception):
    """The bytes are not a Parquet file of the table."""


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


def _is_as_written(file: pq.ParquetFile, data: pa.Table) -> bool:
    """Return whether the file has these rows, and the schema, column metadata and compression of a new one."""
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
    for batch in file.iter_batches(batch_size=_ROWS_COMPARED_AT_ONCE, use_threads=False):
        if not pa.Table.from_batches([batch]).cast(data.schema).equals(data.slice(at, len(batch))):
            return False
        at += len(batch)
    return True


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


def write(data: pa.Table, file: BinaryIO) -> str:
    """Write the rows, as `to_arrow` returns them, one column chunk at a time, with a checksum for each page.

    Return the SHA-256 of the file, hex.
    """
    hashed = _HashedFile(file)
    pq.write_table(
        data, cast("BinaryIO", hashed), compression=_COMPRESSION, coerce_timestamps="us", write_page_checksum=True
    )
    return hashed.sha256.hexdigest()


def decode(data: bytes | None, table: Table, *, columns: Sequence[str] | None) -> pa.Table:
    """Return the rows of a file in the table's schema, or the named columns; no rows if `data` is None.

    Columns that an older file lacks are NULL. Raises DamagedError if the bytes are not a Parquet file.
    """
    schema = table.schema if columns is None else pa.schema([table.schema.field(name) for name in columns])
    if data is None:
        return schema.empty_table()
    # One day is too small for threads to pay off: 5,000 rows take 2 ms, 100,000 take 25.
    with _opened(data) as file:
        found = file.read(columns=schema.names, use_threads=False)
    arrays = [
        found[field.name].cast(field.type) if field.name in found.schema.names else pa.nulls(len(found), field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def column_names(data: bytes) -> frozenset[str]:
    """Return the columns in the file itself. Raises DamagedError."""
    with _opened(data) as file:
        return frozenset(file.schema_arrow.names)


def row_count(data: bytes) -> int:
    """Return the number of rows in the file. Raises DamagedError."""
    with _opened(data) as file:
        return int(file.metadata.num_rows)


def holds(data: bytes, rows: pa.Table) -> bool:
    """Return whether the file is what `write` would produce from the rows; False for anything but a Parquet file."""
    with suppress(DamagedError), _opened(data) as file:
        return _is_as_written(file, rows)
    return False


@contextmanager
def _opened(data: bytes) -> Iterator[pq.ParquetFile]:
    try:
        # A page with a wrong checksum is an error; files of older versions have no checksums.
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as err:  # the last: a column name in a damaged footer
        raise DamagedError(str(err)) from err
