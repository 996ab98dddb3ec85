"""What the checks read of a day: columns of its tables, the settings, and what its run could not determine."""

from collections.abc import Iterator
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import pyarrow as pa

from callarchive.archiving.transforms.reconciliation import SESSION_COLUMNS
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import pc
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import Table
from callarchive.monitoring.checks import Check
from callarchive.settings import Settings

SESSION_KEY = ("subaccount_id", "session_id")
RECORDING_KEY = ("subaccount_id", "recording_id")
_SESSION_COLUMNS = (*SESSION_COLUMNS, "lookup_error", "recording_count")
_RECORDING_COLUMNS = (
    *RECORDING_KEY,
    "session_id",
    "archive_status",
    "error",
    "duration_s",
    "duration_mismatch",
    "audio_issue",
    "channels",
    "silent_channels",
)
_RECONCILIATION_COLUMNS = (*SESSION_KEY, "kind", "subject", "reason", "state")


def _rows(table: Table, *columns: str) -> "cached_property[pa.Table]":
    return cached_property(lambda day: day.catalog.partition(table, day.call_date, columns=columns or None))


class CheckedDay:
    """A day's tables, each read when a check first needs it, and the thresholds."""

    def __init__(self, catalog: Catalog, day: date, settings: Settings) -> None:
        self.catalog = catalog
        self.call_date = day
        self.limits = settings.checks
        self.tolerance_s = settings.transfer.duration_tolerance_s
        self.grace = timedelta(hours=settings.transfer.missing_after_hours)
        self.landings = settings.landings
        self._absent: dict[str, bool] = {}

    session_ids = _rows(schemas.SESSION_IDS, *SESSION_KEY)
    problems = _rows(schemas.SESSION_PROBLEMS)
    sessions = _rows(schemas.SESSIONS, *_SESSION_COLUMNS)
    metadata = _rows(schemas.RECORDING_METADATA, *RECORDING_KEY)
    recordings = _rows(schemas.RECORDINGS, *_RECORDING_COLUMNS)
    reconciliation = _rows(schemas.RECONCILIATION, *_RECONCILIATION_COLUMNS)
    failures = _rows(schemas.ACCOUNT_FAILURES, "subaccount_id", "reason")
    unknowns = _rows(schemas.UNKNOWNS)
    missing = _rows(schemas.MISSING_SESSIONS)

    def is_absent(self, table: Table) -> bool:
        """Return whether the table has no partition of the day."""
        if table.name not in self._absent:
            self._absent[table.name] = not self.catalog.has(table, self.call_date)
        return self._absent[table.name]

    def current(self, rows: pa.Table) -> pa.Table:
        """Return the rows of the accounts that the latest run archived. Tables may have older rows of the others."""
        if not len(self.failures):
            return rows
        return rows.filter(pc.invert(pc.is_in(rows["subaccount_id"], value_set=self.failures["subaccount_id"])))

    def unknown_reasons(self, check: Check) -> list[str]:
        """Return why the check has no answer, or none for some accounts; empty if it has.

        Only `accounts_archived` can be evaluated for an account that the latest run could not archive: its rows are older.
        """
        if self.is_absent(check.table):
            return [f"{check.table.name} has no partition of the day yet"]
        reasons = []
        if check.name != "accounts_archived":
            failed = values(self.failures, "subaccount_id")
            reasons = [f"{account} was not archived by the latest run" for (account,) in failed]
        if check.name == "sources_complete" and self.is_absent(schemas.MISSING_SESSIONS) and len(self.session_ids):
            reasons.append("the day was archived by a version without this check; archive it again")
        own = self.unknowns.filter(pc.equal(self.unknowns["question"], check.name))
        return reasons + [f"{account}: {reason}" for account, reason in values(own, "subaccount_id", "reason")]


def values(rows: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    """Yield the values of these columns, row by row."""
    return zip(*(rows[name].to_pylist() for name in names), strict=True)
