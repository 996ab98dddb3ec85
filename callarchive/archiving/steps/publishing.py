"""The public tables of a day, computed from what the steps before wrote."""

from collections.abc import Iterator, Sequence
from functools import partial

import pyarrow as pa

from callarchive.archiving.catalog_day import CatalogDay
from callarchive.archiving.steps.account_failures import with_rows_of_failed
from callarchive.archiving.steps.reports import StepReport
from callarchive.archiving.transforms import public_tables
from callarchive.catalog import schemas
from callarchive.catalog.parquet_files import Parts
from callarchive.catalog.schemas import Table
from callarchive.domain.errors import AccountFailure


def write_sessions(day: CatalogDay, *, failures: Sequence[AccountFailure]) -> StepReport:
    """Write `sessions`: one row per session of the day, with the facts of its call and the result of its lookup."""
    sessions = public_tables.sessions_table(
        sessions=day.required_rows(schemas.SESSION_IDS),
        lookups=day.required_rows(schemas.LOOKUPS),
        metadata=day.required_rows(schemas.RECORDING_METADATA, columns=schemas.SESSIONS.key),
    )
    return _write(day, schemas.SESSIONS, sessions, failures)


def write_recordings(day: CatalogDay, *, archive_root: str, failures: Sequence[AccountFailure]) -> StepReport:
    """Write `recordings`: one row per recording that 8x8 named for the day, with what the archive has of it."""
    metadata, files = day.stored_rows(schemas.RECORDING_METADATA), day.stored_rows(schemas.RECORDING_FILES)
    events = day.rows(schemas.RECORDING_EVENTS, columns=public_tables.EVENT_COLUMNS)
    recordings = partial(
        public_tables.recordings_table,
        events=events,
        call_date=day.date,
        now=day.clock(),
        archive_root=archive_root,
        tolerance_s=day.settings.transfer.duration_tolerance_s,
    )

    def parts() -> Iterator[pa.Table]:
        """Yield the rows of metadata and files that have their keys in the same range, as they are both ordered by key."""
        begin = 0
        for part in metadata.parts():
            end = files.count_up_to([part[name][-1].as_py() for name in schemas.RECORDINGS.key])
            yield recordings(metadata=part, files=files.between(begin, end).decoded(public_tables.FILE_COLUMNS))
            begin = end
        rest = files.between(begin, len(files)).decoded(public_tables.FILE_COLUMNS)
        yield recordings(metadata=schemas.RECORDING_METADATA.schema.empty_table(), files=rest)

    return _write(day, schemas.RECORDINGS, parts, failures)


def write_status_stats(day: CatalogDay, *, failures: Sequence[AccountFailure]) -> StepReport:
    """Write `status_stats`: the number of the day's `recordings` by account and states."""
    recordings = day.required_rows(schemas.RECORDINGS, columns=(*schemas.STATUS_STATS.key, "size_bytes", "duration_s"))
    return _write(day, schemas.STATUS_STATS, public_tables.status_stats_table(recordings), failures)


def write_duration_stats(day: CatalogDay, *, failures: Sequence[AccountFailure]) -> StepReport:
    """Write `duration_stats`: the durations of the day's archived recordings by account."""
    recordings = day.required_rows(schemas.RECORDINGS, columns=("subaccount_id", "archive_status", "duration_s"))
    return _write(day, schemas.DURATION_STATS, public_tables.duration_stats_table(recordings), failures)


def _write(day: CatalogDay, table: Table, rows: pa.Table | Parts, failures: Sequence[AccountFailure]) -> StepReport:
    """Replace the partition; accounts that failed keep the rows that they have there."""
    if failures:
        rows = rows if isinstance(rows, pa.Table) else pa.concat_tables(rows())
        rows = with_rows_of_failed(rows, day.rows(table), failures)
    return StepReport(table, day.date, day.replace(table, rows), failures=tuple(failures))
