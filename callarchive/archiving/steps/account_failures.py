"""Accounts that a run of a day could not archive, so that one of them does not hold back the others.

An account fails if its sessions cannot be known, if 8x8 gives no readable response for it, or if its landing cannot be reached.
Its public rows stay those of the earlier run, the later steps skip it, and the run ends with an error that names it.
After a run without any account left, only the failures are written, and none for a day that was never archived.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import date

import pyarrow as pa

from callarchive.archiving.catalog_day import CatalogDay
from callarchive.catalog.arrow_columns import Column, pc
from callarchive.catalog.parquet_catalog import Catalog
from callarchive.catalog.schemas import ACCOUNT_FAILURES, SESSIONS, Table
from callarchive.domain.errors import (
    AccountFailure,
    AccountsFailedError,
    ArchiveDeniedError,
    ArchiveError,
    ArchiveUnavailableError,
    ConfigurationError,
    StoreError,
)
from callarchive.settings import AccountSettings

log = logging.getLogger(__name__)

FOR_ALL_ACCOUNTS = (ArchiveDeniedError, ArchiveUnavailableError, ConfigurationError, StoreError)
"""Errors after which no account can be archived."""


def account_failures(catalog: Catalog, day: date) -> tuple[AccountFailure, ...]:
    """Return the accounts that the day's latest run could not archive, so far."""
    return tuple(AccountFailure(**row) for row in catalog.rows(ACCOUNT_FAILURES, day))


def active_accounts(accounts: Sequence[AccountSettings], failures: Sequence[AccountFailure]) -> list[AccountSettings]:
    """Return the accounts without those that failed."""
    failed = {failure.subaccount_id for failure in failures}
    return [account for account in accounts if account.subaccount_id not in failed]


def keep_failures(
    day: CatalogDay, table: Table, errors: Mapping[str, ArchiveError], *, earlier: Sequence[AccountFailure] = ()
) -> tuple[AccountFailure, ...]:
    """Record the failures of the step that writes `table`, and return them with those of the steps before, by account.

    Raise AccountsFailedError when no account is left, or its error if it is the only one.
    """
    others = [failure for failure in earlier if failure.step != table.name and failure.subaccount_id not in errors]
    new = [AccountFailure.of(account, table.name, error) for account, error in errors.items()]
    failures = tuple(sorted([*others, *new], key=lambda failure: failure.subaccount_id))
    for account, error in errors.items():  # the end of the run reports them too
        log.info("%s: account %s could not be archived: %s", day.date, account, error)
    rows = [failure.row() for failure in failures]
    no_account_left = bool(errors) and not active_accounts(day.settings.accounts, failures)
    # Alone, the table would make a day that was never archived look like one that was.
    is_kept = not no_account_left or day.catalog.has(SESSIONS, day.date)
    if is_kept and day.catalog.rows(ACCOUNT_FAILURES, day.date) != rows:
        day.replace(ACCOUNT_FAILURES, rows)
    if no_account_left:
        raise next(iter(errors.values())) if len(failures) == 1 else AccountsFailedError(failures)
    return failures


def with_rows_of_failed(rows: pa.Table, earlier: pa.Table, failures: Sequence[AccountFailure]) -> pa.Table:
    """Return the rows, those of failed accounts replaced by the ones that an earlier run wrote."""
    if not failures:
        return rows
    return pa.concat_tables([without_failed(rows, failures), earlier.filter(_is_failed(earlier, failures))])


def without_failed(rows: pa.Table, failures: Sequence[AccountFailure]) -> pa.Table:
    """Return the rows of all other accounts."""
    return rows.filter(pc.invert(_is_failed(rows, failures))) if failures else rows


def _is_failed(rows: pa.Table, failures: Sequence[AccountFailure]) -> Column:
    failed = pa.array([failure.subaccount_id for failure in failures], pa.string())
    return pc.is_in(rows["subaccount_id"], value_set=failed)
