"""The third step of a day: the recordings that 8x8 named are in the archive, or it is known why not."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from callarchive.archiving.connections import Connections, landing_root
from callarchive.archiving.fetcher.comparison import COMPARED, Comparison
from callarchive.archiving.fetcher.fetcher import Fetcher
from callarchive.archiving.fetcher.wanted import Wanted, call_time
from callarchive.archiving.steps.account_failures import (
    FOR_ALL_ACCOUNTS,
    active_accounts,
    keep_failures,
)
from callarchive.archiving.steps.reports import StepReport, lists_landings, partition_of
from callarchive.archiving.transfer_journal import TransferJournal
from callarchive.archiving.transforms.recording_events import event_columns
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, count_values, keys_of, matching_rows, pc, rows_in, rows_where
from callarchive.catalog.rows import file_from, recording_from
from callarchive.domain.days import day_bounds
from callarchive.domain.errors import AccountFailure, ArchiveError
from callarchive.domain.evidence import Unknown
from callarchive.domain.models import ApiStatus
from callarchive.runtime.memory import give_memory_back
from callarchive.runtime.worker_pool import NoProgress, Progress
from callarchive.settings import AccountSettings

if TYPE_CHECKING:
    from callarchive.storage.landing.contents import LandingContents

log = logging.getLogger(__name__)

_RECORDING = ("subaccount_id", "recording_id")
_SESSION = ("subaccount_id", "session_id")
_OF_EVENTS = ("event_status", "file_path")


def fetch_recordings(
    connections: Connections,
    day: date,
    *,
    failures: Sequence[AccountFailure] = (),
    progress: Progress | None = None,
) -> StepReport:
    """`recording_files` says for every recording of the day what the archive holds of it, or why it holds nothing.

    An account whose landing is out of reach does not keep the others' recordings from being archived; see
    `account_failures`.

    Raises:
        AccessDeniedError, HostKeyError, UnavailableError: no account could be archived.
        StoreError: the archive takes no more. What was archived until then is in the journal and is not fetched again.
    """
    metadata = partition_of(connections, schemas.RECORDING_METADATA, day)
    journal = TransferJournal(connections.catalog, day)
    for account in connections.settings.accounts:
        connections.archive.sweep(account.subaccount_id, day)
    counts, errors = _fetch_named(
        connections,
        day,
        metadata,
        journal,
        progress or NoProgress(),
        accounts=active_accounts(connections, failures),
    )
    all_failures = keep_failures(connections, day, schemas.RECORDING_FILES, errors, earlier=failures)
    metadata = metadata.select(list(_RECORDING))  # the rest of it need not stand beside the files
    give_memory_back(len(metadata))
    files = journal.known()
    is_named = _are_named(files, metadata)
    by_status = count_values(files["archive_status"].filter(is_named))
    # Records of files that nobody names any more stay: the bytes are still in the archive.
    count = journal.close(rows_where(files, pc.or_(is_named, pc.is_valid(files["archive_path"]))))
    return StepReport(schemas.RECORDING_FILES, day, count, {**by_status, **counts}, all_failures)


def _fetch_named(
    connections: Connections,
    day: date,
    metadata: pa.Table,
    journal: TransferJournal,
    progress: Progress,
    *,
    accounts: Sequence[AccountSettings],
) -> tuple[Counter[str], dict[str, ArchiveError]]:
    """Settle the recordings of these accounts that rows of `recording_metadata` name; what is new of them is in the journal.

    Returns:
        What it cost, in recordings and bytes, and why accounts failed, by subaccount_id.

    Raises:
        ArchiveDeniedError, ArchiveUnavailableError, StoreError: no account's recordings can be kept.
    """
    known = journal.known(("subaccount_id", *COMPARED))
    counts: Counter[str] = Counter()
    errors: dict[str, ArchiveError] = {}
    for account in accounts:
        named = _of(account, metadata)
        if not named.num_rows:
            continue
        fetcher = Fetcher(
            subaccount_id=account.subaccount_id,
            day=day,
            landing=connections.landing(account),
            folders=connections.date_folders(account),
            root=landing_root(account),
            archive=connections.archive,
            transfer=connections.settings.transfer,
            clock=connections.clock,
            give_up_after=timedelta(days=connections.settings.reopen.max_age_days),
            listing=partial(_listing, connections, account, day) if lists_landings(connections, day) else None,
        )
        try:
            _fetch(connections, account, day, named, _of(account, known), fetcher, journal, progress)
        except FOR_ALL_ACCOUNTS:
            raise
        except ArchiveError as err:
            errors[account.subaccount_id] = err
        finally:
            journal.flush()
            fetcher.refusals.log()
            if fetcher.counts.size_only_count:
                log.warning(
                    "%s, %s: the store keeps no hash of %d recordings that were read, so only their size confirms the bytes"
                    " (source_evidence is size)",
                    account.subaccount_id,
                    day,
                    fetcher.counts.size_only_count,
                )
        counts.update(
            fetched=fetcher.counts.fetched_count,
            fetched_bytes=fetcher.counts.fetched_bytes,
            unchanged=fetcher.counts.unchanged_count,
            not_compared=fetcher.counts.uncompared_count,
        )
        if fetcher.counts.elsewhere_count:
            counts["found_elsewhere"] += fetcher.counts.elsewhere_count
    return counts, errors


def _fetch(
    connections: Connections,
    account: AccountSettings,
    day: date,
    named: pa.Table,
    known: pa.Table,
    fetcher: Fetcher,
    journal: TransferJournal,
    progress: Progress,
) -> None:
    """One account's recordings are settled, and the journal has what is new of them. Raises as `fetch_recordings`."""
    known = rows_where(known, _are_named(known, named))
    comparison = fetcher.compare(known)
    progress.begin(f"{account.subaccount_id} {day} recordings", named.num_rows)
    progress.advance(len(comparison.as_they_are))
    if len(comparison.as_they_are) == named.num_rows:
        return
    if len(known):
        known = journal.known()  # all columns, of which a day that is as it was needs few
    wanted = _wanted(connections, day, named, known, comparison)
    with fetcher.fetch(wanted, comparison, record=journal.add) as settled:
        for _ in settled:
            progress.advance()


