"""The catalog: Parquet tables in Hive partitions by `call_date`, written by partition, read by range of days."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from callarchive.catalog import schemas
from callarchive.catalog.ddl import duckdb_query, duckdb_query_of_none, text_literal
from callarchive.catalog.schemas import PUBLIC_TABLES, Table
from callarchive.domain.errors import ArchiveError, DamagedTableError, ObjectNotFoundError
from callarchive.storage.stores import Store
from callarchive.storage.stores.opening import file_url, local_folder, open_store
from callarchive.storage.stores.syncing import sync_folder

if TYPE_CHECKING:  # up to 0.3 s of import each that not every reader needs
    import duckdb
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset as ds

    from callarchive.catalog.parquet_files import Parts
    from callarchive.catalog.stored_rows import StoredRows
    from callarchive.settings import S3Settings


@dataclass(frozen=True)
class Written:
    """The file of a partition: its path relative to the catalog's root, its SHA-256 in hex, and the number of its rows."""

    path: str
    sha256: str
    row_count: int | None


class Catalog:
    """The tables of the catalog in a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def open(cls, url: str | Path | None = None, *, s3: "S3Settings | None" = None) -> Self:
        """Open the catalog at a folder, a file:// or an s3:// URL; by default the configured one. Raises ConfigurationError."""
        if url is None:
            from callarchive.settings import load_settings

            settings = load_settings().catalog
            url, s3 = settings.url, settings.s3
        return cls(open_store(str(url) if "://" in str(url) else file_url(url), s3))

    def days(self, table: Table = schemas.SESSIONS) -> list[date]:
        """Return the days that have a partition of the table, oldest first."""
        return [day for day, _ in self._partitions(table, None, None)]

    def arrow(
        self,
        table: Table | str,
        first: date | None = None,
        last: date | None = None,
        *,
        columns: Sequence[str] | None = None,
    ) -> "pa.Table":
        """Return the rows of the days (inclusive; None for no limit) as one Arrow table, with `call_date` as last column."""
        return self.dataset(table, first, last).to_table(columns=None if columns is None else list(columns))

    def pandas(
        self,
        table: Table | str,
        first: date | None = None,
        last: date | None = None,
        *,
        columns: Sequence[str] | None = None,
    ) -> "pd.DataFrame":
        """Return the rows of `arrow` as a pandas frame with Arrow-backed columns, which keep NULLs."""
        import pandas as pd

        return self.arrow(table, first, last, columns=columns).to_pandas(types_mapper=pd.ArrowDtype)

    def duckdb(self, first: date | None = None, last: date | None = None) -> "duckdb.DuckDBPyConnection":
        """Open an in-memory DuckDB connection with a view of each public table over the days from `first` to `last`.

        On S3 it queries a pyarrow dataset, because the wheel of DuckDB lacks the S3 extension. A query during which a day is
        replaced fails instead of mixing old and new rows: run it again. On S3, connect again.
        """
        import duckdb

        connection = duckdb.connect()
        # A view binds its files when it is created and again when it is queried: read their footers only once.
        connection.execute("set parquet_metadata_cache = true")
        for table in PUBLIC_TABLES:
            days = self._partitions(table, first, last)
            if not days:  # registering an empty dataset would import pandas
                connection.execute(f"create view {table.name} as {duckdb_query_of_none(table)}")
            elif (root := local_folder(self.store)) is not None:
                files = ", ".join(text_literal(f"{root}/{path}") for _, path in days)
                connection.execute(f"create view {table.name} as {duckdb_query(table, f'[{files}],')}")
            else:
                connection.register(table.name, self.dataset(table, first, last))
        return connection

    def dataset(self, table: Table | str, first: date | None = None, last: date | None = None) -> "ds.Dataset":
        """Return the partitions of the days as a pyarrow dataset, without reading them.

        Arrow caches the footers of files, so reading a day that was replaced after its first read fails. On S3 a file is
        read whole, in one request: several requests could mix an old file with a new one.
        """
        import pyarrow as pa
        import pyarrow.dataset as ds

        from callarchive.storage.stores.arrow_files import arrow_filesystem

        table = table_named(table) if isinstance(table, str) else table
        schema = table.schema.append(pa.field("call_date", pa.date32()))
        files = [path for _, path in self._partitions(table, first, last)]
        if not files:
            return ds.dataset(schema.empty_table())
        filesystem, root = arrow_filesystem(self.store)
        return ds.dataset(
            [f"{root}{file}" for file in files],
            schema=schema,
            format=ds.ParquetFileFormat(
                default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
            ),
            filesystem=filesystem,
            partitioning=ds.partitioning(pa.schema([schema.field("call_date")]), flavor="hive"),
            partition_base_dir=f"{root}{table.folder}",
        )

    def partition(self, table: Table, day: date, *, columns: Sequence[str] | None = None) -> "pa.Table":
        """Return one day's rows (none without a partition) in the table's schema, or the named columns, ordered by key.

        Columns that an older file lacks are NULL. Raises StoreError if the file cannot be read, or is damaged.
        """
        from callarchive.catalog import parquet_files

        data = self._read(table, day)
        if data is None:
            return parquet_files.schema_of(table, columns).empty_table()
        try:
            return parquet_files.decode(data, table, columns=columns)
        except parquet_files.DamagedError as err:
            raise self._damaged(table, day) from err

    def stored_rows(self, table: Table, day: date) -> "StoredRows":
        """Return the rows of `partition` without decoding more than their keys; the file's bytes stay in memory."""
        from callarchive.catalog.stored_rows import StoredRows

        return StoredRows.of(table, self.files(table, day))

    def files(self, table: Table, day: date) -> list[tuple[bytes, DamagedTableError]]:
        """Return the file of a day's partition, if there is one, with the error to raise if it is damaged."""
        data = self._read(table, day)
        return [] if data is None else [(data, self._damaged(table, day))]

    def rows(self, table: Table, day: date) -> list[dict[str, Any]]:
        """Return the rows of `partition` as dicts."""
        rows: list[dict[str, Any]] = self.partition(table, day).to_pylist()
        return rows

    def has(self, table: Table, day: date) -> bool:
        """Return whether the day has a partition of the table, possibly without rows."""
        return bool(self._partitions(table, day, day))

    def replace_partition(
        self,
        table: Table,
        day: date,
        rows: "pa.Table | Iterable[Mapping[str, Any]] | Parts",
        *,
        on_written: "Callable[[Written], None] | None" = None,
    ) -> int:
        """Replace the day's partition with these rows, ordered by key, and return the row count.

        `on_written` is called when the new file is written and before it takes the old one's place, and not without a change.

        Readers, and reruns after a kill, find either the old rows or the new ones. A file that would not change is not
        written: comparing takes half the time of writing, and most reruns change nothing. Raises ArchiveError if two rows
        have the same key; StoreError.
        """
        from callarchive.catalog import parquet_files

        parts, path = parquet_files.in_parts(table, rows), table.partition_path(day)
        row_count = self._current_count(table, day, parts)
        if row_count is None:
            with self.store.replacing(path) as file:
                sha256, row_count = parquet_files.write(parts(), file)
                if on_written is not None:
                    on_written(Written(path, sha256, row_count))
        return row_count

    def written(self, table: Table, day: date) -> Written | None:
        """Return the hash and the row count of the day's file; None without a partition. A damaged file has no row count."""
        from callarchive.catalog import parquet_files

        data = self._read(table, day)
        if data is None:
            return None
        row_count = None
        with suppress(parquet_files.DamagedError):
            row_count = parquet_files.row_count(data)
        return Written(table.partition_path(day), hashlib.sha256(data).hexdigest(), row_count)

    def _current_count(self, table: Table, day: date, parts: "Parts") -> int | None:
        """Return the row count if the partition is durable exactly as it would be written; None if not, or if in doubt."""
        from callarchive.catalog import parquet_files

        path = table.partition_path(day)
        try:
            data = self.store.read(path)
            if not parquet_files.holds(data, parts()):
                return None
            if (root := local_folder(self.store)) is not None:
                sync_folder((root / path).parent)  # the writer may have been killed between rename and fsync
            return parquet_files.row_count(data)
        except (ArchiveError, OSError):
            return None

    def _read(self, table: Table, day: date) -> bytes | None:
        try:
            return self.store.read(table.partition_path(day))
        except ObjectNotFoundError:
            return None

    def _damaged(self, table: Table, day: date) -> DamagedTableError:
        damaged = self.store.uri(table.partition_path(day))
        return DamagedTableError(f"{damaged} is damaged: restore or remove it, then archive {day}")

    def day_folders(self, day: date) -> list[str]:
        """Return the folders of the day's partitions, relative to the store's root, existing or not."""
        return [table.partition_path(day).rpartition("/")[0] for table in (*PUBLIC_TABLES, *schemas.STEP_TABLES)]

    def partition_uri(self, table: Table, day: date) -> str:
        """Return the URI of the day's partition."""
        return self.store.uri(table.partition_path(day))

    def _partitions(self, table: Table, first: date | None, last: date | None) -> list[tuple[date, str]]:
        if first is not None and first == last:
            path = table.partition_path(first)
            folder = path.rpartition("/")[0]
            return [(first, item.path) for item in self.store.list(folder) if item.path == path]
        found = []
        for item in self.store.list(table.folder):
            with suppress(ValueError):  # a file of somebody else
                day = date.fromisoformat(item.path.partition("/call_date=")[2].partition("/")[0])
                in_range = (first is None or day >= first) and (last is None or day <= last)
                if in_range and item.path == table.partition_path(day):
                    found.append((day, item.path))
        return sorted(found)


def table_named(name: str) -> Table:
    """Return the public table of that name. Raises ArchiveError if there is none."""
    tables = {table.name: table for table in PUBLIC_TABLES}
    if name not in tables:
        raise ArchiveError(f"no table named {name}: the catalog has {', '.join(tables)}")
    return tables[name]
