"""What webhook events tell of a day's recordings, taken out of the inbox: `recording_events`.

The inbox is pruned; what a day has taken over stays.
"""

from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa

from callarchive import schemas
from callarchive.catalog import Catalog
from callarchive.columns import Column, keys_of, matching_rows, pc, rows_at
from callarchive.models import ApiStatus
from callarchive.records import Row

if TYPE_CHECKING:  # SQLAlchemy costs 0.2 s of import, which days without an inbox do not need
    from callarchive.inbox.inbox import Inbox, InboxRecording

_SESSION = ("subaccount_id", "session_id")
_RECORDING = ("subaccount_id", "recording_id")
_TABLE = schemas.RECORDING_EVENTS


def write_recording_events(catalog: Catalog, day: date, inbox: "Inbox", *, sessions: pa.Table) -> int:
    """`recording_events` holds what the inbox tells of the recordings of these sessions, and what it told before.

    Where no event ever concerned the day nothing is written. Returns the number of rows.

    Args:
        sessions: the day's `session_ids`.

    Raises:
        UnavailableError, StoreError: the inbox cannot be read.
    """
    from callarchive.inbox.inbox import merge_recordings

    told: dict[tuple[str, str], InboxRecording] = {}
    for row in _of_sessions(catalog.partition(_TABLE, day), sessions).to_pylist():
        told[row["subaccount_id"], row["recording_id"]] = _recording(row)
    accounts: list[str] = sessions["subaccount_id"].unique().to_pylist()  # type: ignore[assignment]
    for account in accounts:
        own = sessions.filter(pc.equal(sessions["subaccount_id"], account))
        session_ids: list[str] = own["session_id"].to_pylist()  # type: ignore[assignment]
        for recording in inbox.recordings(account, session_ids):
            key = account, recording.recording_id
            known = told.get(key)
            told[key] = recording if known is None else merge_recordings(known, recording)
    if not told and not catalog.has(_TABLE, day):
        return 0
    return catalog.replace_partition(_TABLE, day, [_row(account, told[account, id_]) for account, id_ in sorted(told)])


def with_recordings_of_events(metadata: pa.Table, events: pa.Table, *, sessions: pa.Table) -> pa.Table:
    """`recording_metadata` with the recordings that only an event names: they are fetched like the others, and never lost."""
    new = _of_sessions(events, sessions)
    new = new.filter(pc.invert(pc.is_in(keys_of(new, _RECORDING), value_set=keys_of(metadata, _RECORDING))))
    if not len(new):
        return metadata
    schema = schemas.RECORDING_METADATA.schema
    columns = [new[f.name] if f.name in new.column_names else pa.nulls(len(new), f.type) for f in schema]
    return pa.concat_tables([metadata, pa.table(columns, schema=schema)])


def event_column(recordings: pa.Table, events: pa.Table, name: str) -> Column:
    """For each recording what its events tell in that column; null where there are none."""
    rows = matching_rows(keys_of(recordings, _RECORDING), among=keys_of(events, _RECORDING))
    return rows_at(events.select([name]), rows)[name]


def _of_sessions(events: pa.Table, sessions: pa.Table) -> pa.Table:
    return events.filter(pc.is_in(keys_of(events, _SESSION), value_set=keys_of(sessions, _SESSION)))


def _recording(row: Row) -> "InboxRecording":
    from callarchive.inbox.inbox import InboxRecording

    return InboxRecording(
        session_id=row["session_id"],
        recording_id=row["recording_id"],
        status=ApiStatus(row["api_status"]),
        status_raw=row["api_status_raw"],
        duration_s=row["duration_event_s"],
        file_path=row["file_path"],
        first_received_at=row["first_received_at"],
        last_received_at=row["first_received_at"],
    )


def _row(subaccount_id: str, told: "InboxRecording") -> Row:
    return {
        "subaccount_id": subaccount_id,
        "session_id": told.session_id,
        "recording_id": told.recording_id,
        "api_status": told.status.value,
        "api_status_raw": told.status_raw,
        "file_path": told.file_path,
        "duration_event_s": told.duration_s,
        "first_received_at": told.first_received_at,
    }
