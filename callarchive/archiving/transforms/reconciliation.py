"""The table `reconciliation`: discrepancies within a day's tables (for others, see `orphans`), merged with earlier rows."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

import pyarrow as pa

from callarchive.catalog.arrow_columns import Column, is_true, joined_lists, keys_of, matching_rows, pc, rows_where
from callarchive.catalog.schemas import RECONCILIATION
from callarchive.domain.models import ArchiveStatus, Discrepancy, LookupStatus

SESSION = ("subaccount_id", "session_id")
RECORDING = ("subaccount_id", "recording_id")
OPEN, RESOLVED = "open", "resolved"

SESSION_COLUMNS = (
    *SESSION,
    "started_at",
    "ended_at",
    "session_status",
    "call_duration_s",
    "lookup_status",
    "looked_up_at",
)
RECORDING_COLUMNS = (
    *RECORDING,
    "session_id",
    "archive_status",
    "error",
    "started_at",
    "source_uri",
    "archive_uri",
    "duration_s",
    "duration_api_s",
    "duration_event_s",
)
"""The columns of `sessions` and `recordings` that this module needs."""

FOUND: pa.Schema = pa.schema(
    [f for f in RECONCILIATION.schema if f.name not in ("first_seen_at", "state", "resolved_at")]
)
"""The columns of a finding."""

_KIND = ("subaccount_id", "kind")
_UNANSWERED = ("NO_ANSWER", "BUSY", "CANCELED")
_WITHOUT_FILE = tuple(
    status.value for status in ArchiveStatus if status not in (ArchiveStatus.ARCHIVED, ArchiveStatus.ERASED)
)
_WHY_NO_RECORDING = {
    LookupStatus.OK.value: "8x8 lists no known recording",
    LookupStatus.NO_RECORDINGS.value: "8x8 has no recording",
    LookupStatus.NOT_FOUND.value: "8x8 does not know the session",
}
_WHY_NO_FILE = {
    ArchiveStatus.PENDING.value: "not available yet",
    ArchiveStatus.MISSING.value: "uploaded according to 8x8, but not found",
    ArchiveStatus.REJECTED.value: "the file found is not audio",
    ArchiveStatus.FAILED.value: "the download failed",
    ArchiveStatus.NOT_UPLOADED.value: "not uploaded",
}


def calls_without_recording(
    sessions: pa.Table, recordings: pa.Table, *, day_end: datetime, grace: timedelta
) -> tuple[pa.Table, list[str]]:
    """Return connected calls without a recording at 8x8, and the keys of calls for which it may still list one.

    `day_end` is used for sessions with neither end nor start; `grace` is how long 8x8 may still add a recording.
    """
    has_one = pc.is_in(keys_of(sessions, SESSION), value_set=keys_of(recordings, SESSION))
    silent = sessions.filter(pc.and_not(are_connected(sessions), has_one))
    over_at = pc.add(
        pc.coalesce(silent["ended_at"], silent["started_at"], _at(day_end)), pa.scalar(grace, pa.duration("us"))
    )
    answered = pc.is_in(silent["lookup_status"], value_set=pa.array(list(_WHY_NO_RECORDING)))
    final = pc.and_(answered, is_true(pc.greater_equal(silent["looked_up_at"], over_at)))
    kind, undecided = Discrepancy.CONNECTED_CALL_WITHOUT_RECORDING, silent.filter(pc.invert(final))
    silent = silent.filter(final)
    seconds = pc.binary_join_element_wise("the call lasted ", _seconds(silent["call_duration_s"]), " s", "")
    reason = pc.binary_join_element_wise(
        pc.if_else(silent["call_duration_s"].is_valid(), pc.fill_null(seconds, ""), "the call was connected"),
        _mapped(silent["lookup_status"], _WHY_NO_RECORDING),
        ", and ",
    )
    return _of_sessions(kind, silent, reason), reconciliation_keys(kind, undecided, "session_id")


def are_connected(sessions: pa.Table) -> Column:
    """Return for each session whether its call was connected.

    It was if it has a duration and no unanswered status, or if it is COMPLETED and its duration is unknown.
    """
    lasting_s, status = sessions["call_duration_s"], sessions["session_status"]
    unanswered = pc.is_in(status, value_set=pa.array(_UNANSWERED))
    return pc.or_(
        pc.and_not(is_true(pc.greater(lasting_s, 0)), unanswered),
        pc.and_(lasting_s.is_null(), is_true(pc.equal(status, "COMPLETED"))),
    )


def sessions_not_found(sessions: pa.Table, confirmed: Column) -> tuple[pa.Table, list[str]]:
    """Return sessions that 8x8's recordings API does not know, and the keys of those that it may know.

    Only a response that lists a recording resolves an open row. `confirmed`: see `confirmed_negatives`.
    """
    kind, status = Discrepancy.SESSION_NOT_FOUND, sessions["lookup_status"]
    unknown = pc.and_(is_true(pc.equal(status, LookupStatus.NOT_FOUND.value)), confirmed)
    undecided = sessions.filter(pc.and_not(pc.invert(unknown), is_true(pc.equal(status, LookupStatus.OK.value))))
    rows = sessions.filter(unknown)
    twice = "8x8 reported the session as unknown twice, a day apart, though sources list it: "
    lasted = pc.binary_join_element_wise(", and the call lasted ", _seconds(rows["call_duration_s"]), " s", "")
    reason = pc.binary_join_element_wise(twice, joined_lists(rows["sources"], ", "), pc.fill_null(lasted, ""), "")
    return _of_sessions(kind, rows, reason), reconciliation_keys(kind, undecided, "session_id")


def recordings_without_file(
    recordings: pa.Table, sessions: pa.Table, *, day_end: datetime, grace: timedelta, now: datetime
) -> tuple[pa.Table, list[str]]:
    """Return recordings not archived after the grace period, and the keys of those within it."""
    lacking = recordings.filter(pc.is_in(recordings["archive_status"], value_set=pa.array(_WITHOUT_FILE)))
    call = sessions["started_at"].take(matching_rows(keys_of(lacking, SESSION), among=keys_of(sessions, SESSION)))
    call_at = pc.coalesce(lacking["started_at"], call, _at(day_end))
    over = pc.or_(
        pc.equal(lacking["archive_status"], ArchiveStatus.MISSING.value),  # set only after the grace period
        pc.less_equal(call_at, _at(now - grace)),
    )
    kind, young = Discrepancy.RECORDING_WITHOUT_FILE, lacking.filter(pc.invert(over))
    lacking = lacking.filter(over)
    why = _mapped(lacking["archive_status"], _WHY_NO_FILE)
    reason = pc.binary_join_element_wise(why, lacking["error"], ": ", null_handling="skip")
    found = _of_recordings(kind, lacking, place=lacking["source_uri"], reason=reason)
    return found, reconciliation_keys(kind, young, "recording_id")


def disagreeing_durations(recordings: pa.Table, sessions: pa.Table, *, tolerance_s: float) -> pa.Table:
    """Return recordings whose measured, API and event durations differ by more than the tolerance, or that exceed their call.

    A recording exceeds its call if it is longer by more than the tolerance and more than a tenth.
    """
    rows = rows_where(recordings, pc.not_equal(recordings["archive_status"], ArchiveStatus.ERASED.value))
    numbers = matching_rows(keys_of(rows, SESSION), among=keys_of(sessions, SESSION))
    call_s = sessions["call_duration_s"].take(numbers)
    longer_s, allowed_s = pc.subtract(rows["duration_s"], call_s), pc.multiply(call_s, 0.1)
    off: Column = is_true(pc.greater(longer_s, pc.max_element_wise(allowed_s, tolerance_s)))
    off = pc.and_(off, is_true(pc.equal(rows["archive_status"], ArchiveStatus.ARCHIVED.value)))
    for one, other in combinations((rows["duration_s"], rows["duration_api_s"], rows["duration_event_s"]), 2):
        off = pc.or_(off, is_true(pc.greater(pc.abs(pc.subtract(one, other)), tolerance_s)))
    rows, calls = rows.filter(off), list[Any](call_s.filter(off).to_pylist())
    reasons = [
        _disagreement(
            {"measured": row["duration_s"], "8x8's API": row["duration_api_s"], "event": row["duration_event_s"]},
            lasted_s,
            tolerance_s,
        )
        for row, lasted_s in zip(rows.to_pylist(), calls, strict=True)
    ]
    reason = pa.array(reasons, pa.string())
    return _of_recordings(Discrepancy.DURATION_MISMATCH, rows, place=rows["archive_uri"], reason=reason)


def reconciled(
    earlier: pa.Table,
    found: Sequence[pa.Table],
    *,
    now: datetime,
    unknown_kinds: Collection[tuple[str, str]] = (),
    unknown: Collection[str] = (),
) -> pa.Table:
    """Return the rows of `reconciliation`: findings are open, open rows without a finding are resolved, and none is removed.

    A finding keeps its `first_seen_at`, even if it was resolved in between. Unchanged findings give unchanged rows.

    Args:
        found: tables with the columns `FOUND` and unique keys.
        unknown_kinds, unknown: (subaccount_id, kind) and `reconciliation_keys` that this run could not check: rows stay open.
    """
    key = RECONCILIATION.key
    rows = pa.concat_tables([FOUND.empty_table(), *found])
    numbers = matching_rows(keys_of(rows, key), among=keys_of(earlier, key))
    opened = {name: rows[name] for name in FOUND.names} | {
        "first_seen_at": pc.coalesce(earlier["first_seen_at"].take(numbers), _at(now)),
        "state": pa.repeat(OPEN, len(rows)),
        "resolved_at": pa.nulls(len(rows), _at(now).type),
    }
    others = earlier.filter(pc.invert(pc.is_in(keys_of(earlier, key), value_set=keys_of(rows, key))))
    kept = pc.or_(
        pc.is_in(keys_of(others, _KIND), value_set=pa.array(["/".join(pair) for pair in unknown_kinds], pa.string())),
        pc.is_in(keys_of(others, key), value_set=pa.array(list(unknown), pa.string())),
    )
    fits_now = pc.and_not(pc.equal(others["state"], OPEN), kept)
    closed = {name: others[name] for name in others.column_names} | {
        "state": pc.if_else(fits_now, RESOLVED, others["state"]),
        "resolved_at": pc.if_else(fits_now, _at(now), others["resolved_at"]),
    }
    schema = RECONCILIATION.schema
    tables = [pa.table([part[name] for name in schema.names], schema=schema) for part in (opened, closed)]
    return pa.concat_tables(tables)


def reconciliation_keys(kind: Discrepancy, rows: pa.Table, subject: str) -> list[str]:
    """Return the key of each row in `reconciliation`, joined with `/`. `subject` is the name of a column."""
    keys: list[str] = pc.binary_join_element_wise(rows["subaccount_id"], kind.value, rows[subject], "/").to_pylist()
    return keys


def _found(kind: Discrepancy, rows: pa.Table, **columns: Column) -> pa.Table:
    """Return findings of one kind. Columns that are not given are NULL."""
    given = {"subaccount_id": rows["subaccount_id"], "kind": pa.repeat(kind.value, len(rows)), **columns}
    return pa.table([given.get(f.name, pa.nulls(len(rows), f.type)) for f in FOUND], schema=FOUND)


def _of_sessions(kind: Discrepancy, rows: pa.Table, reason: Column) -> pa.Table:
    return _found(kind, rows, subject=rows["session_id"], session_id=rows["session_id"], reason=reason)


def _of_recordings(kind: Discrepancy, rows: pa.Table, **columns: Column) -> pa.Table:
    id_ = rows["recording_id"]
    return _found(kind, rows, subject=id_, session_id=rows["session_id"], recording_id=id_, **columns)


def _disagreement(durations_s: dict[str, float | None], call_s: float | None, tolerance_s: float) -> str:
    """Describe which durations differ and by how much, then list them all."""
    known = {name: seconds for name, seconds in durations_s.items() if seconds is not None}
    differing = [
        f"{one} and {other} differ by {abs(known[one] - known[other]):.1f} s"
        for one, other in combinations(known, 2)
        if abs(known[one] - known[other]) > tolerance_s
    ]
    measured_s = durations_s["measured"]
    if measured_s is not None and call_s is not None and measured_s - call_s > max(tolerance_s, 0.1 * call_s):
        differing.append(f"measured is {measured_s - call_s:.1f} s longer than the call")
    if call_s is not None:
        known["call"] = call_s
    return "; ".join((*differing, ", ".join(f"{name} {seconds:.1f} s" for name, seconds in known.items())))


def _mapped(column: Column, texts: dict[str, str]) -> Column:
    """Return the text of each value; NULL for a value without a text."""
    return pa.array(list(texts.values()), pa.string()).take(pc.index_in(column, value_set=pa.array(list(texts))))


def _seconds(column: Column) -> Column:
    return pc.cast(pc.cast(pc.round(column), pa.int64()), pa.string())


def _at(moment: datetime) -> Any:
    return pa.scalar(moment, pa.timestamp("us", "UTC"))
