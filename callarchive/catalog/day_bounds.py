"""From when to when each archived day went, as kept with the day, and which days go otherwise by today's time zone data.

Governments change the clock, and an update of time zone data then moves midnights that days were cut at already. A day whose
bounds moved must be archived again, and so must its neighbour, whose bound is the same: between them an hour of calls is in
no day. Nothing is lost or doubled by that: see `belonging`.
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

LOOK_BACK = timedelta(days=366)
"""How far back a night and `status` look for days whose bounds moved; `doctor` looks at all."""

_AT_ONCE = 8
"""Days read at the same time: next door that saves nothing, from a far bucket it does."""

Bounds = tuple[datetime, datetime]


@dataclass(frozen=True)
class MovedDay:
    """A day that was archived with other bounds than it has.

    Attributes:
        archived: the bounds with which its sources were asked, UTC.
        now: the bounds that it has, UTC.
        data: the time zone data that gave the former.
    """

    day: date
    archived: Bounds
    now: Bounds
    data: str

    @property
    def reason(self) -> str:
        """Why the day is to be archived again."""
        return f"its bounds moved: archived as {_span(self.archived)} with {self.data}, now it is {_span(self.now)}"


@dataclass(frozen=True)
class BoundsReview:
    """What the kept bounds of some days say.

    Attributes:
        moved: the days whose bounds moved, oldest first.
        unknown: archived days of which nobody knows with which bounds: an older version kept none, and the machine has no
            data of its own to compare with, or the kept bounds are damaged.
        assumed: archived days of which an older version kept no bounds, and which the machine's data cut as today's do.
    """

    moved: tuple[MovedDay, ...]
    unknown: frozenset[date]
    assumed: frozenset[date]


def keep_bounds(catalog: "Catalog", day: date, settings: Settings) -> None:
    """Keep the bounds that the day has now: its sources have been asked with them, and its sessions are written."""
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
    """Compare the bounds with which these days were archived with those that they have. Days never archived are left out.

    Versions that kept no bounds cut days with the machine's time zone data: such a day is compared with what that gives.

    Raises:
        StoreError, UnavailableError, AccessDeniedError: the catalog cannot be listed or reached.
    """
    from callarchive.runtime.worker_pool import in_threads

    archived = sorted(set(days).intersection(catalog.days(schemas.SESSION_IDS)))
    with_bounds = set(catalog.days(schemas.DAY_BOUNDS)) if archived else set()

    def read(day: date, _: Event) -> tuple[date, MovedDay | None, bool]:
        if day not in with_bounds:
            return day, None, False
        try:
            rows = catalog.rows(schemas.DAY_BOUNDS, day)
        except StoreError:  # damaged, like the other tables' files it is replaced when the day is archived again
            return day, None, False
        if len(rows) != 1 or rows[0]["begins_at"] is None or rows[0]["ends_at"] is None:
            return day, None, False
        (row,) = rows
        release = row["tz_version"] or f"of unknown release, SHA-256 {(row['tz_sha256'] or '')[:12]}"
        kept = row["begins_at"], row["ends_at"]
        return day, MovedDay(day, kept, day_bounds(day, settings.zone), f"tz data {release}"), True

    with in_threads(read, archived, concurrency=_AT_ONCE, name="day-bounds") as results:
        found = {day: (kept, is_known) for day, kept, is_known in results}
    machine = machine_zone(settings.timezone)
    moved, unknown, assumed = [], set(), set()
    for day in archived:
        kept, is_known = found[day]
        if not is_known and machine is None:
            unknown.add(day)
            continue
        if not is_known and machine is not None:
            zone, data = machine
            kept = MovedDay(day, day_bounds(day, zone), day_bounds(day, settings.zone), f"{data}, as it seems")
            assumed.add(day)
        if kept is not None and kept.archived != kept.now:
            moved.append(kept)
    return BoundsReview(tuple(moved), frozenset(unknown), frozenset(assumed).difference(item.day for item in moved))


def recent_days_to_review(settings: Settings, days: Iterable[date], *, now: datetime) -> list[date]:
    """Those of the days that the configuration reaches, and that are not too long ago to be looked at each night."""
    first = max(settings.start_date, day_of(now, settings.zone) - LOOK_BACK)
    return [day for day in days if day >= first]


def _span(bounds: Bounds) -> str:
    return " to ".join(f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in bounds)
