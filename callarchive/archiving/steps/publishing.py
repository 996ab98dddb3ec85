"""The last steps of a day: the public tables, computed from what the steps before wrote."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from callarchive.archiving.connections import Connections
from callarchive.archiving.steps.account_failures import rows_of_failed, without_failed
from callarchive.archiving.steps.reports import StepReport, partition_of
from callarchive.archiving.transforms import public_tables
from callarchive.catalog import schemas
from callarchive.catalog.schemas import Table
from callarchive.domain.errors import AccountFailure

if TYPE_CHECKING:
    import pyarrow as pa


def write_sessions(connections: Connections, day: date, *, failures: Sequence[AccountFailure] = ()) -> StepReport:
    """`sessions` holds one row per session of the day, with its call facts and how the look-up went."""
    sessions = public_tables.sessions_table(
        sessions=partition_of(connections, schemas.SESSION_IDS, day),
        lookups=partition_of(connections, schemas.LOOKUPS, day),
        metadata=partition_of(connections, schemas.RECORDING_METADATA, day, columns=schemas.SESSIONS.key),
    )
    return _written(connections, schemas.SESSIONS, day, sessions, failures)


def write_recordings(connections: Connections, day: date, *, failures: Sequence[AccountFailure] = ()) -> StepReport:
    """`recordings` holds one row per recording that 8x8 named for the day, with what the archive has of it."""
    recordings = public_tables.recordings_table(
        metadata=partition_of(connections, schemas.RECORDING_METADATA, day),
        files=partition_of(connections, schemas.RECORDING_FILES, day, columns=public_tables.FILE_COLUMNS),
        events=connections.catalog.partition(schemas.RECORDING_EVENTS, day, columns=public_tables.EVENT_COLUMNS),
        call_date=day,
        now=connections.clock(),
        archive_root=connections.archive.store.uri("_")[:-1],  # for columns; one by one it takes half of the step
        tolerance_s=connections.settings.transfer.duration_tolerance_s,
    )
    return _written(connections, schemas.RECORDINGS, day, recordings, failures)


def write_status_stats(connections: Connections, day: date, *, failures: Sequence[AccountFailure] = ()) -> StepReport:
    """`status_stats` counts the day's `recordings` by account and states."""
    columns = (*schemas.STATUS_STATS.key, "size_bytes", "duration_s")
    recordings = partition_of(connections, schemas.RECORDINGS, day, columns=columns)
    return _written(connections, schemas.STATUS_STATS, day, public_tables.status_stats_table(recordings), failures)


def write_duration_stats(connections: Connections, day: date, *, failures: Sequence[AccountFailure] = ()) -> StepReport:
    """`duration_stats` describes the durations of the day's archived recordings by account."""
    columns = ("subaccount_id", "archive_status", "duration_s")
    recordings = partition_of(connections, schemas.RECORDINGS, day, columns=columns)
    return _written(connections, schemas.DURATION_STATS, day, public_tables.duration_stats_table(recordings), failures)


def _written(
    connections: Connections,
    table: Table,
    day: date,
    rows: "pa.Table",
    failures: Sequence[AccountFailure],
) -> StepReport:
    """Replace the partition; accounts that failed keep the rows that they have there."""
    if failures:
        import pyarrow as pa

        earlier = rows_of_failed(connections.catalog, table, day, failures)
        rows = pa.concat_tables([without_failed(rows, failures), earlier])
    return StepReport(table, day, connections.catalog.replace_partition(table, day, rows), failures=tuple(failures))
