"""Which events may go: old ones that their day has taken over."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

import pyarrow as pa

from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, keys_of, pc
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.days import day_of
from callarchive.events.inbox.inbox import Change, Inbox

_SESSION = schemas.SESSION_IDS.key
_EVENTS_AT_ONCE = 1000
_DAYS_AT_HAND = 8


def prune_used(inbox: Inbox, catalog: Catalog, *, timezone: ZoneInfo, keep: timedelta) -> int:
    """Events older than `keep` that their day has taken over are gone. Returns how many.

    Taken over is an event whose session is in the `session_ids` of its day, or of one beside it, when that day was brought
    up to date after the event came; see `Inbox.take_over`. An event that no day used is kept: nobody else knows of it.
    Events of unknown types go by age alone.
    """
    received_before = inbox.now() - keep
    taken = inbox.taken_over()

    @lru_cache(maxsize=_DAYS_AT_HAND)
    def listed(day: date) -> Column:
        return keys_of(catalog.partition(schemas.SESSION_IDS, day, columns=_SESSION), _SESSION)

    def used() -> Iterator[int]:
        old = inbox.older_than(received_before)
        while some := list(islice(old, _EVENTS_AT_ONCE)):
            yield from (number for number, change in some if change is None)
            yield from _used([change for _, change in some if change is not None], taken, listed, timezone)

    return inbox.forget(used(), received_before=received_before)


def _used(
    changes: Sequence[Change], taken: Mapping[date, int], listed: Callable[[date], Column], timezone: ZoneInfo
) -> Iterator[int]:
    """Numbers of those that a day has taken over; one may come twice."""
    of_day: dict[date, list[Change]] = {}
    for change in changes:
        if change.call_at is None:
            continue
        for offset in (-1, 0, 1):  # a source may date the session a little differently than its events do
            day = day_of(change.call_at, timezone) + timedelta(days=offset)
            if change.number <= taken.get(day, 0):
                of_day.setdefault(day, []).append(change)
    for day, told in of_day.items():
        keys = pa.array([f"{change.subaccount_id}/{change.session_id}" for change in told], pa.string())
        is_listed = pc.is_in(keys, value_set=listed(day)).to_pylist()
        yield from (change.number for change, is_known in zip(told, is_listed, strict=True) if is_known)
