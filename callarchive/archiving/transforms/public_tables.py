"""The public tables, computed from the internal ones by pure functions over columns. For reading and writing, see `steps`."""

import math
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from callarchive.archiving.transforms.erased_rows import with_tombstones
from callarchive.archiving.transforms.recording_events import event_columns
from callarchive.catalog.arrow_columns import Column, is_true, key_counts, keys_of, matching_rows, pc, rows_at
from callarchive.catalog.schemas import DURATION_STATS, RECORDING_FILES, RECORDINGS, SESSIONS, STATUS_STATS
from callarchive.domain.identifiers import EARLIEST_PLAUSIBLE_AT, LATEST_PLAUSIBLE_AHEAD
from callarchive.domain.models import ArchiveStatus
from callarchive.domain.recording_start import recording_start

_SESSION = ("subaccount_id", "session_id")
_RECORDING = ("subaccount_id", "recording_id")
_COPIED_FROM_FILE = tuple(
    name
    for name in RECORDINGS.schema.names
    if name in RECORDING_FILES.schema.names and name not in (*_RECORDING, "session_id", "versions")
)
FILE_COLUMNS = (*_RECORDING, "session_id", *_COPIED_FROM_FILE, "source_path", "archive_path", "versions")
"""The columns of `recording_files` that `recordings_table` needs."""

EVENT_COLUMNS = (*_RECORDING, "duration_event_s")
"""The columns of `recording_events` that `recordings_table` needs."""


def sessions_table(*, sessions: pa.Table, lookups: pa.Table, metadata: pa.Table) -> pa.Table:
    """Return `sessions`: the rows of `session_ids` with their lookups. A session that was not looked up is an error."""
    keys = keys_of(sessions, _SESSION)
    rows = matching_rows(keys, among=keys_of(lookups, _SESSION))
    is_looked_up = pc.is_valid(rows)
    found = rows_at(lookups.select(["lookup_status", "lookup_error", "looked_up_at"]), rows)
    columns = {name: sessions[name] for name in sessions.column_names} | {
        "lookup_status": pc.if_else(is_looked_up, found["lookup_status"], "error"),
        "lookup_error": pc.if_else(is_looked_up, found["lookup_error"], "not looked up yet"),
        "looked_up_at": found["looked_up_at"],
        "recording_count": key_counts(keys, among=keys_of(metadata, _SESSION)),
    }
    return pa.table([columns[name] for name in SESSIONS.schema.names], schema=SESSIONS.schema)


def recordings_table(
    *,
    metadata: pa.Table,
    files: pa.Table,
    events: pa.Table,
    call_date: date,
    now: datetime,
    archive_root: str,
    tolerance_s: float,
) -> pa.Table:
    """Return `recordings`: the rows of `recording_metadata` with their files and events, and tombstones of what was erased.

    `tolerance_s` is the difference between a reported and the measured duration above which it is flagged.
    """
    rows = matching_rows(keys_of(metadata, _RECORDING), among=keys_of(files, _RECORDING))
    is_fetched = pc.is_valid(rows)
    file = rows_at(files.select(list(FILE_COLUMNS)), rows)
    file_names = pc.coalesce(file["source_path"], metadata["external_file_url"])
    started_at, started_at_source = _starts(metadata, file_names, call_date=call_date, now=now)
    columns: dict[str, Column] = {name: metadata[name] for name in metadata.column_names}
    columns |= {name: file[name] for name in _COPIED_FROM_FILE} | {
        "archive_status": pc.if_else(is_fetched, file["archive_status"], ArchiveStatus.PENDING.value),
        "error": pc.if_else(is_fetched, file["error"], "not downloaded yet"),
        "started_at": started_at,
        "started_at_source": started_at_source,
        "archive_uri": _uris(archive_root, file["archive_path"]),
        **event_columns(metadata, events, ("duration_event_s",)),
        "versions": _uri_lists(archive_root, file["versions"].combine_chunks()),
    }
    reported_s = columns["duration_api_s"], columns["duration_event_s"]
    columns["duration_mismatch"] = _mismatches(columns["duration_s"], reported_s, tolerance_s)
    recordings = pa.table([columns[name] for name in RECORDINGS.schema.names], schema=RECORDINGS.schema)
    return with_tombstones(recordings, files)


