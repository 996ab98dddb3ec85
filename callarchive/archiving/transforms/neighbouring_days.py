"""The ids and paths that the catalog knows on a day and the days around it.

The day itself is read first, then its neighbours, which mostly suffice, then the month around it.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, pc
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import Table
from callarchive.storage.landing.contents import recording_id_in

_REACH = timedelta(days=31)

TableColumn = tuple[Table, str]

_RECORDING_IDS: tuple[TableColumn, ...] = (
    (schemas.RECORDINGS, "recording_id"),
    (schemas.RECORDING_FILES, "recording_id"),  # includes archived recordings that 8x8 no longer lists
)
_OBJECT_PATHS: tuple[TableColumn, ...] = ((schemas.RECORDING_FILES, "source_path"),)
_SESSION_IDS: tuple[TableColumn, ...] = ((schemas.SESSIONS, "session_id"),)


class NeighbouringDays:
    """A day of the catalog and the 31 days before and after it, without the rows of `ignored_accounts`."""

    def __init__(self, catalog: Catalog, day: date, *, ignored_accounts: Collection[str] = ()) -> None:
        self._catalog = catalog
        self._day = day
        one = timedelta(days=1)
        self._stages: tuple[Sequence[date] | None, ...] = ([day], [day - one, day + one], None)  # None: all days
        self._ignored_accounts = pa.array(sorted(ignored_accounts), pa.string())

    def unknown_objects(self, paths: Sequence[str]) -> list[str]:
        """Return, in order, the paths in a landing that match no known recording, by path or by the id in the name."""
        ids = (recording_id_in(path) for path in paths)
        left = pa.table({"path": pa.array(paths, pa.string()), "id": pa.array(ids, pa.string(), size=len(paths))})
        places = [("id", column) for column in _RECORDING_IDS] + [("path", column) for column in _OBJECT_PATHS]
        for days in self._stages:
            for name, column in places:  # the first knows most of them, and without any left nothing is read
                known = self._known(days, [column], left[name].drop_null())
                left = left.filter(pc.invert(pc.is_in(left[name], value_set=known)))
        found: list[Any] = left["path"].to_pylist()
        return found

    def unknown_ids(self, column: str, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that no day has; `column` is session_id or recording_id."""
        columns = _SESSION_IDS if column == "session_id" else _RECORDING_IDS
        left = pa.array(set(ids), pa.string())
        for days in self._stages:
            if not len(left):
                break
            left = left.filter(pc.invert(pc.is_in(left, value_set=self._known(days, columns, left))))
        unknown: list[Any] = left.to_pylist()
        return set(unknown)

    def _known(self, days: Sequence[date] | None, columns: Iterable[TableColumn], wanted: Column) -> Column:
        """Return the wanted values that are in one of the columns on these days, possibly with duplicates."""
        found = []
        for table, column in columns if len(wanted) else ():
            for rows in self._rows(days, table, column, wanted):
                counts = pc.and_not(
                    pc.is_in(rows[column], value_set=wanted),
                    pc.is_in(rows["subaccount_id"], value_set=self._ignored_accounts),
                )
                found += rows[column].filter(counts).chunks
        return pa.chunked_array(found, pa.string())

    def _rows(self, days: Sequence[date] | None, table: Table, column: str, wanted: Column) -> Iterator[pa.Table]:
        columns = ["subaccount_id", column]
        for day in days or ():
            yield self._catalog.partition(table, day, columns=columns)
        if days is None:
            around = self._catalog.dataset(table, self._day - _REACH, self._day + _REACH)
            yield around.to_table(columns=columns, filter=pc.field(column).isin(wanted))
