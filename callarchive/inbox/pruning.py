"""Which events may go: old ones that their day has taken over."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

from callarchive import schemas
from callarchive.catalog import Catalog
from callarchive.days import day_of
from callarchive.inbox.inbox import Inbox


def prune_used(inbox: Inbox, catalog: Catalog, *, timezone: ZoneInfo, keep: timedelta) -> int:
    """Events older than `keep` whose session is in its day's `sessions` are gone. Returns how many.

    Events of unknown types go by age alone. An event whose session no day has is kept: nobody else knows of it.
    """
    listed: dict[date, set[tuple[str, str]]] = {}
    used = []
    for number, change in inbox.older_than(inbox.now() - keep):
        if change is None:
            used.append(number)
        elif change.call_at is not None:
            day = day_of(change.call_at, timezone)
            if day not in listed:
                listed[day] = _sessions(catalog, day)
            if (change.subaccount_id, change.session_id) in listed[day]:
                used.append(number)
    return inbox.forget(used)


def _sessions(catalog: Catalog, day: date) -> set[tuple[str, str]]:
    rows = catalog.partition(schemas.SESSIONS, day, columns=schemas.SESSIONS.key)
    return set(zip(*(rows[name].to_pylist() for name in schemas.SESSIONS.key), strict=True))
