"""The rows of `reconciliation` that other tables prove: not those from landings or the inbox, and not resolved ones."""

from datetime import timedelta

import pyarrow as pa

from callarchive.archiving.connections import Connections
from callarchive.archiving.transforms import reconciliation
from callarchive.archiving.transforms.reconciliation import OPEN, RESOLVED
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import keys_of, pc
from callarchive.catalog.rows import Row
from callarchive.domain.days import day_bounds
from callarchive.domain.foreign_text import cleaned_path
from callarchive.domain.models import ArchiveStatus, Discrepancy
from callarchive.monitoring.verification.findings import Defect, Finding
from callarchive.monitoring.verification.partitions import DayTables

_ANY_GRACE = timedelta(days=7)
"""Longer than any grace period: for calls this long before their lookup, every run has the row."""


def compare_reconciliation(
    connections: Connections, tables: DayTables, *, sessions: pa.Table, recordings: pa.Table
) -> list[Finding]:
    """Return findings for missing rows that tables computed from the step tables prove, and for rows that they disprove."""
    found = tables.partition(schemas.RECONCILIATION)
    if found is None:
        return []
    rows = found.rows.to_pylist()
    findings = [_finding(row, text) for row in rows if (text := _contradiction(row)) is not None]
    open_rows = [row for row in rows if row["state"] == OPEN]
    open_keys = {_key(row) for row in open_rows}
    findings += [
        Finding(Defect.REMOVED, f"reconciliation {cleaned_path(key)}: the row is not open, but other tables prove it")
        for key in _proven(connections, tables, sessions=sessions, recordings=recordings)
        if key not in open_keys
    ]
    columns = (recordings[name].to_pylist() for name in ("archive_status", "session_id"))
    keys = keys_of(recordings, reconciliation.RECORDING).to_pylist()
    known = dict(zip(keys, zip(*columns, strict=True), strict=True))
    for row in open_rows:
        if row["kind"] not in (Discrepancy.RECORDING_WITHOUT_FILE, Discrepancy.DURATION_MISMATCH):
            continue
        status, session_id = known.get(f"{row['subaccount_id']}/{row['recording_id']}", (None, row["session_id"]))
        if row["kind"] == Discrepancy.RECORDING_WITHOUT_FILE and status == ArchiveStatus.ARCHIVED:
            findings.append(_finding(row, "it is open, but the recording is archived"))
        elif row["recording_id"] != row["subject"]:
            findings.append(_finding(row, f"recording_id is {cleaned_path(str(row['recording_id']))}"))
        elif row["session_id"] != session_id:
            findings.append(_finding(row, f"session_id is {cleaned_path(str(row['session_id']))}, not {session_id}"))
    return findings


def _proven(connections: Connections, tables: DayTables, *, sessions: pa.Table, recordings: pa.Table) -> list[str]:
    """Return the keys of rows that are open after any run, independent of its clock and settings."""
    settings = connections.settings
    missing = recordings.filter(pc.equal(recordings["archive_status"], ArchiveStatus.MISSING.value))
    keys: list[str] = reconciliation.reconciliation_keys(Discrepancy.RECORDING_WITHOUT_FILE, missing, "recording_id")
    public = tables.partition(schemas.RECORDINGS)
    if public is not None:
        flagged = public.rows.filter(pc.fill_null(public.rows["duration_mismatch"], False))
        apart = reconciliation.disagreeing_durations(
            recordings, sessions, tolerance_s=settings.transfer.duration_tolerance_s
        )
        both = pc.is_in(keys_of(apart, reconciliation.RECORDING), value_set=keys_of(flagged, reconciliation.RECORDING))
        keys += reconciliation.reconciliation_keys(Discrepancy.DURATION_MISMATCH, apart.filter(both), "subject")
    silent, _ = reconciliation.calls_without_recording(
        sessions,
        recordings,
        day_end=day_bounds(tables.day, settings.zone)[1],
        grace=max(timedelta(hours=settings.transfer.missing_after_hours), _ANY_GRACE),
    )
    keys += reconciliation.reconciliation_keys(Discrepancy.CONNECTED_CALL_WITHOUT_RECORDING, silent, "subject")
    return sorted(keys)


def _contradiction(row: Row) -> str | None:
    if row["state"] not in (OPEN, RESOLVED):
        return f"state is {cleaned_path(str(row['state']))}"
    if (row["state"] == OPEN) != (row["resolved_at"] is None):
        return f"state is {row['state']}, but resolved_at is {row['resolved_at']}"
    return None


def _key(row: Row) -> str:
    return "/".join(str(row[name]) for name in schemas.RECONCILIATION.key)


def _finding(row: Row, text: str) -> Finding:
    return Finding(Defect.EDITED, f"reconciliation {cleaned_path(_key(row))}: {text}")
