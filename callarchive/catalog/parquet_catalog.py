"""The catalog: Parquet tables in Hive partitions by `call_date`, written a partition at a time, read by day range.

Reading needs nothing but this module: notebooks open a catalog with `Catalog.open(...)` and get arrow tables, pandas
frames or DuckDB views. What the tables mean is in `schemas`; who fills them, in `steps`; what is in a partition's file, in
`partition_files`, which is imported when one is read or written here: DuckDB reads them without pyarrow.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from callarchive.catalog import schemas
from callarchive.catalog.schemas import PUBLIC_TABLES, Table
from callarchive.domain.errors import ArchiveError, ObjectNotFoundError, StoreError
from callarchive.storage.stores import Store
from callarchive.storage.stores.opening import open_store
from callarchive.storage.stores.syncing import sync_folder

if TYPE_CHECKING:  # up to 0.3 s of import each, which not every reader needs
    import duckdb
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset as ds

    from callarchive.settings import S3Settings


class Catalog:
    """The tables of one catalog.

    Args:
        store: where they lie; its URL is the catalog's.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def open(cls, url: str | Path | None = None, *, s3: "S3Settings | None" = None) -> Self:
        """The catalog at a folder, a file:// or an s3:// URL; by default the one of the configuration.

        Raises:
            ConfigurationError: no URL was given and the configuration cannot be read.
        """
        if url is None:
            from callarchive.settings import load_settings

            settings = load_settings().catalog
            url, s3 = settings.url, settings.s3
        text = str(url)
        if "://" not in text:
            text = "file://" + os.path.normpath(Path(text).expanduser().absolute())
        return cls(open_store(text, s3))

    def days(self, table: Table = schemas.SESSIONS) -> list[date]:
        """The days that have a partition of the table, oldest first."""
        return [day for day, _ in self._partitions(table, None, None)]

    def arrow(
        self,
        table: Table | str,
        first: date | None = None,
        last: date | None = None,
        *,
        columns: Sequence[str] | None = None,
    ) -> "pa.Table":
        """The rows of the days from `first` to `last`, both included and open where null, as one arrow table.

        Columns as in the table's schema, then `call_date` (date32). Days without a partition give no rows.
        """
        return self.dataset(table, first, last).to_table(columns=None if columns is None else list(columns))

    def pandas(
        self,
        table: Table | str,
        first: date | None = None,
        last: date | None = None,
        *,
        columns: Sequence[str] | None = None,
    ) -> "pd.DataFrame":
        """The same as `arrow`, as a pandas frame with arrow-backed columns, so that nulls stay nulls."""
        import pandas as pd

        return self.arrow(table, first, last, columns=columns).to_pandas(types_mapper=pd.ArrowDtype)

    def duckdb(self, first: date | None = None, last: date | None = None) -> "duckdb.DuckDBPyConnection":
        """An in-memory DuckDB connection with a view of each public table over the days from `first` to `last`.

        Local files are read by DuckDB itself. On S3 it queries a pyarrow dataset, because DuckDB's own S3 reader is an
        extension that its wheel does not carry. A query that is under way when a day is replaced fails, rather than to mix old
        rows with new ones: ask again. On S3, connect again.
        """
        import duckdb

        connection = duckdb.connect()
        # A view binds its files when it is made and again when it is asked: their footers are read once for both.
        connection.execute("set parquet_metadata_cache = true")
        for table in PUBLIC_TABLES:
            if self.store.url.startswith("file://"):
                root = self.store.url.removeprefix("file://")
                files = [f"{root}/{path}" for _, path in self._partitions(table, first, last)]
                connection.execute(f"create view {table.name} as {_select(table, files)}")
            else:
                connection.register(table.name, self.dataset(table, first, last))
        return connection

    def dataset(self, table: Table | str, first: date | None = None, last: date | None = None) -> "ds.Dataset":
        """The partitions of a day range as a pyarrow dataset; nothing is read yet.

        It stands for the files of this moment: arrow remembers their footers, so of a day that is replaced after it was read
        once it gives an error. On S3 a file is read whole, whatever columns are wanted: it is one request then, and of one age.
        """
        import pyarrow as pa
        import pyarrow.dataset as ds

        table = table_named(table) if isinstance(table, str) else table
        schema = _with_call_date(table)
        files = [path for _, path in self._partitions(table, first, last)]
        if not files:
            return ds.dataset(schema.empty_table())
        filesystem, root = self._filesystem()
        return ds.dataset(
            [f"{root}{file}" for file in files],
            schema=schema,
            format="parquet",
            filesystem=filesystem,
            partitioning=ds.partitioning(pa.schema([schema.field("call_date")]), flavor="hive"),
            partition_base_dir=f"{root}{table.folder}",
        )

    def partition(self, table: Table, day: date, *, columns: Sequence[str] | None = None) -> "pa.Table":
        """One day's rows in the table's schema, or those of its columns that are named; without `call_date`.

        Ordered by the table's key. Without rows where the day has no partition. Columns that an older file lacks are null.

        Raises:
            StoreError: the store could not give them, or the file is damaged.
        """
        from callarchive.catalog import parquet_files
        from callarchive.runtime.memory import give_memory_back

        try:
            data: bytes | None = self.store.read(table.partition_path(day))
        except ObjectNotFoundError:
            data = None
        try:
            rows = parquet_files.decode(data, table, columns=columns)
        except parquet_files.DamagedError as err:
            damaged = self.store.uri(table.partition_path(day))
            raise StoreError(f"{damaged} is damaged: restore or remove it, then archive {day}") from err
        del data
        give_memory_back(len(rows))
        return rows

    def rows(self, table: Table, day: date) -> list[dict[str, Any]]:
        """One day's rows as dicts without `call_date`; empty where the day has no partition."""
        rows: list[dict[str, Any]] = self.partition(table, day).to_pylist()
        return rows

    def has(self, table: Table, day: date) -> bool:
        """Whether the day has a partition of the table, be it an empty one."""
        return bool(self._partitions(table, day, day))

    def replace_partition(self, table: Table, day: date, rows: "pa.Table | Iterable[Mapping[str, Any]]") -> int:
        """The day's partition of the table holds these rows and no others. Returns how many.

        Rows are ordered by the table's key. A reader, and a rerun after a kill, finds the old rows or the new ones. A file
        that holds just these rows, written as it would be now, is left alone: comparing takes half the time of writing,
        and most reruns change nothing.

        Raises:
            ArchiveError: two rows have one key (nothing is written).
            StoreError: the store could not take them (the old rows are still there).
        """
        from callarchive.catalog import parquet_files
        from callarchive.runtime.memory import give_memory_back

        data = parquet_files.to_arrow(table, rows)
        if not self._keeps(table, day, data):
            with self.store.replacing(table.partition_path(day), about_bytes=parquet_files.about_bytes(data)) as file:
                parquet_files.write(data, file)
        give_memory_back(data.num_rows)
        return int(data.num_rows)

    def _keeps(self, table: Table, day: date, data: "pa.Table") -> bool:
        """Whether the partition is durable as it would be written. Whatever keeps us from telling means that it is not."""
        from callarchive.catalog import parquet_files

        path = table.partition_path(day)
        try:
            if not parquet_files.holds(self.store.read(path), data):
                return False
            if self.store.url.startswith("file://"):
                # Whoever wrote it may have been killed between rename and fsync.
                sync_folder(Path(self.store.url.removeprefix("file://"), path).parent)
        except (ArchiveError, OSError):
            return False
        return True

    def day_folders(self, day: date) -> list[str]:
        """The folders that hold the day's partitions, below the store's root, whether or not they are there."""
        return [table.partition_path(day).rpartition("/")[0] for table in (*PUBLIC_TABLES, *schemas.STEP_TABLES)]

    def partition_uri(self, table: Table, day: date) -> str:
        """Where the day's rows of the table lie."""
        return self.store.uri(table.partition_path(day))

    def _partitions(self, table: Table, first: date | None, last: date | None) -> list[tuple[date, str]]:
        if first is not None and first == last:
            path = table.partition_path(first)
            folder = path.rpartition("/")[0]
            return [(first, item.path) for item in self.store.list(folder) if item.path == path]
        found = []
        for item in self.store.list(table.folder):
            day = _day_in(item.path)
            if day is None or item.path != table.partition_path(day):
                continue
            if (first is None or day >= first) and (last is None or day <= last):
                found.append((day, item.path))
        return sorted(found)

    def _filesystem(self) -> tuple[Any, str]:
        """What Arrow reads by, and what paths there begin with. A local file that is open stays the one that it was."""
        if self.store.url.startswith("file://"):
            from pyarrow.fs import LocalFileSystem

            return LocalFileSystem(), self.store.url.removeprefix("file://") + "/"
        from callarchive.storage.stores.arrow_files import arrow_files

        return arrow_files(self.store), ""


