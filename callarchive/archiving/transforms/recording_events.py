"""What webhook events tell of a day's recordings, taken out of the inbox: the table `recording_events` and what is made of it.

The inbox is pruned; what a day has taken over stays. Columns, not rows, but for what the inbox itself gives.
"""

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from callarchive.catalog.arrow_columns import Column, keys_of, matching_rows, pc, rows_at
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import RECORDING_EVENTS, RECORDING_METADATA
from callarchive.domain.payloads import PROGRESS

if TYPE_CHECKING:  # SQLAlchemy costs 0.2 s of import, which days without an inbox do not need
    from callarchive.events.inbox.inbox import Inbox
    from callarchive.events.inbox.merging import InboxRecording

_SESSION = ("subaccount_id", "session_id")
_RECORDING = RECORDING_EVENTS.key


def events_told(inbox: "Inbox", sessions: pa.Table) -> pa.Table:
    """Rows of `recording_events` of these sessions, as the inbox has them now.

    Raises:
        UnavailableError, StoreError: the inbox cannot be read.
    """
    accounts: list[str] = pc.unique(sessions["subaccount_id"]).to_pylist()
    told = [_told(inbox, account, sessions) for account in accounts]
    return pa.concat_tables([RECORDING_EVENTS.schema.empty_table(), *told])


def write_recording_events(catalog: Catalog, day: date, told: pa.Table | None, *, sessions: pa.Table) -> int:
    """`recording_events` holds what was told of the recordings of these sessions, now and earlier. Returns how many.

    Where no event ever concerned the day nothing is written.

    Args:
        told: rows of the table; null where there is no inbox, or it cannot be asked.
        sessions: the day's `session_ids`.
    """
    earlier = catalog.partition(RECORDING_EVENTS, day)
    new = RECORDING_EVENTS.schema.empty_table() if told is None else told
    if not len(new) and not len(earlier):
        return 0
    return catalog.replace_partition(RECORDING_EVENTS, day, merged_events(new, _of_sessions(earlier, sessions)))


def merged_events(new: pa.Table, earlier: pa.Table) -> pa.Table:
    """One row for each recording of either table: of two the one of the further status, then of the longer duration, with what
    only the other tells.

    An event that has been pruned may have told more than those that are left.
    """
    before = rows_at(earlier, matching_rows(keys_of(new, _RECORDING), among=keys_of(earlier, _RECORDING)))
    progress, progress_before = _progress(new), pc.fill_null(_progress(before), -1)
    duration_s, duration_before_s = (pc.fill_null(rows["duration_event_s"], -1.0) for rows in (new, before))
    is_ahead = pc.or_(
        pc.greater(progress, progress_before),
        pc.and_(pc.equal(progress, progress_before), pc.greater_equal(duration_s, duration_before_s)),
    )
    columns: dict[str, Column] = {}
    for field in RECORDING_EVENTS.schema:
        ahead = pc.if_else(is_ahead, new[field.name], before[field.name])
        behind = pc.if_else(is_ahead, before[field.name], new[field.name])
        stays = field.name in ("event_status", "event_status_raw")  # a status and its text are of one event
        columns[field.name] = ahead if stays else pc.coalesce(ahead, behind)
    came_earlier = pc.fill_null(pc.less(before["first_received_at"], new["first_received_at"]), False)
    columns["first_received_at"] = pc.if_else(came_earlier, before["first_received_at"], new["first_received_at"])
    rest = earlier.filter(pc.invert(pc.is_in(keys_of(earlier, _RECORDING), value_set=keys_of(new, _RECORDING))))
    return pa.concat_tables([pa.table(columns, schema=RECORDING_EVENTS.schema), rest])


def named_by_api(metadata: pa.Table) -> pa.Table:
    """The rows of `recording_metadata` that 8x8's API itself named."""
    by_event = metadata["only_by_event"]
    return (
        metadata if by_event.null_count == len(by_event) else metadata.filter(pc.invert(pc.fill_null(by_event, False)))
    )


def with_recordings_of_events(metadata: pa.Table, events: pa.Table, *, sessions: pa.Table) -> pa.Table:
    """Rows of `recording_metadata` that the API named, and those of recordings that only an event names.

    Those are fetched like the others: an answer may fail, come too early, or forget a recording.

    Args:
        events: `recording_events`.
        sessions: those of the day; events of others do not count.
    """
    if not len(events):
        return metadata
    new = _of_sessions(events, sessions)
    new = new.filter(pc.invert(pc.is_in(keys_of(new, _RECORDING), value_set=keys_of(metadata, _RECORDING))))
    if not len(new):
        return metadata
    told = {name: new[name] for name in (*_SESSION, "recording_id")} | {
        "api_status": new["event_status"],
        "api_status_raw": new["event_status_raw"],
        "only_by_event": pa.repeat(pa.scalar(True), len(new)),
    }
    schema = RECORDING_METADATA.schema
    columns = [told.get(field.name, pa.nulls(len(new), field.type)) for field in schema]
    return pa.concat_tables([metadata, pa.table(columns, schema=schema)])


def event_columns(recordings: pa.Table, events: pa.Table, names: Iterable[str]) -> dict[str, Column]:
    """For each recording what its events tell in these columns; null where there are none."""
    rows = matching_rows(keys_of(recordings, _RECORDING), among=keys_of(events, _RECORDING))
    found = rows_at(events.select(list(names)), rows)
    return {name: found[name] for name in found.column_names}


def _told(inbox: "Inbox", account: str, sessions: pa.Table) -> pa.Table:
    """Those of one account."""
    own = sessions.filter(pc.equal(sessions["subaccount_id"], account))
    session_ids: list[str] = pc.cast(own["session_id"], pa.string()).to_pylist()
    told: list[InboxRecording] = inbox.recordings(account, session_ids)
    columns: dict[str, Any] = {
        "subaccount_id": [account] * len(told),
        "session_id": [one.session_id for one in told],
        "recording_id": [one.recording_id for one in told],
        "event_status": [one.status.value for one in told],
        "event_status_raw": [one.status_raw for one in told],
        "duration_event_s": [one.duration_s for one in told],
        "file_path": [one.file_path for one in told],
        "first_received_at": [one.first_received_at for one in told],
    }
    return pa.table(columns, schema=RECORDING_EVENTS.schema)


def _of_sessions(events: pa.Table, sessions: pa.Table) -> pa.Table:
    return events.filter(pc.is_in(keys_of(events, _SESSION), value_set=keys_of(sessions, _SESSION)))


def _progress(events: pa.Table) -> Column:
    return pc.index_in(events["event_status"], value_set=pa.array([status.value for status in PROGRESS]))
