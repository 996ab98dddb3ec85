"""Which day should be archived by now. The age of a table does not tell: whenever an older day is archived it is young."""

from datetime import date, datetime, timedelta

from callarchive.domain.days import day_bounds, day_of
from callarchive.settings import Settings

LATE_AFTER = timedelta(hours=12)
"""So long after the hour of the nightly run a day is late: time for tries, for a long night, for somebody to come to work."""


def newest_due_day(settings: Settings, *, now: datetime) -> date | None:
    """The newest day whose nightly run should be done by now; null before there is one."""
    after = timedelta(hours=settings.dagster.schedule_hour) + LATE_AFTER
    day = day_of(now, settings.zone)
    while day_bounds(day, settings.zone)[1] + after > now:
        day -= timedelta(days=1)
    return day if day >= settings.start_date else None
