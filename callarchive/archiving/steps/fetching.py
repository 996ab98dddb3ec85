"""The third step of a day: the recordings that 8x8 named are in the archive, or it is known why not."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

import pyarrow as pa

from callarchive.archiving.catalog_day import CatalogDay
from callarchive.archiving.fetcher.account_day import AccountDay, FetchCounts, Wanted, call_time
from callarchive.archiving.fetcher.comparison import COMPARED, Comparison, compare
from callarchive.archiving.fetcher.fetcher import Fetcher
from callarchive.archiving.held_files import COLUMNS, hold_new_files
from callarchive.archiving.landings import Landings, landing_root
from callarchive.archiving.recording_archive import RecordingArchive
from callarchive.archiving.steps.account_failures import FOR_ALL_ACCOUNTS, active_accounts, keep_failures
from callarchive.archiving.steps.reports import StepReport
from callarchive.archiving.transfer_journal import TransferJournal
from callarchive.archiving.transforms.erased_rows import not_erased
from callarchive.archiving.transforms.ledger_entries import FILE_COLUMNS
from callarchive.archiving.transforms.recording_events import event_columns
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, count_values, keys_of, matching_rows, pc, rows_in, rows_where
from callarchive.catalog.rows import file_from, recording_from
from callarchive.domain.errors import AccountFailure, ArchiveError
from callarchive.domain.models import ApiStatus, ArchiveStatus
from callarchive.runtime.worker_pool import NoProgress, Progress
from callarchive.settings import AccountSettings

log = logging.getLogger(__name__)

_RECORDING = ("subaccount_id", "recording_id")
_SESSION = ("subaccount_id", "session_id")
_OF_EVENTS = ("event_status", "file_path")


@dataclass(slots=True)
class EarlyFiles:
    """The recordings of an account that this run downloaded before the step: they are in the archive and in the journal."""

    recording_ids: list[str] = field(default_factory=list)
    counts: FetchCounts = field(default_factory=FetchCounts)


def fetch_recordings(
    day: CatalogDay,
    *,
    archive: RecordingArchive,
    landings: Landings,
    failures: Sequence[AccountFailure],
    progress: Progress | None = None,
    early: Mapping[str, EarlyFiles] | None = None,
) -> StepReport:
    """Write `recording_files`: what the archive holds of every recording of the day, or why it holds nothing.

    What this run downloaded `early`, by subaccount_id, is counted and reported here.

    Raises ArchiveError if no account could be archived; what was archived is in the journal and is not downloaded again.
    """
    metadata = not_erased(day.required_rows(schemas.RECORDING_METADATA), day.erased)
    journal = TransferJournal(day.catalog, day.date)
    for account in day.settings.accounts:
        archive.sweep(account.subaccount_id, day.date)
    accounts = active_accounts(day.settings.accounts, failures)
    progress = progress or NoProgress()
    counts, errors = _fetch_accounts(day, accounts, metadata, journal, archive, landings, progress, early or {})
    all_failures = keep_failures(day, schemas.RECORDING_FILES, errors, earlier=failures)
    metadata = metadata.select(list(_RECORDING))  # frees the other columns while the files are in memory
    rows = journal.latest()
    files = rows.decoded((*_RECORDING, "archive_status", "archive_path"))
    is_named = _are_named(files, metadata)
    by_status = count_values(files["archive_status"].filter(is_named))
    # Rows of files that no recording names any more stay: the bytes are still in the archive. So do tombstones.
    is_erased = pc.equal(files["archive_status"], ArchiveStatus.ERASED.value)
    kept = rows.where(pc.or_(pc.or_(is_named, is_erased), pc.is_valid(files["archive_path"])))
    del files, is_named, metadata
    hold_new_files(archive.store, day.catalog, day.date, kept.parts(COLUMNS))
    day.recorder.record_files(day.date, kept.parts(FILE_COLUMNS))
    count = journal.close(kept.parts)
    return StepReport(schemas.RECORDING_FILES, day.date, count, {**by_status, **counts}, all_failures)


def _fetch_accounts(
    day: CatalogDay,
    accounts: Sequence[AccountSettings],
    metadata: pa.Table,
    journal: TransferJournal,
    archive: RecordingArchive,
    landings: Landings,
    progress: Progress,
    early: Mapping[str, EarlyFiles],
) -> tuple[Counter[str], dict[str, ArchiveError]]:
    """Settle the accounts' recordings. Return counts of recordings and bytes, and why accounts failed, by subaccount_id."""
    known = journal.known(("subaccount_id", *COMPARED))
    counts: Counter[str] = Counter()
    active = {account.subaccount_id for account in accounts}
    for files in (files for subaccount_id, files in early.items() if subaccount_id not in active):
        counts += Counter(fetched=len(files.recording_ids), fetched_bytes=files.counts.fetched_bytes)
    errors: dict[str, ArchiveError] = {}
    for account in accounts:
        named = _of(account, metadata)
        if not named.num_rows:
            continue
        account_day = open_account_day(day, account, archive, landings)
        try:
            files = early.get(account.subaccount_id, EarlyFiles())
            _fetch(day, account_day, named, _of(account, known), journal, progress, files)
        except FOR_ALL_ACCOUNTS:
            raise
        except ArchiveError as err:
            errors[account.subaccount_id] = err
        finally:
            journal.flush()
            account_day.refusals.log()
        counts.update(_counted(account_day))
    return counts, errors


