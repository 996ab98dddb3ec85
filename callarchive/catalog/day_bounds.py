"""The bounds with which each day was archived, and which days have other bounds by the current time zone data.

When a government changes the clock, an update of the time zone data moves midnights of archived days. A day whose bounds
moved, and the neighbour that shares the bound, must be archived again: an hour of calls between them is in no day. For how
that avoids lost and duplicate sessions, see `day_assignment`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING

from callarchive.catalog import schemas
from callarchive.domain.days import day_bounds, day_of
from callarchive.domain.errors import StoreError
from callarchive.runtime.time_zones import data_in_use, machine_zone
from callarchive.settings import Settings

if TYPE_CHECKING:
    from callarchive.catalog.parquet_catalog import Catalog

LOOK_BACK = timedelta(days=366)  # how far back the nightly run and `status` check bounds. `doctor` checks all days.
_CONCURRENCY = 8  # days read at the same time, which helps with a distant bucket
Bounds = tuple[datetime, datetime]


@dataclass(frozen=True)
class MovedDay:
    """A day, the bounds (UTC) with which it was archived by which time zone `data`, and its current bounds."""

    day: date
    archived: Bounds
    now: Bounds
    data: str

    @property
    def reason(self) -> str:
        """Why the day must be archived again."""
        return f"its bounds moved: archived as {_span(self.archived)} with {self.data}, now {_span(self.now)}"


@dataclass(frozen=True)
class BoundsReview:
    """The result of comparing the archived bounds of some days with their current ones."""

    moved: tuple[MovedDay, ...]  # days whose bounds moved, oldest first
    # Archived days whose bounds are damaged or were not stored by an older version, if the machine has no time zone
    # data to compare with.
    unknown: frozenset[date]
    # Archived days without stored bounds that have not moved according to the machine's time zone data.
    assumed: frozenset[date]


def keep_bounds(catalog: "Catalog", day: date, settings: Settings) -> None:
    """Store the day's current bounds. Call it after its sources were queried with them and its sessions were written."""
    begins_at, ends_at = day_bounds(day, settings.zone)
    data = data_in_use(settings.timezone)
    row = {
        "timezone": settings.timezone,
        "begins_at": begins_at,
        "ends_at": ends_at,
        "tz_origin": data.origin,
        "tz_version": data.version,
        "tz_sha256": data.sha256,
    }
    catalog.replace_partition(schemas.DAY_BOUNDS, day, [row])


def review_bounds(catalog: "Catalog", settings: Settings, days: Iterable[date]) -> BoundsReview:
    """Compare the archived and the current bounds of those of the days that were archived.

    For a day without stored bounds, use the machine's time zone data: older versions computed its bounds from that.
    Raises StoreError, UnavailableError or AccessDeniedError if the catalog cannot be listed or reached.
    """
    from callarchive.runtime.worker_pool import in_threads

    archived = sorted(set(days).intersection(catalog.days(schemas.SESSION_IDS)))
    with_bounds = set(catalog.days(schemas.DAY_BOUNDS)) if archived else set()

    def stored_bounds(day: date, _: Event) -> MovedDay | None:
        try:
            rows = catalog.rows(schemas.DAY_BOUNDS, day) if day in with_bounds else []
        except StoreError:  # damaged: archiving the day again replaces it
            return None
        if len(rows) != 1 or rows[0]["begins_at"] is None or rows[0]["ends_at"] is None:
            return None
        row = rows[0]
        release = row["tz_version"] or f"of unknown release, SHA-256 {(row['tz_sha256'] or '')[:12]}"
        bounds = row["begins_at"], row["ends_at"]
        return MovedDay(day, bounds, day_bounds(day, settings.zone), f"tz data {release}")

    with in_threads(stored_bounds, archived, concurrency=_CONCURRENCY, name="day-bounds") as results:
        stored = {item.day: item for item in results if item is not None}
    machine = machine_zone(settings.timezone)
    moved, unknown, assumed = [], set(), set()
    for day in archived:
        item = stored.get(day)
        if item is None:
            if machine is None:
                unknown.add(day)
                continue
            zone, data = machine
            item = MovedDay(day, day_bounds(day, zone), day_bounds(day, settings.zone), f"{data} (assumed)")
            assumed.add(day)
        if item.archived != item.now:
            moved.append(item)
    return BoundsReview(tuple(moved), frozenset(unknown), frozenset(assumed).difference(item.day for item in moved))


def recent_days_to_review(settings: Settings, days: Iterable[date], *, now: datetime) -> list[date]:
    """Return those of the days from `start_date` on that are recent enough to check every night."""
    first = max(settings.start_date, day_of(now, settings.zone) - LOOK_BACK)
    return [day for day in days if day >= first]


def _span(bounds: Bounds) -> str:
    return " to ".join(f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in bounds)
