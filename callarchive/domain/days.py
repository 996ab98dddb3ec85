"""Days as the archive cuts them: in the configured time zone, 23 or 25 hours long where clocks change."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

Clock = Callable[[], datetime]  # a function that returns the current time, aware
SETTLED_AFTER = timedelta(hours=1)  # how long after a day or an event its sources and 8x8's API list everything


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def day_bounds(day: date, timezone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the first instant of the day and of the next one, in UTC."""
    return _midnight(day, timezone), _midnight(day + timedelta(days=1), timezone)


def day_of(at: datetime, timezone: ZoneInfo) -> date:
    """Return the day of an aware time stamp."""
    return at.astimezone(timezone).date()


def days_between(first: date, last: date) -> Iterator[date]:
    """Yield the days from `first` to `last`, both included."""
    for offset in range((last - first).days + 1):
        yield first + timedelta(days=offset)


def day_of_folder(name: str) -> date | None:
    """Return the day of a folder `call_date=YYYY-MM-DD`; None for any other name, also for days in other formats."""
    with suppress(ValueError):
        day = date.fromisoformat(name.removeprefix("call_date="))
        return day if name == f"call_date={day}" else None
    return None


def spans_of(days: Iterable[date]) -> Iterator[tuple[date, date]]:
    """Yield the first and the last day of each run of consecutive days. `days` are in order."""
    for _, numbered in groupby(enumerate(days), lambda item: item[1].toordinal() - item[0]):
        span = [day for _, day in numbered]
        yield span[0], span[-1]


def _midnight(day: date, timezone: ZoneInfo) -> datetime:
    # Where clocks jump over midnight (Beirut, Havana), the day begins with the first instant that has its date: zoneinfo
    # reads a wall time inside the gap with the offset before the jump (fold=0), which gives that instant.
    return datetime.combine(day, time.min, tzinfo=timezone).astimezone(UTC)


def parse_timestamp(text: object) -> datetime | None:
    """Return an ISO 8601 time stamp as aware UTC, cut to microseconds; `None` if it is not one. Without an offset it is UTC.

    8x8 writes `2021-08-26T10:46:56.535Z` in responses and file names; its export documents `yyyy-MM-ddTHH:mm:ss`,
    with or without an offset. A space instead of the `T` is accepted.
    """
    if not isinstance(text, str) or not 10 < len(text.strip()) <= 40:
        return None
    try:
        at = datetime.fromisoformat(text.strip())
        return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
