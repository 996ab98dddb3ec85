"""The days to verify: days with any table, response or file, and days between them without."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta

from callarchive.archiving.connections import Connections
from callarchive.archiving.recording_archive import QUARANTINE
from callarchive.catalog import schemas
from callarchive.storage.stores import Store

_TABLES = tuple(table.name for table in schemas.PUBLIC_TABLES)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class DaysFound:
    """The days of a range.

    Attributes:
        known: days with a table, a response or a file, oldest first.
        unknown: days of the range without any, although earlier and later days have tables.
    """

    known: tuple[date, ...]
    unknown: tuple[date, ...]


def days_in_range(connections: Connections, first: date | None = None, last: date | None = None) -> DaysFound:
    """Return the days from `first` to `last`, both included; None means the first or last known day.

    Raises:
        ArchiveError: The catalog or the archive cannot be listed.
    """
    in_tables = _days_of_tables(connections.catalog.store)
    known = sorted(
        day
        for day in in_tables | _days_of_files(connections.archive.store)
        if (first is None or day >= first) and (last is None or day <= last)
    )
    if not known or not in_tables:
        return DaysFound(tuple(known), ())
    begin, end = max(first or date.min, min(in_tables)), min(last or date.max, max(in_tables))
    between = (begin + number * _DAY for number in range((end - begin).days + 1))
    return DaysFound(tuple(known), tuple(day for day in between if day not in known))


def days_to_verify(connections: Connections) -> list[date]:
    """Return the days with a table, a stored response, a file or a quarantined file, oldest first."""
    return list(days_in_range(connections).known)


def _days_of_files(archive: Store) -> set[date]:
    days: set[date] = set()
    for above in ("", QUARANTINE):
        for account in archive.folders(above):
            if above or not account.startswith("_"):
                days |= _days_in(archive.folders(f"{above}/{account}" if above else account))
    return days


def _days_of_tables(catalog: Store) -> set[date]:
    """Return the days in the tables. Files are listed too, because not every bucket lists folders."""
    folders = [*_TABLES, *(table.folder for table in schemas.STEP_TABLES), "_answers/lookups", "_answers/call_log"]
    days: set[date] = set()
    for folder in folders:
        days |= _days_in(catalog.folders(folder))
    days |= _days_in(
        part for item in catalog.list(schemas.RECORDING_FILES.folder) for part in item.path.split("/")[-2:-1]
    )
    return days


def _days_in(names: Iterable[str]) -> set[date]:
    days = set()
    for name in names:
        with suppress(ValueError):
            days.add(date.fromisoformat(name.removeprefix("call_date=")))
    return days
