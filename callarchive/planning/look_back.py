"""Which days a night archives: the one before, those that nights before it missed, and those that may have changed.

Everything follows from the catalog and the night's time: nothing is remembered, and a night that is gone through once more asks
for the same.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING

from callarchive.catalog import schemas
from callarchive.catalog.day_bounds import recent_days_to_review, review_bounds
from callarchive.domain.days import day_bounds, day_of
from callarchive.planning.reopening import day_to_reopen
from callarchive.planning.run_requests import DayRequest
from callarchive.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from callarchive.catalog.parquet_catalog import Catalog


def day_before(at: datetime, settings: Settings) -> DayRequest | None:
    """The day before the night, which is always asked for; null where it is before `start_date`."""
    day = day_of(at, settings.zone) - timedelta(days=1)
    return None if day < settings.start_date else DayRequest(day, day.isoformat(), "the day before")


def requests_for_look_back(
    catalog: "Catalog", settings: Settings, *, at: datetime, is_busy: Callable[[date], bool]
) -> list[DayRequest]:
    """Earlier days that the night asks for besides, newest first.

    Of the last `dagster.catch_up_days`: each that was never archived, or not since it was over. Of the last
    `dagster.look_back_days`: each with a session that is not final and is due, and each of which no source named a session.
    Of all these: each with a session that is due for its second look-up, without which "no recording" is not final. Of the
    last year: each whose bounds moved since it was archived, because time zone data changed.

    Args:
        at: the night's time.
        is_busy: whether a run of the day is waiting or under way.
    """
    yesterday = day_of(at, settings.zone) - timedelta(days=1)
    done = _archived_days(catalog)
    earlier = [day for day in catalog.days(schemas.SESSION_IDS) if day < yesterday]
    review = review_bounds(catalog, settings, recent_days_to_review(settings, earlier, now=at))
    moved = {item.day: item.reason for item in review.moved}
    requests = []
    for back in range(1, max(settings.dagster.catch_up_days, settings.dagster.look_back_days) + 1):
        day = yesterday - timedelta(days=back)
        if day < settings.start_date:
            break
        why = _reason(catalog, settings, day, back=back, at=at, is_archived=day in done, moved=moved.pop(day, None))
        if why is not None and not is_busy(day):
            requests.append(DayRequest(day, day.isoformat(), why))
    older = [DayRequest(day, day.isoformat(), why) for day, why in moved.items() if day in done and not is_busy(day)]
    return [*requests, *reversed(older)]


def days_left_behind(catalog: "Catalog", settings: Settings, *, at: datetime) -> int:
    """How many days since `start_date` were never archived and lie too far back for any night to ask for them."""
    yesterday = day_of(at, settings.zone) - timedelta(days=1)
    end = yesterday - timedelta(days=max(settings.dagster.catch_up_days, settings.dagster.look_back_days))
    count = max((end - settings.start_date).days, 0)
    return count - sum(settings.start_date <= day < end for day in _archived_days(catalog))


def _reason(
    catalog: "Catalog",
    settings: Settings,
    day: date,
    *,
    back: int,
    at: datetime,
    is_archived: bool,
    moved: str | None,
) -> str | None:
    """Why the day is to be archived, the reason that costs least to find out first; null where there is none."""
    from callarchive.catalog.arrow_columns import pc

    if not is_archived:
        return "it was never archived to the end"
    if moved is not None:
        return moved
    lookups = catalog.partition(schemas.LOOKUPS, day, columns=["lookup_status", "looked_up_at", "negative_since"])
    last_look_at = pc.max(lookups["looked_up_at"]).as_py()
    if last_look_at is not None and last_look_at < day_bounds(day, settings.zone)[1]:
        return "it was last archived before it was over"
    failed = catalog.rows(schemas.ACCOUNT_FAILURES, day)
    if failed:
        return f"{', '.join(row['subaccount_id'] for row in failed)} could not be archived"
    if back > settings.dagster.look_back_days:
        count = _due_for_second_look(lookups, at)
        return f"{count} sessions of which 8x8 named no recording once are due again" if count else None
    if not len(lookups):
        return "no source named a session of it"
    reopened = day_to_reopen(catalog, settings, day, now=at)
    if reopened is None or not reopened.due_count:
        return None
    return f"{reopened.due_count} of {reopened.session_count} open sessions are due again"


def _due_for_second_look(lookups: "pa.Table", at: datetime) -> int:
    from callarchive.archiving.transforms.lookup_tables import BETWEEN_NEGATIVES, confirmed_negatives
    from callarchive.catalog.arrow_columns import pc
    from callarchive.domain.models import NEGATIVE

    once = lookups.filter(pc.invert(confirmed_negatives(lookups)))
    answers = zip(once["lookup_status"].to_pylist(), once["negative_since"].to_pylist(), strict=True)
    return sum(
        status in NEGATIVE and since is not None and since + BETWEEN_NEGATIVES <= at for status, since in answers
    )


def _archived_days(catalog: "Catalog") -> frozenset[date]:
    """The days that have a partition of every table that readers use."""
    return reduce(frozenset.intersection, (frozenset(catalog.days(table)) for table in schemas.PUBLIC_TABLES))