def open_account_day(
    day: CatalogDay, account: AccountSettings, archive: RecordingArchive, landings: Landings
) -> AccountDay:
    """Return the account's day, which contacts nothing yet."""
    return AccountDay(
        subaccount_id=account.subaccount_id,
        date=day.date,
        landing=landings.of(account),
        root=landing_root(account),
        date_folders=landings.date_folders(account),
        archive=archive,
        transfer=day.settings.transfer,
        clock=day.clock,
        give_up_after=timedelta(days=day.settings.reopen.max_age_days),
        listing=partial(landings.contents, account, day.date) if day.lists_landings else None,
    )


def _fetch(
    day: CatalogDay,
    account_day: AccountDay,
    named: pa.Table,
    known: pa.Table,
    journal: TransferJournal,
    progress: Progress,
    early: EarlyFiles,
) -> None:
    """Settle one account's recordings; the journal gets what is new of them. Raises as `fetch_recordings`."""
    known = rows_where(known, _are_named(known, named))
    is_early = pc.is_in(known["recording_id"], value_set=pa.array(early.recording_ids, pa.string()))
    comparison = compare(account_day, rows_where(known, pc.invert(is_early)))
    if early.recording_ids:
        downloaded = rows_where(known, is_early)
        counts = account_day.counts
        counts.fetched_count = downloaded.num_rows
        counts.fetched_bytes = pc.sum(downloaded["source_size_bytes"]).as_py() or 0
        counts.size_only_count, counts.reread_count = early.counts.size_only_count, early.counts.reread_count
        ids: list[Any] = downloaded["recording_id"].to_pylist()
        comparison = replace(comparison, unchanged_ids=comparison.unchanged_ids.union(ids))
    progress.begin(f"{account_day.subaccount_id} {day.date} recordings", named.num_rows)
    progress.advance(len(comparison.unchanged_ids))
    if len(comparison.unchanged_ids) == named.num_rows:
        return
    if len(known):
        known = journal.known()  # all columns; an unchanged day needs few
    wanted = _wanted(day, named, known, comparison)
    with Fetcher(account_day).fetch(wanted, comparison, record=journal.add) as settled:
        for _ in settled:
            progress.advance()


def _wanted(day: CatalogDay, named: pa.Table, known: pa.Table, comparison: Comparison) -> Iterator[Wanted]:
    """Yield the recordings with something to do, and what is known of them; few at a time are in memory."""
    unchanged = pa.array(comparison.unchanged_ids, pa.string())
    named = rows_where(named, pc.invert(pc.is_in(named["recording_id"], value_set=unchanged)))
    sessions = day.required_rows(schemas.SESSION_IDS, columns=[*_SESSION, "started_at"])
    numbers = matching_rows(keys_of(named, _SESSION), among=keys_of(sessions, _SESSION))
    named = named.append_column("started_at", sessions["started_at"].take(numbers))
    known_numbers = matching_rows(keys_of(named, _RECORDING), among=keys_of(known, _RECORDING))
    named = named.append_column("known_number", known_numbers)
    events = day.rows(schemas.RECORDING_EVENTS, columns=[*_RECORDING, *_OF_EVENTS])
    for name, column in event_columns(named, events, _OF_EVENTS).items():
        named = named.append_column(name, column)
    _, day_end = day.bounds
    for row in rows_in(named):
        recording, number = recording_from(row), row["known_number"]
        uploaded = row["event_status"] is not None and ApiStatus(row["event_status"]).uploaded
        call_at = call_time(recording, row["started_at"], day=day.date, day_end=day_end, now=day.clock())
        file = None if number is None else file_from(known.slice(number, 1).to_pylist()[0])
        yield Wanted(row["session_id"], recording, file, call_at, file_path=row["file_path"], uploaded=uploaded)


def _counted(day: AccountDay) -> dict[str, int]:
    """Return the counts for the report, and log what is odd about them."""
    counts, of_day = day.counts, f"{day.subaccount_id}, {day.date}"
    if counts.size_only_count:
        log.warning(
            "%s: the store keeps no hash of %d recordings that were read, so only their size confirms the bytes"
            " (source_evidence is size)",
            *(of_day, counts.size_only_count),
        )
    if counts.reread_count:
        log.warning(
            "%s: the server does not report the size of %d recordings that were read, so nothing but two equal readings"
            " vouches for their length (source_evidence is reread)",
            of_day,
            counts.reread_count,
        )
    if counts.fetched_again_count > counts.unchanged_count:
        log.warning(
            "%s: %d recordings were downloaded again and have the same bytes as in the archive: %s reports other ETags or"
            " modification times than before. If this repeats, compare two listings of it (docs/stores.md)",
            *(of_day, counts.fetched_again_count, day.landing.uri),
        )
    elsewhere = {"found_elsewhere": counts.elsewhere_count} if counts.elsewhere_count else {}
    fetched = {"fetched": counts.fetched_count, "fetched_bytes": counts.fetched_bytes}
    return {**fetched, "unchanged": counts.unchanged_count, "not_compared": counts.uncompared_count, **elsewhere}


def _of(account: AccountSettings, rows: pa.Table) -> pa.Table:
    return rows_where(rows, pc.equal(rows["subaccount_id"], account.subaccount_id))


def _are_named(files: pa.Table, metadata: pa.Table) -> Column:
    """Return for each file whether 8x8 names its recording for the day."""
    return pc.is_in(keys_of(files, _RECORDING), value_set=keys_of(metadata, _RECORDING))
