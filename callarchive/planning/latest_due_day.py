"""The latest day that should be archived by now. A table's age does not show it: archiving an older day makes it young."""

from datetime import date, datetime, timedelta

from callarchive.domain.days import day_bounds, day_of
from callarchive.settings import Settings

LATE_AFTER = timedelta(hours=12)
"""How long after the hour of the nightly run a day is late: time for retries, long runs and someone to step in."""


def latest_due_day(settings: Settings, *, now: datetime) -> date | None:
    """Return the latest day whose nightly run should have finished; None before there is one."""
    after = timedelta(hours=settings.dagster.schedule_hour) + LATE_AFTER
    day = day_of(now, settings.zone)
    while day_bounds(day, settings.zone)[1] + after > now:
        day -= timedelta(days=1)
    return day if day >= settings.start_date else None
