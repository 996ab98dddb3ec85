"""The status of some days: recordings by status, failing checks, recordings at risk, days never archived."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING

from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas
from callarchive.catalog.day_bounds import MovedDay, recent_days_to_review, review_bounds
from callarchive.domain.errors import StoreError, UnavailableError
from callarchive.domain.evidence import Outcome
from callarchive.domain.models import Discrepancy
from callarchive.monitoring.at_risk import AtRisk, at_risk, days_at_risk
from callarchive.monitoring.evaluation import run_checks
from callarchive.monitoring.past_time import KeptPastTime, kept_past_time

if TYPE_CHECKING:
    from callarchive.catalog.parquet_catalog import Catalog
    from callarchive.events.inbox.queries import AccountStatistics


@dataclass(frozen=True)
class AccountDay:
    """An account's day: sessions, failed lookups, recordings by archive_status."""

    day: date
    subaccount_id: str
    session_count: int
    failed_lookups: int
    recordings: dict[str, int]


@dataclass(frozen=True)
class FailingCheck:
    """A check that failed, or was not checked, on a day."""

    day: date
    name: str
    summary: str
    outcome: Outcome


@dataclass(frozen=True)
class Status:
    """The status of some days.

    Attributes:
        never_archived: days without a partition, which does not mean days without calls.
        moved: days archived with bounds that have changed with the time zone data: of these days, or of the last year
            if no range was requested.
        past_time: what is kept past its retention, of all days.
        open_rows: number of open rows of `reconciliation` by kind.
        last_events: when the last webhook event of each account came.
        inbox_error: why the inbox could not be read; None if it could, or if there is none.
    """

    first: date
    last: date
    days: tuple[AccountDay, ...]
    never_archived: tuple[date, ...]
    failing: tuple[FailingCheck, ...]
    open_rows: dict[str, int]
    at_risk: tuple[AtRisk, ...]
    last_events: dict[str, datetime]
    inbox_error: str | None = None
    moved: tuple[MovedDay, ...] = ()
    past_time: KeptPastTime = field(default_factory=KeptPastTime)

    @property
    def is_well(self) -> bool:
        """Whether nothing needs attention: all days and accounts are archived, and nothing is at risk or kept for too long."""
        accounts_failed = any(
            check.name == "accounts_archived" and check.outcome is not Outcome.PASSED for check in self.failing
        )
        is_kept_too_long = self.past_time.is_late or self.past_time.error is not None
        needs_attention = self.never_archived or self.moved or accounts_failed or self.at_risk or is_kept_too_long
        return not needs_attention and self.inbox_error is None


def read_status(connections: Connections, days: Sequence[date], *, all_at_risk: bool = False) -> Status:
    """Return the status of these days, and with `all_at_risk` of earlier ones whose recordings 8x8 may still have.

    Contacts neither 8x8 nor a landing. Raises StoreError or UnavailableError if the catalog cannot be read.
    """
    from callarchive.catalog.arrow_columns import count_values, pc

    settings, catalog, now = connections.settings, connections.catalog, connections.clock()
    archived = set(catalog.days(schemas.SESSIONS))
    known = [day for day in days if day in archived]
    account_days: list[AccountDay] = []
    failing: list[FailingCheck] = []
    open_rows: Counter[str] = Counter()
    for day in known:
        account_days += _accounts(connections, day)
        checks = run_checks(catalog, day, settings)
        failing += [FailingCheck(day, check.name, check.summary, check.outcome) for check in checks if not check.passed]
        rows = catalog.partition(schemas.RECONCILIATION, day, columns=("kind", "state"))
        open_rows.update(count_values(rows.filter(pc.field("state") == "open")["kind"]))
    risk_days = {*known, *(archived.intersection(days_at_risk(settings, now=now)) if all_at_risk else ())}
    statistics: list[AccountStatistics] = []
    inbox_error = None
    try:
        inbox = connections.inbox()
        if inbox is not None:
            statistics = inbox.statistics()
    except (StoreError, UnavailableError) as err:  # the rest is still shown
        inbox_error = str(err)
    reviewed = recent_days_to_review(settings, archived, now=now) if all_at_risk else known
    return Status(
        first=days[0],
        last=days[-1],
        days=tuple(account_days),
        never_archived=tuple(day for day in days if day not in archived),
        failing=tuple(failing),
        open_rows=dict(sorted(open_rows.items())),
        at_risk=tuple(at_risk(catalog, settings, now=now, days=sorted(risk_days))),
        last_events={account.subaccount_id: account.last_received_at for account in statistics},
        inbox_error=inbox_error,
        moved=review_bounds(catalog, settings, reviewed).moved,
        past_time=kept_past_time(connections),
    )


@dataclass(frozen=True)
class OpenRow:
    """An open row of `reconciliation`."""

    day: date
    subaccount_id: str
    kind: str
    subject: str
    reason: str


def open_rows(catalog: "Catalog", days: Iterable[date], *, kind: Discrepancy | None = None) -> Iterator[OpenRow]:
    """Yield the days' open rows of `reconciliation`, of one kind or of all. Raises StoreError or UnavailableError."""
    columns = ("subaccount_id", "kind", "subject", "reason", "state")
    for day in days:
        for row in catalog.partition(schemas.RECONCILIATION, day, columns=columns).to_pylist():
            if row.pop("state") == "open" and kind in (None, row["kind"]):
                yield OpenRow(day, **row)


def _accounts(connections: Connections, day: date) -> list[AccountDay]:
    from callarchive.catalog.arrow_columns import count_values, pc

    catalog = connections.catalog
    sessions = catalog.partition(schemas.SESSIONS, day, columns=("subaccount_id", "lookup_status"))
    recordings = catalog.partition(schemas.RECORDINGS, day, columns=("subaccount_id", "archive_status"))
    found = []
    for account in connections.settings.accounts:
        is_own = pc.field("subaccount_id") == account.subaccount_id
        own, kept = sessions.filter(is_own), recordings.filter(is_own)
        failed_lookups = count_values(own["lookup_status"]).get("error", 0)
        by_status = count_values(kept["archive_status"])
        found.append(AccountDay(day, account.subaccount_id, len(own), failed_lookups, by_status))
    return found
