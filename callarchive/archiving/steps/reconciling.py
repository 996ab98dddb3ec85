"""The last step of a day: what does not fit between calls, recordings, events, the landings and the archive."""

import logging
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from callarchive.archiving.connections import Connections
from callarchive.archiving.steps.account_failures import rows_of_failed, without_failed
from callarchive.archiving.steps.lost_files import rows_without_file
from callarchive.archiving.steps.open_findings import OpenFindings
from callarchive.archiving.steps.reports import StepReport, is_settled, partition_of
from callarchive.archiving.steps.unknowns import keep_unknowns
from callarchive.archiving.transfer_journal import TransferJournal
from callarchive.archiving.transforms import orphans, reconciliation
from callarchive.archiving.transforms.lookup_tables import confirmed_negatives
from callarchive.archiving.transforms.neighbouring_days import NeighbouringDays
from callarchive.archiving.transforms.reconciliation import OPEN
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, count_values, keys_of, pc
from callarchive.catalog.rows import Row
from callarchive.catalog.schemas import RECONCILIATION
from callarchive.domain.days import SETTLED_AFTER, day_bounds
from callarchive.domain.errors import AccountFailure, ArchiveError
from callarchive.domain.evidence import Unknown
from callarchive.domain.foreign_text import cleaned
from callarchive.domain.models import Discrepancy
from callarchive.runtime.memory import give_memory_back
from callarchive.settings import AccountSettings
from callarchive.storage.landing.contents import LandingContents, time_in_path

if TYPE_CHECKING:
    from callarchive.events.inbox.inbox import Inbox

log = logging.getLogger(__name__)

_LANDING, _EVENTS = "landing_objects_known", "events_known"
"""The questions, by the names of the checks that ask them."""

_OF_THE_DAY_BEFORE = timedelta(hours=4)
"""So far into a day there may be recordings of calls that began the day before."""


def write_reconciliation(connections: Connections, day: date, *, failures: Sequence[AccountFailure] = ()) -> StepReport:
    """`reconciliation` has a row for everything of the day that does not fit, and keeps those that fit by now.

    A landing or an inbox that cannot be asked is a warning: what was open of it stays open.

    Raises:
        AccessDeniedError, UnavailableError, StoreError: the archive cannot be listed, or the catalog takes no write.
    """
    columns = (*reconciliation.SESSION_COLUMNS, "sources")
    sessions = partition_of(connections, schemas.SESSIONS, day, columns=columns)
    recordings = partition_of(connections, schemas.RECORDINGS, day, columns=reconciliation.RECORDING_COLUMNS)
    partition_of(connections, schemas.RECORDING_FILES, day, columns=("subaccount_id",))
    earlier = connections.catalog.partition(RECONCILIATION, day)
    settings, now = connections.settings, connections.clock()
    _, day_end = day_bounds(day, settings.zone)
    grace = timedelta(hours=settings.transfer.missing_after_hours)
    silent, may_be_named = reconciliation.calls_without_recording(sessions, recordings, day_end=day_end, grace=grace)
    not_found, may_be_known = reconciliation.sessions_not_found(sessions, _confirmed(connections, day, sessions))
    lacking, young = reconciliation.recordings_without_file(recordings, sessions, day_end=day_end, grace=grace, now=now)
    differing = reconciliation.disagreeing_durations(
        recordings, sessions, tolerance_s=settings.transfer.duration_tolerance_s
    )
    search = _Search(connections, day, earlier)
    search.unknown += search.open.not_named_now(sessions, recordings)
    row_count = len(sessions) + len(recordings)
    del sessions, recordings  # a long day's need not stand beside what is searched
    give_memory_back(row_count)
    rows = search.archive()
    if is_settled(connections, day):
        rows += search.landings() + search.events()
    else:
        search.cannot_tell(Discrepancy.ORPHAN_OBJECT)
        search.cannot_tell(Discrepancy.EVENT_WITHOUT_SESSION)
        for question in (_LANDING, _EVENTS):
            search.not_known(question, "the day was not over when it was archived")
    keep_unknowns(connections.catalog, day, search.unknowns)
    table = reconciliation.reconciled(
        without_failed(earlier, failures),
        [
            without_failed(found, failures)
            for found in (silent, not_found, lacking, differing, orphans.found_table(rows))
        ],
        now=now,
        unknown_kinds=search.unknown_kinds,
        unknown=[*may_be_named, *may_be_known, *young, *search.unknown],
    )
    if failures:
        table = pa.concat_tables([table, rows_of_failed(connections.catalog, RECONCILIATION, day, failures)])
    count = connections.catalog.replace_partition(RECONCILIATION, day, table)
    is_open = pc.equal(table["state"], OPEN)
    still_open = table.filter(is_open)
    return StepReport(
        RECONCILIATION,
        day,
        count,
        {**count_values(still_open["kind"]), "resolved": count - len(still_open)},
        tuple(failures),
    )


