"""What the checks read of a day: columns of its tables, the thresholds, and what its run could not determine."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import pc
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.monitoring.checks import Check
from callarchive.settings import CheckSettings, TransferSettings

SESSION_KEY = ("subaccount_id", "session_id")
RECORDING_KEY = ("subaccount_id", "recording_id")
_SESSION_COLUMNS = (
    *SESSION_KEY,
    "started_at",
    "ended_at",
    "session_status",
    "call_duration_s",
    "lookup_status",
    "lookup_error",
    "looked_up_at",
    "recording_count",
)
_RECORDING_COLUMNS = (
    *RECORDING_KEY,
    "session_id",
    "archive_status",
    "error",
    "duration_s",
    "duration_mismatch",
    "audio_issue",
)
_RECONCILIATION_COLUMNS = (*SESSION_KEY, "kind", "subject", "reason", "state")
_CHECKED_TABLES = (schemas.SESSIONS, schemas.RECORDINGS, schemas.RECONCILIATION, schemas.MISSING_SESSIONS)


@dataclass(frozen=True)
class CheckedDay:
    """A day's tables and the thresholds.

    Attributes:
        catalog: for the check that compares the day with earlier ones.
        absent: names of checked tables without a partition of the day; they have no rows.
    """

    catalog: Catalog
    call_date: date
    session_ids: pa.Table
    problems: pa.Table
    sessions: pa.Table
    metadata: pa.Table
    recordings: pa.Table
    reconciliation: pa.Table
    failures: pa.Table
    unknowns: pa.Table
    missing: pa.Table
    limits: CheckSettings
    tolerance_s: float
    grace: timedelta
    landings: Mapping[str, str]
    absent: frozenset[str]

    @classmethod
    def read(
        cls,
        catalog: Catalog,
        day: date,
        *,
        limits: CheckSettings,
        transfer: TransferSettings,
        landings: Mapping[str, str],
    ) -> "CheckedDay":
        """Return the day from the catalog."""
        return cls(
            catalog=catalog,
            call_date=day,
            session_ids=catalog.partition(schemas.SESSION_IDS, day, columns=SESSION_KEY),
            problems=catalog.partition(schemas.SESSION_PROBLEMS, day),
            sessions=catalog.partition(schemas.SESSIONS, day, columns=_SESSION_COLUMNS),
            metadata=catalog.partition(schemas.RECORDING_METADATA, day, columns=RECORDING_KEY),
            recordings=catalog.partition(schemas.RECORDINGS, day, columns=_RECORDING_COLUMNS),
            reconciliation=catalog.partition(schemas.RECONCILIATION, day, columns=_RECONCILIATION_COLUMNS),
            failures=catalog.partition(schemas.ACCOUNT_FAILURES, day, columns=("subaccount_id", "reason")),
            unknowns=catalog.partition(schemas.UNKNOWNS, day),
            missing=catalog.partition(schemas.MISSING_SESSIONS, day),
            absent=frozenset(table.name for table in _CHECKED_TABLES if not catalog.has(table, day)),
            limits=limits,
            tolerance_s=transfer.duration_tolerance_s,
            grace=timedelta(hours=transfer.missing_after_hours),
            landings=landings,
        )

    def current(self, rows: pa.Table) -> pa.Table:
        """Return the rows of the accounts that the latest run archived. Tables may have older rows of the others."""
        if not len(self.failures):
            return rows
        return rows.filter(pc.invert(pc.is_in(rows["subaccount_id"], value_set=self.failures["subaccount_id"])))

    def unknown_reasons(self, check: Check) -> list[str]:
        """Return why the check has no answer, or none for some accounts; empty if it has.

        An account that the latest run could not archive has rows of an earlier run, or none. No check but
        `accounts_archived`, which fails, can be evaluated for it.
        """
        if check.table.name in self.absent:
            return [f"{check.table.name} has no partition of the day yet"]
        reasons = []
        if check.name != "accounts_archived":
            failed = values(self.failures, "subaccount_id")
            reasons = [f"{account} was not archived by the latest run" for (account,) in failed]
        if check.name == "sources_complete" and schemas.MISSING_SESSIONS.name in self.absent and len(self.session_ids):
            reasons.append("the day was archived by a version without this check; archive it again")
        own = self.unknowns.filter(pc.equal(self.unknowns["question"], check.name))
        return reasons + [f"{account}: {reason}" for account, reason in values(own, "subaccount_id", "reason")]


def values(rows: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    """Yield the values of these columns, row by row."""
    return zip(*(rows[name].to_pylist() for name in names), strict=True)