def status_stats_table(recordings: pa.Table) -> pa.Table:
    """Return `status_stats`. Sizes and durations are sums over the group, 0 if no file is archived."""
    zero_if_none = pc.ScalarAggregateOptions(min_count=0)
    groups = recordings.group_by(list(STATUS_STATS.key), use_threads=False).aggregate(
        [([], "count_all"), ("size_bytes", "sum", zero_if_none), ("duration_s", "sum", zero_if_none)]
    )
    columns = [groups[name] for name in (*STATUS_STATS.key, "count_all", "size_bytes_sum", "duration_s_sum")]
    return pa.table(columns, schema=STATUS_STATS.schema)


def duration_stats_table(recordings: pa.Table) -> pa.Table:
    """Return `duration_stats` of the accounts with archived recordings. Percentiles are linearly interpolated."""
    is_archived = pc.equal(recordings["archive_status"], ArchiveStatus.ARCHIVED.value)
    measured = recordings.filter(pc.and_(is_archived, recordings["duration_s"].is_valid()))
    rows = []
    for subaccount_id in measured["subaccount_id"].unique().to_pylist():
        values_s = measured.filter(pc.equal(measured["subaccount_id"], subaccount_id))["duration_s"].to_numpy()
        total_s = math.fsum(values_s)  # exact, so it does not depend on the order of rows
        quantiles = zip(
            ("p50_s", "p90_s", "p95_s", "p99_s"), np.quantile(values_s, [0.5, 0.9, 0.95, 0.99]), strict=True
        )
        rows.append(
            {
                "subaccount_id": subaccount_id,
                "recording_count": len(values_s),
                "total_s": total_s,
                "min_s": values_s.min(),
                "mean_s": total_s / len(values_s),
                **dict(quantiles),
                "max_s": values_s.max(),
            }
        )
    return pa.Table.from_pylist(rows, schema=DURATION_STATS.schema)


def _starts(metadata: pa.Table, file_names: Column, *, call_date: date, now: datetime) -> tuple[Column, Column]:
    """Return when each recording started, and the source: the API if plausible, else its file's name or id, row by row."""
    by_api = metadata["started_at_api"].combine_chunks()
    earliest, latest = (pa.scalar(at, by_api.type) for at in (EARLIEST_PLAUSIBLE_AT, now + LATEST_PLAUSIBLE_AHEAD))
    is_plausible = is_true(pc.and_(pc.greater_equal(by_api, earliest), pc.less_equal(by_api, latest)))
    others = pc.invert(is_plausible)
    names: list[str | None] = file_names.filter(others).to_pylist()
    ids: list[Any] = metadata["recording_id"].filter(others).to_pylist()
    found = [
        recording_start(api=None, file_name=name, recording_id=id_, call_date=call_date, now=now)
        for name, id_ in zip(names, ids, strict=True)
    ]
    starts = pa.array((at for at, _ in found), by_api.type, size=len(found))
    sources = pa.array((source for _, source in found), pa.string(), size=len(found))
    api_sources = pc.if_else(is_plausible, "api", pa.scalar(None, pa.string()))
    return pc.replace_with_mask(by_api, others, starts), pc.replace_with_mask(api_sources, others, sources)


def _mismatches(measured_s: Column, reported_s: tuple[Column, ...], tolerance_s: float) -> Column:
    """Return whether a reported duration is off by more than the tolerance; NULL if there is nothing to compare."""
    differences_s = (pc.abs(pc.subtract(measured_s, seconds)) for seconds in reported_s)
    return pc.greater(pc.max_element_wise(*differences_s, skip_nulls=True), tolerance_s)


def _uris(root: str, paths: Column) -> Column:
    return pc.binary_join_element_wise(root, paths, "")


def _uri_lists(root: str, path_lists: Column) -> Column:
    """Return the URIs of lists of paths; an empty list for NULL."""
    counts = pc.fill_null(pc.list_value_length(path_lists), 0)
    offsets: Any = pa.array(np.concatenate(([0], np.cumsum(counts))).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, _uris(root, pc.list_flatten(path_lists)))
