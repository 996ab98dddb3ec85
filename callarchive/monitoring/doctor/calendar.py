"""The checks of days: time zone data here and elsewhere, the catalog's zone, days whose bounds moved."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime

from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.catalog.day_bounds import review_bounds
from callarchive.catalog.zone import kept_zone, require_same_zone
from callarchive.domain.days import day_bounds, day_of, days_between, spans_of
from callarchive.domain.errors import ArchiveError
from callarchive.domain.plurals import many
from callarchive.monitoring.doctor.findings import Finding, Result, Verdict, tried
from callarchive.runtime.time_zones import data_in_use, machine_zone, packaged_zone
from callarchive.settings import Settings

_DATA, _BOUNDS = "time zone data", "catalog: bounds of days"
_ADVICE = "readers: use call_date, or compare UTC times; update the tz data there"


def findings(connections: Connections) -> Iterator[Finding]:
    """Yield the findings about days. Nothing is written."""
    settings = connections.settings
    try:
        archived = connections.catalog.days(schemas.SESSION_IDS)
    except ArchiveError:
        archived = []  # the catalog's own finding has the reason
    now = connections.clock()
    last = max([day_of(now, settings.zone), *archived])
    days = list(days_between(min(settings.start_date, last, *archived), last))
    yield from _data(settings, days)
    if archived:
        yield tried("catalog: time zone", lambda: _same_zone(connections, now), "see docs/operating/time-zones.md")
        yield tried(_BOUNDS, lambda: _bounds(connections, archived), "check catalog.url, then callarchive doctor")


def _same_zone(connections: Connections, now: datetime) -> str:
    kept = kept_zone(connections.catalog)
    if kept is None:
        return f"not stored by an older version: the next run stores {connections.settings.timezone}"
    require_same_zone(connections.catalog, connections.settings, now=now)
    return f"days are in {kept}"


def _data(settings: Settings, days: Sequence[date]) -> Iterator[Finding]:
    """Compare the data in use with the machine's, the package's and DuckDB's over these days."""
    name, used = settings.timezone, data_in_use(settings.timezone)
    for other in (machine_zone(name), packaged_zone(name)):
        if other is not None and other[1] != used:
            begins = {day: day_bounds(day, other[0])[0] for day in days}
            yield Finding.of(_DATA, _compared(settings, begins, f"{used}", f"{other[1]}"))
    if (machine := machine_zone(name)) is None or machine[1] == used:
        yield Finding(_DATA, Verdict.OK, f"{used}; this machine has no other data for {name}")
    yield Finding.of("time zone data: DuckDB", _duckdb(settings, days, f"{used}"))


def _compared(settings: Settings, begins: Mapping[date, datetime], here: str, there: str) -> Result:
    """Compare the starts of days with those of other data."""
    differ = [day for day, at in begins.items() if day_bounds(day, settings.zone)[0] != at]
    if not differ:
        return f"{here}; {there} starts each day from {min(begins)} to {max(begins)} at the same time"
    count = many(len(differ), "day", "days")
    detail = f"{here} is used; {there} starts {count} at another time, from {differ[0]} to {differ[-1]}"
    return Verdict.WARNING, detail, _ADVICE


def _duckdb(settings: Settings, days: Sequence[date], here: str) -> Result:
    """Check that DuckDB's local date changes at the first instant of each day.

    Midnights are not compared: for a repeated one DuckDB takes the later, for a skipped one another hour.
    """
    import duckdb

    begins = {day: day_bounds(day, settings.zone)[0] for day in days}
    with duckdb.connect() as connection:
        try:
            rows = connection.execute(
                "select timezone($zone, instant)::date, timezone($zone, instant - interval 1 microsecond)::date "
                "from (select unnest($begins::timestamptz[]) as instant)",
                {"zone": settings.timezone, "begins": list(begins.values())},
            ).fetchall()
        except duckdb.Error as err:
            return Verdict.WARNING, f"DuckDB does not know {settings.timezone}: {str(err).splitlines()[0]}", _ADVICE
    never = datetime.max.replace(tzinfo=UTC)
    there = {
        day: at if before < day <= on else never for (day, at), (on, before) in zip(begins.items(), rows, strict=True)
    }
    return _compared(settings, there, here, "DuckDB, which has its own data,")


def _bounds(connections: Connections, archived: Sequence[date]) -> Result:
    review = review_bounds(connections.catalog, connections.settings, archived)
    if review.moved:
        spans = ", ".join(f"{first} to {last}" for first, last in spans_of(item.day for item in review.moved))
        last = review.moved[-1]
        return (
            Verdict.BROKEN,
            f"{many(len(review.moved), 'day has', 'days have')} other bounds than when archived, so calls near midnight may"
            f" be in no day: {spans}; {last.day}: {last.reason}",
            f"callarchive archive --from {review.moved[0].day} --to {last.day}, or let the schedule do it",
        )
    if review.unknown:
        count = many(len(review.unknown), "day was", "days were")
        detail = f"the bounds of days are unknown: {count} archived without them, the last {max(review.unknown)}"
        return Verdict.WARNING, detail, "archive those days again to store their bounds"
    detail = "every archived day has the bounds with which it was archived"
    if review.assumed:
        count = many(len(review.assumed), "day", "days")
        detail += f"; {count} of an older version judged by this machine's data, because their bounds were not stored"
    return detail
