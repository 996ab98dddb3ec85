"""Removal of erased ids from a day of the catalog: its tables, journals, and stored responses of 8x8.

It does not record anything, and does not touch the archive. Killed anywhere, it is repeated; what it did it does not do again.
"""

from typing import Any

import pyarrow as pa

from callarchive.archiving.catalog_day import CatalogDay
from callarchive.archiving.responses.store import ResponseStore
from callarchive.archiving.transfer_journal import TransferJournal, journal_folder
from callarchive.archiving.transforms import public_tables
from callarchive.archiving.transforms.erased_rows import recounted, with_tombstones, without_erased
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import pc
from callarchive.catalog.schemas import Table
from callarchive.domain.erased_ids import ErasedIds


def erase_from_catalog(day: CatalogDay, ids: ErasedIds, *, responses: ResponseStore) -> None:
    """Remove the ids from everything that the catalog has of the day, with older versions of its objects.

    Tombstones of recordings stay in `recording_files` and `recordings`. The caller holds the day's lock. Raises ArchiveError.
    """
    _Erasing(day, ids).tables()
    sessions = day.rows(schemas.SESSION_IDS, columns=schemas.SESSION_IDS.key)
    named = pc.is_in(sessions["session_id"], value_set=pa.array(sorted(ids.session_ids), pa.string()))
    accounts: set[Any] = set(sessions.filter(named)["subaccount_id"].to_pylist())
    responses.erase(day.date, ids, others=accounts - {ids.subaccount_id})


_WITHOUT_IDS = (schemas.DAY_BOUNDS, schemas.STATUS_STATS, schemas.DURATION_STATS)


class _Erasing:
    def __init__(self, day: CatalogDay, ids: ErasedIds) -> None:
        self._day = day
        self._ids = ids
        self._on = day.clock().date()

    def tables(self) -> None:
        """Replace the tables, internal ones first: public ones could be computed from them again."""
        day, store = self._day, self._day.catalog.store
        tables = [table for table in (*schemas.STEP_TABLES, *schemas.PUBLIC_TABLES) if day.catalog.has(table, day.date)]
        self._files()
        for table in tables:
            if table in (schemas.RECORDING_FILES, *_WITHOUT_IDS):
                continue
            before = day.rows(table)
            after = without_erased(table, before, self._ids, on=self._on)
            if table is schemas.RECORDINGS:
                after = with_tombstones(after, day.rows(schemas.RECORDING_FILES))
            elif table in (schemas.LOOKUPS, schemas.SESSIONS) and schemas.RECORDINGS in tables:
                recordings = without_erased(schemas.RECORDINGS, day.rows(schemas.RECORDINGS), self._ids, on=self._on)
                after = recounted(after, recordings)
            # Without a change, `replace` records what a killed erasure put in place.
            if table in schemas.PUBLIC_TABLES or not after.equals(before):
                day.replace(table, after)
        self._statistics(tables)
        for table in tables:
            store.erase_old_versions(table.partition_path(day.date))

    def _files(self) -> None:
        """Write `recording_files` with tombstones, and with what an interrupted run left in its journal."""
        day, journal = self._day, TransferJournal(self._day.catalog, self._day.date)
        before = journal.known()
        after = without_erased(schemas.RECORDING_FILES, before, self._ids, on=self._on)
        if not after.equals(before) or day.catalog.store.list(journal_folder(day.date)):
            day.recorder.record_files(day.date, [after])
            journal.close(after)
        day.catalog.store.erase_folder(journal_folder(day.date))

    def _statistics(self, tables: list[Table]) -> None:
        if schemas.RECORDINGS not in tables:
            return
        recordings = self._day.rows(schemas.RECORDINGS)
        for table, compute in (
            (schemas.STATUS_STATS, public_tables.status_stats_table),
            (schemas.DURATION_STATS, public_tables.duration_stats_table),
        ):
            if table in tables:
                self._day.replace(table, compute(recordings))
