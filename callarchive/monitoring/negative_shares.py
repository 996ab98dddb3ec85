"""The share of an account's sessions without a recording at 8x8, on a day and usually: faults before 8x8 make it rise.

Only responses after the grace period count: before that, a recording may be late.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import ceil, sqrt

import pyarrow as pa

from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, count_values, pc
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.domain.models import NEGATIVE, LookupStatus

EARLIER_DAYS = 28
LEAST_SESSIONS = 20
"""A share of fewer sessions means nothing."""

COLUMNS = ("subaccount_id", "lookup_status", "looked_up_at", "started_at", "ended_at")
"""The columns of `sessions` that are read."""

_LATEST_DAY_END = timedelta(days=1, hours=12)
"""By this time after midnight UTC of its date, a day has ended in every time zone."""

_RESPONSES = (LookupStatus.OK, *NEGATIVE)


@dataclass(frozen=True, slots=True)
class Share:
    """An account's day: the sessions with a response after the grace period, and those without a recording among them."""

    session_count: int
    negative_count: int

    @property
    def value(self) -> float:
        """Between 0 and 1; 0 without sessions."""
        return self.negative_count / self.session_count if self.session_count else 0.0


@dataclass(frozen=True, slots=True)
class Rise:
    """An account whose share is far above its usual one, the 90th percentile of `day_count` earlier days."""

    subaccount_id: str
    share: Share
    usual: float
    day_count: int


def shares_of(sessions: pa.Table, day: date, *, grace: timedelta) -> dict[str, Share]:
    """Return the share of each account in rows of `sessions` with at least `COLUMNS`."""
    responses = sessions.filter(_in_time(sessions, day, grace)).filter(pc.field("lookup_status").isin(_RESPONSES))
    counts = count_values(responses["subaccount_id"])
    negative = count_values(responses.filter(pc.field("lookup_status").isin(NEGATIVE))["subaccount_id"])
    return {account: Share(count, negative.get(account, 0)) for account, count in counts.items()}


def rises(catalog: Catalog, day: date, shares: dict[str, Share], *, grace: timedelta, allowed: float) -> list[Rise]:
    """Return the accounts whose share exceeds the usual one by more than `allowed`, and by more than chance.

    Earlier days are read newest first, and only until each suspect account has enough similar days: usually none or three.
    """
    suspects = {
        account: share
        for account, share in shares.items()
        if share.session_count >= LEAST_SESSIONS and share.value > allowed
    }
    known: dict[str, list[float]] = {account: [] for account in suspects}
    open_ones = set(suspects)
    for back in range(1, EARLIER_DAYS + 1):
        if not open_ones:
            break
        before = day - timedelta(days=back)
        earlier = shares_of(catalog.partition(schemas.SESSIONS, before, columns=COLUMNS), before, grace=grace)
        for account in open_ones:
            if account in earlier and earlier[account].session_count >= LEAST_SESSIONS:
                known[account].append(earlier[account].value)
        open_ones = {
            account
            for account in open_ones
            if sum(_is_usual(suspects[account], value, allowed) for value in known[account]) <= EARLIER_DAYS // 10
        }
    found = []
    for account in sorted(open_ones):
        values = sorted(known[account])
        usual = values[ceil(0.9 * len(values)) - 1] if values else 1.0
        if not _is_usual(suspects[account], usual, allowed):
            found.append(Rise(account, suspects[account], usual, len(values)))
    return found


def _is_usual(share: Share, usual: float, allowed: float) -> bool:
    """Return whether the share exceeds the usual one by no more than `allowed` or three standard deviations."""
    spread = 3 * sqrt(usual * (1 - usual) / share.session_count)
    return share.value - usual <= max(allowed, spread)


def _in_time(sessions: pa.Table, day: date, grace: timedelta) -> Column:
    day_end = datetime.combine(day, time(), tzinfo=UTC) + _LATEST_DAY_END
    ended_at = pc.coalesce(sessions["ended_at"], sessions["started_at"], pa.scalar(day_end, pa.timestamp("us", "UTC")))
    over_at = pc.add(ended_at, pa.scalar(grace, pa.duration("us")))
    return pc.fill_null(pc.greater_equal(sessions["looked_up_at"], over_at), False)