def _confirmed(connections: Connections, day: date, sessions: pa.Table) -> Column:
    """For each session whether it is final that 8x8 names no recording of it."""
    lookups = connections.catalog.partition(schemas.LOOKUPS, day)
    of_lookups = keys_of(lookups, reconciliation.SESSION).filter(confirmed_negatives(lookups))
    return pc.is_in(keys_of(sessions, reconciliation.SESSION), value_set=of_lookups)


class _Search:
    """Looks through the archive, the landings and the inbox for what belongs to nothing that is known of the day.

    Attributes:
        open: what earlier runs found.
        unknown_kinds, unknown: of what it could not tell; see `reconciliation.reconciled`.
        unknowns: what it could not find out: (subaccount_id, question, reason), see `steps.unknowns`.
    """

    def __init__(self, connections: Connections, day: date, earlier: pa.Table) -> None:
        self._connections = connections
        self._catalog = connections.catalog
        self._accounts = connections.settings.accounts
        self._day = day
        self._earlier = earlier
        self.open = OpenFindings(connections, day, earlier)
        self.unknown_kinds: set[tuple[str, str]] = set()
        self.unknown: list[str] = []
        self.unknowns: list[tuple[str, str, str]] = []

    def archive(self) -> list[Row]:
        """Files without a row and rows without a file."""
        archive = self._connections.archive
        root = archive.store.uri("_")[:-1]
        stored = orphans.stored_table(
            item
            for account in archive.account_folders()
            for item in archive.store.list(f"{account}/call_date={self._day}")
        )
        files = TransferJournal(self._catalog, self._day).known(orphans.FILE_COLUMNS)
        kept, reasons = self.open.without_proof_in_archive(stored, files)
        self.unknown += kept
        self.unknowns += [(account, "archive_files_known", reason) for account, reason in reasons]
        lost, doubts = rows_without_file(archive.store, orphans.suspect_files(stored, files))
        self.unknowns += [(account, "archive_files_there", cleaned(reason)) for account, reason in doubts]
        return [*orphans.files_without_row(stored, files, archive_root=root), *lost]

    def landings(self) -> list[Row]:
        """Objects that no recording names. Where landings overlap, each is told for the account that comes first."""
        self.cannot_tell(Discrepancy.ORPHAN_OBJECT, but=[account.subaccount_id for account in self._accounts])
        told: set[str] = set()
        rows: list[Row] = []
        for account in self._accounts:
            landing, contents = self._connections.landing(account), self._contents(account)
            found: list[tuple[str, str]] = []
            doubts: list[str] = []
            if isinstance(contents, Unknown):
                doubts.append(contents.reason)
            else:
                objects = [(path, landing.uri_of(path)) for path in self._nameless(account, contents.paths(self._day))]
                found = [item for item in objects if item[1] not in told]
                told.update(uri for _, uri in objects)
                doubts += map(str, contents.gaps_of(self._day))
                if doubt := self.open.doubt_about(account, landing, contents):
                    doubts.append(doubt)
                if doubts:
                    log.warning("%s: not all of the landing was looked through: %s", account.subaccount_id, doubts[0])
            new = orphans.orphan_rows(account.subaccount_id, found, landing_uri=landing.uri)
            rows += new
            shown = {row["subject"] for row in new}
            left = [
                row
                for row in self.open.of(Discrepancy.ORPHAN_OBJECT, account.subaccount_id)
                if row["subject"] not in shown and row["place"] not in told
            ]
            nameless = set(self._nameless(account, [row["subject"] for row in left])) if left else set()
            kept, reasons = self.open.orphans_without_proof(
                landing,
                [row for row in left if row["subject"] in nameless],
                doubt=doubts[0] if doubts else None,
            )
            self.unknown += kept
            for reason in dict.fromkeys([*doubts, *reasons]):
                self.unknowns.append((account.subaccount_id, _LANDING, cleaned(reason, limit=1024)))
        return rows

    def events(self) -> list[Row]:
        """Events whose session, or whose recording, nobody else names."""
        kind = Discrepancy.EVENT_WITHOUT_SESSION
        self.cannot_tell(kind, but=[account.subaccount_id for account in self._accounts])
        rows: list[Row] = []
        try:
            inbox = self._connections.inbox()
            for account in self._accounts:
                rows += self._events(inbox, account)
        except ArchiveError as err:
            log.warning("events were not compared with sessions: %s", err)
            self.cannot_tell(kind)
            self.not_known(_EVENTS, str(err))
            return []
        if inbox is None:
            for account in self._accounts:
                if account.webhooks is not None or any(source.kind == "inbox" for source in account.session_sources):
                    self.unknowns.append((account.subaccount_id, _EVENTS, "there is no inbox at inbox.url yet"))
        return rows

    def not_known(self, question: str, reason: str) -> None:
        """The question is open for every account."""
        self.unknowns += [(account.subaccount_id, question, cleaned(reason, limit=1024)) for account in self._accounts]

    def cannot_tell(self, kind: Discrepancy, *, but: Collection[str] = ()) -> None:
        """Rows of that kind stay as they were, save those of the accounts `but`."""
        accounts: list[Any] = self._earlier["subaccount_id"].unique().to_pylist()
        self.unknown_kinds |= {(account, kind.value) for account in accounts if account not in but}

    def _contents(self, account: AccountSettings) -> LandingContents | Unknown:
        if not self._connections.settings.reconciliation.list_landing:
            return Unknown("reconciliation.list_landing is off")
        try:
            return self._connections.landing_contents(account, self._day)
        except ArchiveError as err:
            log.warning("%s: the landing was not looked through for orphans: %s", account.subaccount_id, err)
            return Unknown(str(err))

    def _nameless(self, account: AccountSettings, paths: list[str]) -> list[str]:
        """Those of the landing's paths that no known recording is named by."""
        # An account that was taken out of the configuration may have shared any landing, so its rows count.
        others = self._others(orphans.accounts_sharing(account, self._accounts))
        left = NeighbouringDays(self._catalog, self._day, ignored_accounts=others).unknown_objects(paths)
        if not left or self._catalog.has(schemas.RECORDINGS, self._day - timedelta(days=1)):
            return left
        day_begin, _ = day_bounds(self._day, self._connections.settings.zone)
        early = {path for path in left if _begins_before(path, day_begin + _OF_THE_DAY_BEFORE)}
        self.unknown += orphans.orphan_keys(account.subaccount_id, early)
        return [path for path in left if path not in early]

    def _events(self, inbox: "Inbox | None", account: AccountSettings) -> list[Row]:
        """Of one account. What was open is looked at again: its events may have been pruned since."""
        kind, account_id = Discrepancy.EVENT_WITHOUT_SESSION, account.subaccount_id
        open_rows = self._earlier.filter(
            pc.and_(
                pc.and_(pc.equal(self._earlier["kind"], kind.value), pc.equal(self._earlier["state"], OPEN)),
                pc.equal(self._earlier["subaccount_id"], account_id),
            )
        ).select(["session_id", "recording_id"])
        told: set[tuple[Any, Any]] = {(row["session_id"], row["recording_id"]) for row in open_rows.to_pylist()}
        if inbox is not None:
            begin, end = day_bounds(self._day, self._connections.settings.zone)
            session_ids = [session.session_id for session in inbox.sessions(account_id, begin, end)]
            told |= {(session_id, None) for session_id in session_ids}
            recordings = inbox.recordings(account_id, session_ids)
            latest = self._connections.clock() - SETTLED_AFTER
            told |= {(r.session_id, r.recording_id) for r in recordings if r.first_received_at <= latest}
        around = NeighbouringDays(self._catalog, self._day, ignored_accounts=self._others([account_id]))
        no_session = around.unknown_sessions({session_id for session_id, _ in told})
        # One row for a session that nobody names, and none for each recording of it.
        recording_ids = {id_ for session_id, id_ in told if id_ is not None and session_id not in no_session}
        no_row = around.unknown_recordings(recording_ids)
        rows = [
            orphans.event_row(account_id, session_id=session_id, recording_id=recording_id)
            for session_id, recording_id in sorted(told, key=str)
            if (session_id in no_session if recording_id is None else recording_id in no_row)
        ]
        return list({row["subject"]: row for row in rows}.values())  # events may tell one id as anything

    def _others(self, accounts: Collection[str]) -> set[str]:
        return {account.subaccount_id for account in self._accounts} - set(accounts)


def _begins_before(path: str, at: datetime) -> bool:
    named = time_in_path(path, now=at)
    return named is not None and named < at
