"""Days as the archive cuts them: in the configured time zone, 23 or 25 hours long where clocks change."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

Clock = Callable[[], datetime]
"""Returns the present, aware."""

SETTLED_AFTER = timedelta(hours=1)
"""By then, after a day has ended or an event has come, the day's sources and 8x8's answers have named what there is."""


def utc_now() -> datetime:
    """Return the present."""
    return datetime.now(UTC)


def day_bounds(day: date, timezone: ZoneInfo) -> tuple[datetime, datetime]:
    """The first instant of the day and of the next one, in UTC."""
    return _midnight(day, timezone), _midnight(day + timedelta(days=1), timezone)


def day_of(at: datetime, timezone: ZoneInfo) -> date:
    """The day that an instant falls in. `at` is aware."""
    return at.astimezone(timezone).date()


def days_between(first: date, last: date) -> Iterator[date]:
    """Every day from `first` to `last`, both included, oldest first."""
    for offset in range((last - first).days + 1):
        yield first + timedelta(days=offset)


def spans_of(days: Iterable[date]) -> Iterator[tuple[date, date]]:
    """The first and the last of each run of days that follow one another. `days` are in order."""
    first = last = None
    for day in days:
        if first is None or last is None:
            first = day
        elif day - last > timedelta(days=1):
            yield first, last
            first = day
        last = day
    if first is not None and last is not None:
        yield first, last


def _midnight(day: date, timezone: ZoneInfo) -> datetime:
    """Where clocks jump over midnight (Beirut, Havana), the day begins with the first instant that carries its date.

    zoneinfo reads a wall time inside the gap with the offset before the jump (fold=0), which lands on that instant.
    """
    return datetime.combine(day, time.min, tzinfo=timezone).astimezone(UTC)


def parse_timestamp(text: object) -> datetime | None:
    """An ISO 8601 time stamp as aware UTC, cut to microseconds; without an offset it is UTC. Null if it is not one.

    8x8 writes `2021-08-26T10:46:56.535Z` in answers and file names; its export documents `yyyy-MM-ddTHH:mm:ss`,
    with or without an offset. A space instead of the `T` is accepted.
    """
    if not isinstance(text, str) or not 10 < len(text.strip()) <= 40:
        return None
    try:
        at = datetime.fromisoformat(text.strip())
        return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
