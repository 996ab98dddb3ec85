"""An archived day in the catalog, by account: counts, bytes, seconds, and how long archiving took."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, pc
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.models import ArchiveStatus

_PAUSE_US = 60_000_000
"""Two recordings or responses further apart than this belong to different runs."""

FOUND = (ArchiveStatus.ARCHIVED.value, ArchiveStatus.REJECTED.value)
"""States of recordings whose file was found."""

SETTLED = (*FOUND, ArchiveStatus.ERASED.value)
"""States of recordings that are not fetched again while their objects are unchanged."""

_SESSION_COLUMNS = ("subaccount_id", "looked_up_at")
_FILE_COLUMNS = ("subaccount_id", "session_id", "archive_status", "source_size_bytes", "duration_s", "archived_at")


@dataclass(frozen=True, slots=True)
class Pace:
    """An amount done, as a number of items, in seconds of work."""

    amount: float = 0.0
    count: int = 0
    busy_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ArchivedDay:
    """An account's day.

    Attributes:
        recorded_count: sessions with a file.
        found_count, size_bytes: recordings with a file, and the size of these files.
        audio_s: of archived recordings.
        rejected_count, rejected_bytes: files that are not audio.
        looked_up_count, fetched_count, fetched_bytes: sessions looked up, and recordings archived, since a given time.
        look_up_pace, fetch_pace: responses, and bytes, of the runs that did this.
    """

    session_count: int = 0
    recorded_count: int = 0
    found_count: int = 0
    size_bytes: int = 0
    audio_s: float = 0.0
    rejected_count: int = 0
    rejected_bytes: int = 0
    looked_up_count: int = 0
    fetched_count: int = 0
    fetched_bytes: int = 0
    look_up_pace: Pace = Pace()
    fetch_pace: Pace = Pace()


NOTHING = ArchivedDay()
_EVER = datetime.min.replace(tzinfo=UTC)


def archived_day(catalog: Catalog, day: date, *, since: datetime = _EVER) -> dict[str, ArchivedDay]:
    """Return the day by account, for accounts with rows.

    Args:
        since: work done earlier does not count.

    Raises:
        StoreError, AccessDeniedError, UnavailableError: The catalog cannot be read.
    """
    sessions = catalog.partition(schemas.SESSIONS, day, columns=_SESSION_COLUMNS)
    files = catalog.partition(schemas.RECORDING_FILES, day, columns=_FILE_COLUMNS)
    accounts = {*sessions["subaccount_id"].unique().to_pylist(), *files["subaccount_id"].unique().to_pylist()}
    return {
        str(account): _of_account(
            sessions.filter(pc.equal(sessions["subaccount_id"], account)),
            files.filter(pc.equal(files["subaccount_id"], account)),
            since,
        )
        for account in accounts
    }


def _of_account(sessions: pa.Table, files: pa.Table, since: datetime) -> ArchivedDay:
    found = files.filter(pc.is_in(files["archive_status"], value_set=pa.array(FOUND)))
    is_kept = pc.equal(found["archive_status"], ArchiveStatus.ARCHIVED.value)
    kept, rejected = found.filter(is_kept), found.filter(pc.invert(is_kept))
    looked_up_at = _since(sessions.select(["looked_up_at"]), "looked_up_at", since)
    fetched = _since(kept.select(["archived_at", "source_size_bytes"]), "archived_at", since)
    return ArchivedDay(
        session_count=len(sessions),
        recorded_count=pc.count_distinct(found["session_id"]).as_py(),
        found_count=len(found),
        size_bytes=_sum(found["source_size_bytes"]),
        audio_s=_sum(kept["duration_s"]),
        rejected_count=len(rejected),
        rejected_bytes=_sum(rejected["source_size_bytes"]),
        looked_up_count=len(looked_up_at),
        fetched_count=len(fetched),
        fetched_bytes=_sum(fetched["source_size_bytes"]),
        look_up_pace=_pace(looked_up_at["looked_up_at"], pa.repeat(1, len(looked_up_at))),
        fetch_pace=_pace(fetched["archived_at"], fetched["source_size_bytes"]),
    )


def _sum(column: Column) -> Any:
    return pc.sum(column).as_py() or 0


def _since(rows: pa.Table, column: str, since: datetime) -> pa.Table:
    """Return the rows since then by time, without rows that have no time."""
    rows = rows.filter(pc.greater_equal(rows[column], pa.scalar(since, pa.timestamp("us", "UTC"))))
    return rows.sort_by(column)


def _pace(at: Column, amounts: Column) -> Pace:
    """Return the pace, without the first item of each run, whose duration is unknown."""
    if len(at) < 2:
        return Pace()
    at_us = pc.cast(at, pa.int64())
    gaps_us = pc.subtract(at_us.slice(1), at_us.slice(0, len(at) - 1))
    near = pc.less_equal(gaps_us, _PAUSE_US)
    return Pace(
        amount=float(_sum(amounts.slice(1).filter(near))), count=_sum(near), busy_s=_sum(gaps_us.filter(near)) / 1e6
    )
