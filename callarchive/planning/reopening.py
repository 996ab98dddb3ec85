"""Days that are not final yet, and when each is due to be archived again.

Sessions are looked up again in growing intervals: soon after the call often, days later rarely. The intervals follow from
the catalog alone; there is no state.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from callarchive.catalog import schemas
from callarchive.domain.days import day_bounds, day_of
from callarchive.settings import ReopenSettings, Settings

if TYPE_CHECKING:
    from callarchive.catalog.parquet_catalog import Catalog

_SESSION_COLUMNS = ("subaccount_id", "session_id", "started_at", "ended_at")
_FILE_COLUMNS = ("subaccount_id", "session_id", "recording_id", "archive_status")


@dataclass(frozen=True)
class ReopenDay:
    """A day with sessions that are not final.

    Attributes:
        due_at: when the first of them is due.
        session_count: number of sessions that are not final; an account that could not be archived counts as one.
        due_count: number of those that are due now.
    """

    day: date
    due_at: datetime
    session_count: int
    due_count: int


def days_to_reopen(catalog: "Catalog", settings: Settings, *, now: datetime) -> list[ReopenDay]:
    """Return the days with a session that is neither final nor given up, by due time.

    A session is given up after a lookup when it is older than `reopen.max_age_days`. A session without a recording is due
    once more, a day after the first response.
    """
    reopen = settings.reopen
    oldest = day_of(now - timedelta(days=reopen.max_age_days, hours=reopen.max_hours), settings.zone) - timedelta(
        days=1
    )
    days = [day for day in catalog.days(schemas.SESSIONS) if day >= max(oldest, settings.start_date)]
    found = [day_to_reopen(catalog, settings, day, now=now) for day in days]
    return sorted((day for day in found if day is not None), key=lambda day: (day.due_at, day.day))


def due_at(call_ended_at: datetime, looked_up_at: datetime, reopen: ReopenSettings) -> datetime | None:
    """Return when a session that was last looked up then is due; None if it is given up."""
    age = max(looked_up_at - call_ended_at, timedelta(0))
    if age >= timedelta(days=reopen.max_age_days):
        return None
    pause = max(timedelta(minutes=reopen.first_minutes), age * reopen.growth)
    again_at = looked_up_at + min(pause, timedelta(hours=reopen.max_hours))
    # The last lookup gives up: it should not come much later than the maximum age.
    return min(again_at, max(looked_up_at, call_ended_at + timedelta(days=reopen.max_age_days)))


def day_to_reopen(catalog: "Catalog", settings: Settings, day: date, *, now: datetime) -> ReopenDay | None:
    """Return the day's sessions that are neither final nor given up; None if there are none."""
    dues = [*_dues(catalog, settings, day), *_due_of_failed_accounts(catalog, settings, day)]
    if not dues:
        return None
    return ReopenDay(day, min(dues), len(dues), sum(due <= now for due in dues))


def _due_of_failed_accounts(catalog: "Catalog", settings: Settings, day: date) -> list[datetime]:
    """Return a due time for each account that the latest run could not archive: the end of the day."""
    _, day_end = day_bounds(day, settings.zone)
    return [day_end] * len(catalog.partition(schemas.ACCOUNT_FAILURES, day, columns=["subaccount_id"]))


def _dues(catalog: "Catalog", settings: Settings, day: date) -> Iterator[datetime]:
    """Yield when each of the day's sessions that are neither final nor given up is due."""
    from callarchive.archiving.transforms.lookup_tables import final, second_lookup_at
    from callarchive.catalog.arrow_columns import keys_of, matching_rows, pc

    sessions = catalog.partition(schemas.SESSION_IDS, day, columns=_SESSION_COLUMNS)
    lookups = catalog.partition(schemas.LOOKUPS, day)
    metadata = catalog.partition(schemas.RECORDING_METADATA, day)
    files = catalog.partition(schemas.RECORDING_FILES, day, columns=_FILE_COLUMNS)
    _, day_end = day_bounds(day, settings.zone)
    grace = timedelta(hours=settings.transfer.missing_after_hours)
    is_final = final(sessions, lookups=lookups, metadata=metadata, files=files, day_end=day_end, grace=grace)
    open_sessions = sessions.filter(pc.invert(is_final))
    second_at = second_lookup_at(
        open_sessions, lookups=lookups, metadata=metadata, files=files, day_end=day_end, grace=grace
    )
    key = schemas.SESSION_IDS.key
    looked_up = lookups["looked_up_at"].take(matching_rows(keys_of(open_sessions, key), among=keys_of(lookups, key)))
    ends = pc.coalesce(open_sessions["ended_at"], open_sessions["started_at"])
    columns = (ends.to_pylist(), looked_up.to_pylist(), second_at.to_pylist())
    for ended_at, looked_up_at, again_at in zip(*columns, strict=True):
        if looked_up_at is None:  # never looked up: the run was interrupted
            yield day_end if ended_at is None else ended_at
            continue
        due = due_at(ended_at or min(day_end, looked_up_at), looked_up_at, settings.reopen)
        if due is not None:
            yield due if again_at is None else max(due, again_at)
