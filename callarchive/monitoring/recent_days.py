"""What became of the recordings of the last days, day by day: read from `status_stats`, of which a day is a few rows."""

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
"""Days read at the same time: next door that saves nothing, from a far bucket it does."""


@dataclass(frozen=True)
class RecentDays:
    """Days in a row, oldest first; each tuple has an entry for each of them.

    Attributes:
        unknown: the days of which the catalog has nothing, or nothing that can be read. That is not the same as no calls.
        recording_counts: by archive_status, those that occur at all, in the order of `ArchiveStatus`.
        audio_hours: of the recordings that are archived, as measured.
    """

    days: tuple[date, ...]
    unknown: frozenset[date]
    recording_counts: dict[str, tuple[int, ...]]
    audio_hours: tuple[float, ...]


def recent_days(catalog: Catalog, last: date, *, count: int = DAYS) -> RecentDays:
    """The `count` days up to `last`, that day included. One that is damaged is unknown: it is no reason to fail another."""
    days = tuple(last - timedelta(days=back) for back in reversed(range(count)))
    wanted = sorted({*days}.intersection(catalog.days(schemas.STATUS_STATS)))

    def read(day: date, _: Event) -> tuple[date, pa.Table | None]:
        try:
            return day, catalog.partition(schemas.STATUS_STATS, day, columns=_COLUMNS)
        except StoreError:
            return day, None

    with in_threads(read, wanted, concurrency=_AT_ONCE, name="recent-days") as results:
        found = {day: rows.to_pylist() for day, rows in results if rows is not None}

    def total(day: date, status: str, column: str) -> float:
        return sum(row[column] or 0 for row in found.get(day, ()) if row["archive_status"] == status)

    counts = {
        status.value: tuple(int(total(day, status, "recording_count")) for day in days) for status in ArchiveStatus
    }
    return RecentDays(
        days=days,
        unknown=frozenset(days) - found.keys(),
        recording_counts={status: by_day for status, by_day in counts.items() if any(by_day)},
        audio_hours=tuple(total(day, ArchiveStatus.ARCHIVED, "duration_s") / 3600 for day in days),
    )
