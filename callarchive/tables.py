"""The public tables' rows, computed from the rows of the steps. Pure functions; reading and writing is in `steps`."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date, datetime

import numpy as np

from callarchive.models import ArchiveStatus
from callarchive.records import Key, Row
from callarchive.schemas import RECORDINGS
from callarchive.starts import recording_start

_COPIED_FROM_FILE = (
    "archive_status",
    "error",
    "source_uri",
    "quarantine_uri",
    "size_bytes",
    "sha256",
    "duration_s",
    "audio_issue",
    "audio_issue_detail",
    "bitrate_kbps",
    "sample_rate_hz",
    "channels",
    "archived_at",
)


def session_rows(*, sessions: Iterable[Row], lookups: Iterable[Row], metadata: Iterable[Row]) -> list[Row]:
    """Rows of `sessions`: one per row of `session_ids`, with its look-up. A session that was not asked for is an error."""
    by_key = {_session(row): row for row in lookups}
    recording_count = Counter(_session(row) for row in metadata)
    rows = []
    for session in sessions:
        lookup = by_key.get(_session(session))
        rows.append(
            {
                **session,
                "lookup_status": lookup["lookup_status"] if lookup else "error",
                "lookup_error": lookup["lookup_error"] if lookup else "8x8 has not been asked for this session yet",
                "looked_up_at": lookup["looked_up_at"] if lookup else None,
                "recording_count": recording_count[_session(session)],
            }
        )
    return rows


def recording_rows(
    *,
    metadata: Iterable[Row],
    files: Iterable[Row],
    call_date: date,
    now: datetime,
    archive_uri: Callable[[str], str],
    tolerance_s: float,
) -> list[Row]:
    """Rows of `recordings`: one per row of `recording_metadata`, with what `recording_files` says of it.

    Args:
        archive_uri: from a path in the archive to its URI.
        tolerance_s: by how much a told duration may differ from the measured one before it is flagged.
    """
    by_key = {_recording(row): row for row in files}
    rows = []
    for told in metadata:
        file = by_key.get(_recording(told))
        found = file is not None and file["source_path"] is not None
        started_at, started_at_source = recording_start(
            api=told["started_at_api"],
            file_name=file["source_path"] if file is not None and found else told["external_file_url"],
            recording_id=told["recording_id"],
            call_date=call_date,
            now=now,
        )
        row: Row = dict.fromkeys(RECORDINGS.schema.names)
        for name in ("subaccount_id", "session_id", "recording_id", "api_status", "api_status_raw", "duration_api_s"):
            row[name] = told[name]
        if file is None:
            row.update(archive_status=ArchiveStatus.PENDING.value, error="not fetched yet", versions=[])
        else:
            row.update({name: file[name] for name in _COPIED_FROM_FILE})
            row["archive_uri"] = None if file["archive_path"] is None else archive_uri(file["archive_path"])
            row["versions"] = [archive_uri(path) for path in file["versions"] or ()]
        row.update(
            started_at=started_at,
            started_at_source=started_at_source,
            duration_mismatch=_mismatch(
                row["duration_s"], (row["duration_api_s"], row["duration_event_s"]), tolerance_s
            ),
        )
        rows.append(row)
    return rows


def status_stat_rows(recordings: Iterable[Row]) -> list[Row]:
    """Rows of `status_stats`. Sizes and durations are sums over the group; 0 where nothing is kept."""
    groups: dict[tuple[str, str, str], Row] = {}
    for row in recordings:
        key = (row["subaccount_id"], row["api_status"], row["archive_status"])
        group = groups.setdefault(
            key,
            {
                **dict(zip(("subaccount_id", "api_status", "archive_status"), key, strict=True)),
                "recording_count": 0,
                "size_bytes": 0,
                "duration_s": 0.0,
            },
        )
        group["recording_count"] += 1
        group["size_bytes"] += row["size_bytes"] or 0
        group["duration_s"] += row["duration_s"] or 0.0
    return list(groups.values())


def duration_stat_rows(recordings: Iterable[Row]) -> list[Row]:
    """Rows of `duration_stats`: accounts that have an archived recording. Percentiles are linear between neighbours."""
    durations: dict[str, list[float]] = {}
    for row in recordings:
        if row["archive_status"] == ArchiveStatus.ARCHIVED:
            durations.setdefault(row["subaccount_id"], []).append(row["duration_s"])
    rows = []
    for subaccount_id, values_s in durations.items():
        p50, p90, p95, p99 = (float(value) for value in np.quantile(values_s, [0.5, 0.9, 0.95, 0.99]))
        total_s = sum(sorted(values_s))
        rows.append(
            {
                "subaccount_id": subaccount_id,
                "recording_count": len(values_s),
                "total_s": total_s,
                "min_s": min(values_s),
                "mean_s": total_s / len(values_s),
                "p50_s": p50,
                "p90_s": p90,
                "p95_s": p95,
                "p99_s": p99,
                "max_s": max(values_s),
            }
        )
    return rows


def _session(row: Row) -> Key:
    return row["subaccount_id"], row["session_id"]


def _recording(row: Row) -> Key:
    return row["subaccount_id"], row["recording_id"]


def _mismatch(measured_s: float | None, told_s: Iterable[float | None], tolerance_s: float) -> bool | None:
    told = [seconds for seconds in told_s if seconds is not None]
    if measured_s is None or not told:
        return None
    return any(abs(measured_s - seconds) > tolerance_s for seconds in told)