def table_named(name: str) -> Table:
    """The public table of that name. Raises ArchiveError when there is none."""
    for table in PUBLIC_TABLES:
        if table.name == name:
            return table
    raise ArchiveError(f"there is no table {name}: the catalog has {', '.join(t.name for t in PUBLIC_TABLES)}")


def _select(table: Table, files: Sequence[str]) -> str:
    """DuckDB's select of the table's columns and `call_date` from these local files, of which there may be none."""
    typed = [f'null::{schemas.SQL_TYPES[column.type]} as "{column.name}"' for column in table.columns]
    no_rows = f"select {', '.join((*typed, 'null::date as call_date'))} where false"
    if not files:
        return no_rows
    names = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    return (
        # The columns are named once more outside: `env=prod` in the catalog's own path is a column to DuckDB. A column that
        # all of the files lack is null.
        f"select {columns}, call_date from ({no_rows} union all by name "  # noqa: S608
        f"select * from read_parquet([{names}], hive_partitioning = true, hive_types = {{'call_date': date}}, "
        "union_by_name = true))"
    )


def _with_call_date(table: Table) -> "pa.Schema":
    import pyarrow as pa

    return table.schema.append(pa.field("call_date", pa.date32()))


def _day_in(path: str) -> date | None:
    for part in path.split("/"):
        if part.startswith("call_date="):
            try:
                return date.fromisoformat(part.removeprefix("call_date="))
            except ValueError:
                return None
    return None
