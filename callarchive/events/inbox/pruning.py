"""Deletes old events that their day has ingested."""

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
from callarchive.events.inbox.inbox import Inbox
from callarchive.events.inbox.queries import Change

_SESSION = schemas.SESSION_IDS.key
_EVENTS_AT_ONCE = 1000
_CACHED_DAYS = 8


def prune_used(inbox: Inbox, catalog: Catalog, *, timezone: ZoneInfo, keep: timedelta) -> int:
    """Delete events older than `keep` that their day has ingested. Return their number.

    An event is ingested if its session is in the `session_ids` of its day, or of a neighbouring day, and that day was updated
    after the event was received; see `Inbox.mark_ingested`. Events that no day used are kept: they are the only record.
    Events of unknown types are deleted by age alone.
    """
    received_before = inbox.now() - keep
    ingested = inbox.ingested_days()

    @lru_cache(maxsize=_CACHED_DAYS)
    def listed(day: date) -> Column:
        return keys_of(catalog.partition(schemas.SESSION_IDS, day, columns=_SESSION), _SESSION)

    def deletable() -> Iterator[int]:
        old = inbox.older_than(received_before)
        while some := list(islice(old, _EVENTS_AT_ONCE)):
            yield from (number for number, change in some if change is None)
            yield from _ingested([change for _, change in some if change is not None], ingested, listed, timezone)

    return inbox.delete(deletable(), received_before=received_before)


def _ingested(
    changes: Sequence[Change], ingested: Mapping[date, int], listed: Callable[[date], Column], timezone: ZoneInfo
) -> Iterator[int]:
    """Yield the numbers of the events that a day has ingested, some of them twice."""
    of_day: dict[date, list[Change]] = {}
    for change in changes:
        if change.call_at is None:
            continue
        for offset in (-1, 0, 1):  # a source may date the session a little differently than its events do
            day = day_of(change.call_at, timezone) + timedelta(days=offset)
            if change.number <= ingested.get(day, 0):
                of_day.setdefault(day, []).append(change)
    for day, candidates in of_day.items():
        keys = pa.array([f"{change.subaccount_id}/{change.session_id}" for change in candidates], pa.string())
        is_listed = pc.is_in(keys, value_set=listed(day)).to_pylist()
        yield from (change.number for change, is_known in zip(candidates, is_listed, strict=True) if is_known)
