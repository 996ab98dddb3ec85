"""The recordings of the last days by status, from `status_stats`, which has a few rows a day."""

from dataclasses import dataclass
from datetime import date, timedelta
from threading import Event

import pyarrow as pa

from callarchive.catalog import schemas
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.errors import StoreError
from callarchive.domain.models import ArchiveStatus
from callarchive.runtime.worker_pool import in_threads

DAYS = 30
_COLUMNS = ("archive_status", "recording_count", "duration_s")
_AT_ONCE = 8
"""Days read at the same time, which saves time with a distant bucket."""


@dataclass(frozen=True)
class RecentDays:
    """Consecutive days, oldest first. Each tuple has an entry for each day.

    Attributes:
        unknown: days without a readable partition, which does not mean days without calls.
        recording_counts: by archive_status, only those that occur, in the order of `ArchiveStatus`.
        audio_hours: measured, of archived recordings.
    """

    days: tuple[date, ...]
    unknown: frozenset[date]
    recording_counts: dict[str, tuple[int, ...]]
    audio_hours: tuple[float, ...]


def recent_days(catalog: Catalog, last: date, *, count: int = DAYS) -> RecentDays:
    """Return the `count` days up to and including `last`. A damaged day is unknown."""
    days = tuple(last - timedelta(days=back) for back in reversed(range(count)))
    wanted = sorted({*days}.intersection(catalog.days(schemas.STATUS_STATS)))

    def read(day: date, _: Event) -> tuple[date, pa.Table | None]:
        try:
            return day, catalog.partition(schemas.STATUS_STATS, day, columns=_COLUMNS)
        except StoreError:
            return day, None

    with in_threads(read, wanted, concurrency=_AT_ONCE, name="recent-days") as results:
        found = {day: rows.to_pylist() for day, rows in results if rows is not None}

    def totals(status: str, column: str) -> tuple[float, ...]:
        of_days = ([row[column] or 0 for row in found.get(day, ()) if row["archive_status"] == status] for day in days)
        return tuple(map(sum, of_days))

    counts = {status.value: tuple(map(int, totals(status, "recording_count"))) for status in ArchiveStatus}
    counts = {status: by_day for status, by_day in counts.items() if any(by_day)}
    audio_hours = tuple(seconds / 3600 for seconds in totals(ArchiveStatus.ARCHIVED, "duration_s"))
    return RecentDays(days, frozenset(days) - found.keys(), counts, audio_hours)
