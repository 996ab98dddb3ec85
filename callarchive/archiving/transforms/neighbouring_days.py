"""Which ids and places the catalog knows on a day and on the days around it: a call of one day may be named by another's.

A session source puts a call on the day that it likes, and a recording begins after its call, perhaps after midnight.
The day itself and its neighbours are read first, and mostly suffice; the month around only for what is left then.
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

_DAYS_AROUND = 31

Lookup = tuple[Table, str]
"""A table and the column to look into."""

_RECORDING_IDS: tuple[Lookup, ...] = (
    (schemas.RECORDINGS, "recording_id"),
    (schemas.RECORDING_FILES, "recording_id"),  # also of recordings that nobody names any more, and that we keep
)
_OBJECT_PATHS: tuple[Lookup, ...] = ((schemas.RECORDING_FILES, "source_path"),)
_SESSION_IDS: tuple[Lookup, ...] = ((schemas.SESSIONS, "session_id"),)


class Neighbourhood:
    """A day of the catalog and the 31 days before and after it.

    Args:
        strangers: accounts whose rows do not count.
    """

    def __init__(self, catalog: Catalog, day: date, *, strangers: Collection[str] = ()) -> None:
        self._catalog = catalog
        self._day = day
        self._strangers = pa.array(sorted(strangers), pa.string())

    def without_recording(self, paths: Sequence[str]) -> list[str]:
        """Those of a landing's paths that are no known recording's, neither by place nor by the id in the name; in order."""
        ids = (recording_id_in(path) for path in paths)
        left = pa.table({"path": pa.array(paths, pa.string()), "id": pa.array(ids, pa.string(), size=len(paths))})
        for step in self._steps():
            if not len(left):
                break
            by_id = pc.is_in(left["id"], value_set=step.known(_RECORDING_IDS, left["id"].drop_null()))
            by_path = pc.is_in(left["path"], value_set=step.known(_OBJECT_PATHS, left["path"]))
            left = left.filter(pc.invert(pc.or_(by_id, by_path)))
        found: list[Any] = left["path"].to_pylist()
        return found

    def unknown_sessions(self, session_ids: Iterable[str]) -> set[str]:
        """Those of the ids that no day's `sessions` has."""
        return self._unknown(_SESSION_IDS, session_ids)

    def unknown_recordings(self, recording_ids: Iterable[str]) -> set[str]:
        """Those of the ids that no day's `recordings` has."""
        return self._unknown(_RECORDING_IDS, recording_ids)

    def _unknown(self, lookups: Sequence[Lookup], values: Iterable[str]) -> set[str]:
        left = pa.array(set(values), pa.string())
        for step in self._steps():
            if not len(left):
                break
            left = left.filter(pc.invert(pc.is_in(left, value_set=step.known(lookups, left))))
        unknown: list[Any] = left.to_pylist()
        return set(unknown)

    def _steps(self) -> "Iterator[_Step]":
        one = timedelta(days=1)
        for days in ([self._day], [self._day - one, self._day + one], None):
            yield _Step(self._catalog, self._day, days, self._strangers)


class _Step:
    """Some days of a neighbourhood: these, or all of it."""

    def __init__(self, catalog: Catalog, day: date, days: Sequence[date] | None, strangers: Any) -> None:
        self._catalog = catalog
        self._day = day
        self._days = days
        self._strangers = strangers

    def known(self, lookups: Iterable[Lookup], wanted: Column) -> Column:
        """Those of the wanted values that stand in one of the columns, perhaps more than once."""
        found = []
        for table, column in lookups:
            for rows in self._rows(table, column, wanted) if len(wanted) else ():
                counts = pc.and_not(
                    pc.is_in(rows[column], value_set=wanted),
                    pc.is_in(rows["subaccount_id"], value_set=self._strangers),
                )
                found += rows[column].filter(counts).chunks
        return pa.chunked_array(found, pa.string())

    def _rows(self, table: Table, column: str, wanted: Any) -> Iterator[pa.Table]:
        columns = ["subaccount_id", column]
        if self._days is not None:
            for day in self._days:
                yield self._catalog.partition(table, day, columns=columns)
            return
        reach = timedelta(days=_DAYS_AROUND)
        around = self._catalog.dataset(table, self._day - reach, self._day + reach)
        yield around.to_table(columns=columns, filter=pc.field(column).isin(wanted))
