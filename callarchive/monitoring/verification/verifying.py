"""The days to verify, and the verification of one after the other: its files and its tables."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache, partial

import pyarrow as pa

from callarchive.archiving.connections import Connections
from callarchive.archiving.recording_archive import QUARANTINE, RecordingArchive
from callarchive.archiving.responses.journal import LOOKUPS
from callarchive.archiving.responses.store import CALL_LOGS
from callarchive.archiving.transfer_journal import TransferJournal
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import rows_in
from callarchive.custody.erasures import Erased
from callarchive.domain.days import day_of_folder, days_between
from callarchive.domain.errors import ArchiveError, ConfigurationError, StoreError
from callarchive.ledger.checking import CheckedLedger
from callarchive.monitoring.verification.custody import concerns, unfinished_erasure
from callarchive.monitoring.verification.discrepancies import compare_reconciliation
from callarchive.monitoring.verification.files import CheckedFiles, FileCheck
from callarchive.monitoring.verification.findings import Defect, Finding, VerifiedDay
from callarchive.monitoring.verification.partitions import DayTables
from callarchive.monitoring.verification.public_tables import PublicTables
from callarchive.monitoring.verification.traces import (
    removed_from_call_logs,
    removed_from_responses,
    removed_from_steps,
)
from callarchive.monitoring.verification.witnessed import compare_with_ledger
from callarchive.runtime.worker_pool import Progress
from callarchive.storage.stores import Store

_NAMED_BY = ("subaccount_id", "session_id", "recording_id", "archive_status", "archive_path", "quarantine_uri")
_KEPT = (*_NAMED_BY, "size_bytes", "sha256", "versions", "versions_sha256")
_UNEXPECTED = (pa.ArrowException, ValueError, TypeError, KeyError, IndexError, AttributeError)
"""Errors raised for tables with values that no run would write."""


@dataclass(frozen=True)
class DaysFound:
    """The days of a range, oldest first: those with data, and those without any although earlier and later days have tables."""

    known: tuple[date, ...]
    unknown: tuple[date, ...]


def days_in_range(
    connections: Connections,
    first: date | None = None,
    last: date | None = None,
    *,
    ledger: CheckedLedger | None = None,
) -> DaysFound:
    """Return the days from `first` to `last`; None means the first or last known day. Raises ArchiveError."""
    in_tables = _days_of_tables(connections.catalog.store)
    in_ledger = set() if ledger is None else _days_in(f"call_date={day}" for day in ledger.days)
    known = sorted(
        day
        for day in in_tables | in_ledger | _days_of_files(connections.archive)
        if (first is None or day >= first) and (last is None or day <= last)
    )
    if not known or not in_tables:
        return DaysFound(tuple(known), ())
    begin, end = max(first or date.min, min(in_tables)), min(last or date.max, max(in_tables))
    return DaysFound(tuple(known), tuple(day for day in days_between(begin, end) if day not in known))


def _days_of_files(archive: RecordingArchive) -> set[date]:
    quarantined = [f"{QUARANTINE}/{account}" for account in archive.store.folders(QUARANTINE)]
    return _days_in(
        name for account in (*archive.account_folders(), *quarantined) for name in archive.store.folders(account)
    )


def _days_of_tables(catalog: Store) -> set[date]:
    """Return the days in the tables. Files are listed too, because not every bucket lists folders."""
    tables = [table.folder for table in (*schemas.PUBLIC_TABLES, *schemas.STEP_TABLES)]
    days: set[date] = set()
    for folder in (*tables, LOOKUPS, CALL_LOGS):
        days |= _days_in(catalog.folders(folder))
    days |= _days_in(
        part for item in catalog.list(schemas.RECORDING_FILES.folder) for part in item.path.split("/")[-2:-1]
    )
    return days


def _days_in(names: Iterable[str]) -> set[date]:
    return {day for name in names if (day := day_of_folder(name)) is not None}


def verify_days(
    connections: Connections,
    days: list[date],
    *,
    sample: float = 1.0,
    seed: int | None = None,
    ledger: CheckedLedger | None = None,
    progress: Progress,
) -> Iterator[VerifiedDay]:
    """Yield the findings of each day. A day that cannot be compared does not stop the others.

    Args:
        sample: the share of files to read and hash, above 0 and up to 1; the rest is always compared.
        seed: the same seed chooses the same files; None means any.
        ledger: the ledger to compare the days with; None means that there is none.

    Raises ConfigurationError if a location is wrong, for all days.
    """
    chance = random.Random(seed)  # noqa: S311 - chooses what to read
    for day in days:
        try:
            with connections.day_lock_for_reading(day):
                if begun := [one for one in connections.register.begun() if concerns(one, day)]:
                    yield VerifiedDay(
                        day, 0, 0, (), not_checked=tuple(f"{day}: {unfinished_erasure(o)}" for o in begun)
                    )
                    continue
                verified = _verify(connections, day, sample=sample, chance=chance, ledger=ledger, progress=progress)
                yield verified
        except ConfigurationError:
            raise
        except ArchiveError as err:
            yield VerifiedDay(day, 0, 0, (), not_checked=(f"{day}: {err}",))


def _verify(
    connections: Connections,
    day: date,
    *,
    sample: float,
    chance: random.Random,
    ledger: CheckedLedger | None,
    progress: Progress,
) -> VerifiedDay:
    tables = DayTables(connections.catalog, day)
    tables.check_presence()
    failed = [str(account) for account in tables.rows(schemas.ACCOUNT_FAILURES)["subaccount_id"].to_pylist()]
    again = f"the latest run could not archive it: archive {day} again"
    not_checked = [f"tables of {account}: {again}" for account in failed]
    if failed:
        tables.leave_out(failed)
    files = _known_files(connections, tables)
    try:
        if tables.unfinished is not None:
            not_checked.append(f"tables of {day}: {tables.unfinished}")
        elif files is not None:
            tables.findings += _compare_tables(connections, tables, tables.without_failed(files))
    except _UNEXPECTED as err:
        why = f"they have values that no run wrote ({type(err).__name__}: {err})"
        tables.findings.append(Finding(Defect.UNREADABLE, f"the tables of {day} cannot be compared: {why}"))
    if ledger is not None:
        findings, unfinished = compare_with_ledger(connections, ledger, day, files)
        tables.findings += findings
        not_checked += unfinished
    checked = CheckedFiles(not_checked=[f"files of {day}: recording_files cannot be read"])
    if files is not None:
        check = FileCheck(
            connections, day, sample=sample, chance=chance, unfinished=tables.unfinished, progress=progress
        )
        checked = check.compare(list(rows_in(files.select(list(_KEPT)))))
    return VerifiedDay(
        day,
        checked.file_count,
        checked.read_count,
        tuple(sorted({*tables.findings, *checked.findings})),
        read_bytes=checked.read_bytes,
        row_count=sum(len(tables.rows(table)) for table in schemas.PUBLIC_TABLES),
        not_checked=(*not_checked, *checked.not_checked),
    )


def _known_files(connections: Connections, tables: DayTables) -> pa.Table | None:
    """Return `recording_files` with the rows of a run in progress; None, and a finding, if it cannot be read."""
    if tables.damaged(schemas.RECORDING_FILES):
        return None
    try:
        return TransferJournal(connections.catalog, tables.day).known()
    except (ArchiveError, pa.ArrowException) as err:
        tables.findings.append(Finding(Defect.UNREADABLE, f"the journal of {tables.day}: not checked: {err}"))
        return None


def _erased(connections: Connections, day: date) -> Erased:
    try:
        return connections.register.around(day)
    except StoreError:  # `compare_custody` reports it
        return Erased()


def _compare_tables(connections: Connections, tables: DayTables, files: pa.Table) -> list[Finding]:
    accounts = [account.subaccount_id for account in connections.settings.accounts]
    findings = removed_from_steps(tables, files, accounts=accounts)
    public = PublicTables(connections, tables, files)
    findings += public.compare()
    if public.sessions is not None and public.recordings is not None:
        findings += compare_reconciliation(connections, tables, sessions=public.sessions, recordings=public.recordings)
    if any(tables.present(table) for table in schemas.STEP_TABLES):
        erased = cache(partial(_erased, connections, tables.day))
        findings += removed_from_responses(connections.catalog, tables, erased)
        findings += removed_from_call_logs(connections, tables, erased)
    return findings
