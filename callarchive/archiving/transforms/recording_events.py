"""The table `recording_events`: webhook events of a day's recordings. The inbox is pruned; events stored here stay."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from callarchive.catalog.arrow_columns import Column, is_true, keys_of, matching_rows, pc, rows_at, rows_where
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import RECORDING_EVENTS, RECORDING_METADATA
from callarchive.domain.payloads import PROGRESS

if TYPE_CHECKING:  # SQLAlchemy costs 0.2 s of import, which days without an inbox do not need
    from callarchive.events.inbox.inbox import Inbox
    from callarchive.events.inbox.merging import InboxRecording

_SESSION = ("subaccount_id", "session_id")
_RECORDING = RECORDING_EVENTS.key


def inbox_events(inbox: "Inbox", sessions: pa.Table) -> pa.Table:
    """Return rows of `recording_events` for these sessions from the inbox."""
    accounts: list[str] = pc.unique(sessions["subaccount_id"]).to_pylist()
    tables = [_account_events(inbox, account, sessions) for account in accounts]
    return pa.concat_tables([RECORDING_EVENTS.schema.empty_table(), *tables])


def write_recording_events(catalog: Catalog, day: date, new: pa.Table | None, *, sessions: pa.Table) -> int:
    """Merge new rows, if there are any, into `recording_events`, and return the row count.

    A day without any events gets no partition.
    """
    earlier = catalog.partition(RECORDING_EVENTS, day)
    new = RECORDING_EVENTS.schema.empty_table() if new is None else new
    if not len(new) and not len(earlier):
        return 0
    return catalog.replace_partition(RECORDING_EVENTS, day, merged_events(new, _of_sessions(earlier, sessions)))


def merged_events(new: pa.Table, earlier: pa.Table) -> pa.Table:
    """Return one row per recording: the one with the more advanced status, then the longer duration.

    Its NULLs are filled from the other row: a pruned event may have had more values than the remaining ones.
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
        stays = field.name in ("event_status", "event_status_raw")  # a status and its raw text come from one event
        columns[field.name] = ahead if stays else pc.coalesce(ahead, behind)
    is_older = pc.fill_null(pc.less(before["first_received_at"], new["first_received_at"]), False)
    columns["first_received_at"] = pc.if_else(is_older, before["first_received_at"], new["first_received_at"])
    rest = earlier.filter(pc.invert(pc.is_in(keys_of(earlier, _RECORDING), value_set=keys_of(new, _RECORDING))))
    return pa.concat_tables([pa.table(columns, schema=RECORDING_EVENTS.schema), rest])


def named_by_api(metadata: pa.Table) -> pa.Table:
    """Return the rows of `recording_metadata` that 8x8's API lists."""
    return rows_where(metadata, pc.invert(is_true(metadata["only_by_event"])))


def with_recordings_of_events(metadata: pa.Table, events: pa.Table, *, sessions: pa.Table) -> pa.Table:
    """Return `recording_metadata` with the recordings of the day's sessions that only an event names.

    They are downloaded like the others: a response of the API may fail, be too early, or lack a recording.
    """
    if not len(events):
        return metadata
    new = _of_sessions(events, sessions)
    new = new.filter(pc.invert(pc.is_in(keys_of(new, _RECORDING), value_set=keys_of(metadata, _RECORDING))))
    if not len(new):
        return metadata
    values = {name: new[name] for name in (*_SESSION, "recording_id")} | {
        "api_status": new["event_status"],
        "api_status_raw": new["event_status_raw"],
        "only_by_event": pa.repeat(pa.scalar(True), len(new)),
    }
    schema = RECORDING_METADATA.schema
    columns = [values.get(field.name, pa.nulls(len(new), field.type)) for field in schema]
    return pa.concat_tables([metadata, pa.table(columns, schema=schema)])


def event_columns(recordings: pa.Table, events: pa.Table, names: Sequence[str]) -> dict[str, Column]:
    """Return these columns of the events of each recording; NULL if it has none."""
    rows = matching_rows(keys_of(recordings, _RECORDING), among=keys_of(events, _RECORDING))
    return dict(zip(names, rows_at(events.select(list(names)), rows).columns, strict=True))


def _account_events(inbox: "Inbox", account: str, sessions: pa.Table) -> pa.Table:
    own = sessions.filter(pc.equal(sessions["subaccount_id"], account))
    session_ids: list[str] = pc.cast(own["session_id"], pa.string()).to_pylist()
    found: list[InboxRecording] = inbox.recordings(account, session_ids)
    columns: dict[str, Any] = {
        "subaccount_id": [account] * len(found),
        "session_id": [one.session_id for one in found],
        "recording_id": [one.recording_id for one in found],
        "event_status": [one.status.value for one in found],
        "event_status_raw": [one.status_raw for one in found],
        "duration_event_s": [one.duration_s for one in found],
        "file_path": [one.file_path for one in found],
        "first_received_at": [one.first_received_at for one in found],
    }
    return pa.table(columns, schema=RECORDING_EVENTS.schema)


def _of_sessions(events: pa.Table, sessions: pa.Table) -> pa.Table:
    return events.filter(pc.is_in(keys_of(events, _SESSION), value_set=keys_of(sessions, _SESSION)))


def _progress(events: pa.Table) -> Column:
    return pc.index_in(events["event_status"], value_set=pa.array([status.value for status in PROGRESS]))
