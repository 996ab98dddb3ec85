"""The last steps of a day: the public tables, computed from what the steps before wrote."""

from datetime import date

from callarchive import schemas, tables
from callarchive.connections import Connections
from callarchive.records import Row
from callarchive.schemas import Table
from callarchive.steps.reports import StepReport, rows_of


def write_sessions(connections: Connections, day: date) -> StepReport:
    """`sessions` holds one row per session of the day, with its call facts and how the look-up went."""
    rows = tables.session_rows(
        sessions=rows_of(connections, schemas.SESSION_IDS, day),
        lookups=rows_of(connections, schemas.LOOKUPS, day),
        metadata=rows_of(connections, schemas.RECORDING_METADATA, day),
    )
    return _written(connections, schemas.SESSIONS, day, rows)


def write_recordings(connections: Connections, day: date) -> StepReport:
    """`recordings` holds one row per recording that 8x8 named for the day, with what the archive has of it."""
    rows = tables.recording_rows(
        metadata=rows_of(connections, schemas.RECORDING_METADATA, day),
        files=rows_of(connections, schemas.RECORDING_FILES, day),
        call_date=day,
        now=connections.clock(),
        archive_uri=connections.archive.store.uri,
        tolerance_s=connections.settings.transfer.duration_tolerance_s,
    )
    return _written(connections, schemas.RECORDINGS, day, rows)


def write_status_stats(connections: Connections, day: date) -> StepReport:
    """`status_stats` counts the day's `recordings` by account and states."""
    return _written(
        connections, schemas.STATUS_STATS, day, tables.status_stat_rows(rows_of(connections, schemas.RECORDINGS, day))
    )


def write_duration_stats(connections: Connections, day: date) -> StepReport:
    """`duration_stats` describes the durations of the day's archived recordings by account."""
    return _written(
        connections,
        schemas.DURATION_STATS,
        day,
        tables.duration_stat_rows(rows_of(connections, schemas.RECORDINGS, day)),
    )


def _written(connections: Connections, table: Table, day: date, rows: list[Row]) -> StepReport:
    return StepReport(table, day, connections.catalog.replace_partition(table, day, rows))