def _wanted(
    connections: Connections, day: date, named: pa.Table, known: pa.Table, comparison: Comparison
) -> Iterator[Wanted]:
    """The recordings for which there is something to do, with what is known of them. A few at a time: a day may be long."""
    as_they_are = pa.array(comparison.as_they_are, pa.string())
    named = rows_where(named, pc.invert(pc.is_in(named["recording_id"], value_set=as_they_are)))
    sessions = partition_of(connections, schemas.SESSION_IDS, day, columns=[*_SESSION, "started_at"])
    numbers = matching_rows(keys_of(named, _SESSION), among=keys_of(sessions, _SESSION))
    named = named.append_column("started_at", sessions["started_at"].take(numbers))
    named = named.append_column(
        "known_number", matching_rows(keys_of(named, _RECORDING), among=keys_of(known, _RECORDING))
    )
    events = connections.catalog.partition(schemas.RECORDING_EVENTS, day, columns=[*_RECORDING, *_OF_EVENTS])
    for name, column in event_columns(named, events, _OF_EVENTS).items():
        named = named.append_column(name, column)
    _, day_end = day_bounds(day, connections.settings.zone)
    for row in rows_in(named):
        recording, number = recording_from(row), row["known_number"]
        uploaded = row["event_status"] is not None and ApiStatus(row["event_status"]).uploaded
        call_at = call_time(
            recording=recording,
            session_started_at=row["started_at"],
            day=day,
            day_end=day_end,
            now=connections.clock(),
        )
        file = None if number is None else file_from(known.slice(number, 1).to_pylist()[0])
        yield Wanted(row["session_id"], recording, file, call_at, file_path=row["file_path"], uploaded=uploaded)


def _listing(connections: Connections, account: AccountSettings, day: date) -> "LandingContents | Unknown":
    """What lies in the account's landing, from the listing that the day's reconciliation uses as well."""
    try:
        return connections.landing_contents(account, day)
    except ArchiveError as err:
        log.warning("%s: recordings were not looked for in the landing's listing: %s", account.subaccount_id, err)
        return Unknown(str(err))


def _of(account: AccountSettings, rows: pa.Table) -> pa.Table:
    return rows_where(rows, pc.equal(rows["subaccount_id"], account.subaccount_id))


def _are_named(files: pa.Table, metadata: pa.Table) -> Column:
    """Of each file, whether 8x8 names its recording for the day."""
    return pc.is_in(keys_of(files, _RECORDING), value_set=keys_of(metadata, _RECORDING))
