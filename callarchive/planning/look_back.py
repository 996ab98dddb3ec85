"""The days that a nightly run archives: the previous day, days missed by earlier nights, and days that may have changed.

They follow from the catalog and the night's time alone. Without state, evaluating a night twice gives the same days.
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
    """Return the request for the previous day, which every night makes; None before `start_date`."""
    day = day_of(at, settings.zone) - timedelta(days=1)
    return None if day < settings.start_date else DayRequest(day, day.isoformat(), "the day before")


def requests_for_look_back(
    catalog: "Catalog", settings: Settings, *, at: datetime, is_busy: Callable[[date], bool]
) -> list[DayRequest]:
    """Return requests for earlier days, newest first.

    - Of the last `dagster.catch_up_days`: days never archived, or not since they ended.
    - Of the last `dagster.look_back_days`: days with a session that is not final and is due, and days without sessions.
    - Of both: days with a session due for its second lookup, before which "no recording" is not final.
    - Of the last year: days whose bounds moved with the time zone data since they were archived.

    Args:
        at: the night's time.
        is_busy: whether a run of the day is queued or in progress.
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
    """Return the number of days since `start_date` that were never archived and are too old for the nightly runs."""
    yesterday = day_of(at, settings.zone) - timedelta(days=1)
    end = yesterday - timedelta(days=max(settings.dagster.catch_up_days, settings.dagster.look_back_days))
    count = max((end - settings.start_date).days, 0)
    return count - sum(settings.start_date <= day < end for day in _archived_days(catalog))


def _reason(
    catalog: "Catalog", settings: Settings, day: date, *, back: int, at: datetime, is_archived: bool, moved: str | None
) -> str | None:
    """Return why the day has to be archived, or None. The cheapest reasons to determine come first."""
    from callarchive.catalog.arrow_columns import pc

    if not is_archived:
        return "it was never archived completely"
    if moved is not None:
        return moved
    lookups = catalog.partition(schemas.LOOKUPS, day, columns=["lookup_status", "looked_up_at", "negative_since"])
    last_lookup_at = pc.max(lookups["looked_up_at"]).as_py()
    if last_lookup_at is not None and last_lookup_at < day_bounds(day, settings.zone)[1]:
        return "it was last archived before it ended"
    failed = catalog.rows(schemas.ACCOUNT_FAILURES, day)
    if failed:
        return f"{', '.join(row['subaccount_id'] for row in failed)} could not be archived"
    if back > settings.dagster.look_back_days:
        count = _due_for_second_lookup(lookups, at)
        return f"{count} sessions without a recording are due for their second lookup" if count else None
    if not len(lookups):
        return "no source lists a session"
    reopened = day_to_reopen(catalog, settings, day, now=at)
    if reopened is None or not reopened.due_count:
        return None
    return f"{reopened.due_count} of {reopened.session_count} open sessions are due again"


def _due_for_second_lookup(lookups: "pa.Table", at: datetime) -> int:
    from callarchive.archiving.transforms.lookup_tables import BETWEEN_NEGATIVES, confirmed_negatives
    from callarchive.catalog.arrow_columns import pc
    from callarchive.domain.models import NEGATIVE

    once = lookups.filter(pc.invert(confirmed_negatives(lookups)))
    responses = zip(once["lookup_status"].to_pylist(), once["negative_since"].to_pylist(), strict=True)
    return sum(
        status in NEGATIVE and since is not None and since + BETWEEN_NEGATIVES <= at for status, since in responses
    )


def _archived_days(catalog: "Catalog") -> frozenset[date]:
    """Return the days with a partition of every public table."""
    return reduce(frozenset.intersection, (frozenset(catalog.days(table)) for table in schemas.PUBLIC_TABLES))
