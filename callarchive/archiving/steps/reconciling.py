"""The last step of a day: discrepancies between calls, recordings, events, the landings and the archive."""

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from callarchive.archiving.catalog_day import CatalogDay
from callarchive.archiving.landings import Landings
from callarchive.archiving.recording_archive import RecordingArchive
from callarchive.archiving.steps.account_failures import with_rows_of_failed, without_failed
from callarchive.archiving.steps.lost_files import rows_without_file
from callarchive.archiving.steps.open_findings import OpenFindings
from callarchive.archiving.steps.reports import StepReport
from callarchive.archiving.transfer_journal import TransferJournal
from callarchive.archiving.transforms import orphans, reconciliation
from callarchive.archiving.transforms.erased_rows import not_mentioning
from callarchive.archiving.transforms.lookup_tables import confirmed_negatives
from callarchive.archiving.transforms.neighbouring_days import NeighbouringDays
from callarchive.archiving.transforms.reconciliation import OPEN
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, count_values, keys_of, pc, rows_where
from callarchive.catalog.rows import Row
from callarchive.catalog.schemas import RECONCILIATION, UNKNOWNS
from callarchive.domain.days import SETTLED_AFTER
from callarchive.domain.errors import AccountFailure, ArchiveError
from callarchive.domain.evidence import Unknown
from callarchive.domain.foreign_text import cleaned
from callarchive.domain.models import Discrepancy
from callarchive.runtime.memory import release_unused
from callarchive.settings import AccountSettings
from callarchive.storage.landing.contents import LandingContents, time_in_path

if TYPE_CHECKING:
    from callarchive.events.inbox.inbox import Inbox

log = logging.getLogger(__name__)

_LANDING, _EVENTS = "landing_objects_known", "events_known"
"""The questions, by the names of the checks that ask them."""

_OF_THE_DAY_BEFORE = timedelta(hours=4)
"""How far into a day there may be recordings of calls that began the day before."""


def write_reconciliation(
    day: CatalogDay,
    *,
    archive: RecordingArchive,
    landings: Landings,
    open_inbox: Callable[[], "Inbox | None"],
    failures: Sequence[AccountFailure],
) -> StepReport:
    """Write `reconciliation`: a row for every discrepancy of the day, open or resolved.

    A landing or an inbox that cannot be read is a warning: its open rows stay open. Raises ArchiveError for the archive.
    """
    columns = (*reconciliation.SESSION_COLUMNS, "sources")
    sessions = day.required_rows(schemas.SESSIONS, columns=columns)
    recordings = day.required_rows(schemas.RECORDINGS, columns=reconciliation.RECORDING_COLUMNS)
    day.required_rows(schemas.RECORDING_FILES, columns=("subaccount_id",))
    now, (_, day_end), grace = day.clock(), day.bounds, day.grace
    silent, may_be_named = reconciliation.calls_without_recording(sessions, recordings, day_end=day_end, grace=grace)
    not_found, may_be_known = reconciliation.sessions_not_found(sessions, _confirmed(day, sessions))
    lacking, young = reconciliation.recordings_without_file(recordings, sessions, day_end=day_end, grace=grace, now=now)
    differing = reconciliation.disagreeing_durations(
        recordings, sessions, tolerance_s=day.settings.transfer.duration_tolerance_s
    )
    search = _Search(day, archive, landings, open_inbox)
    search.unknown += search.open.not_named_now(sessions, recordings)
    del sessions, recordings  # frees a long day's rows before the search
    release_unused()
    rows = search.archive()
    if day.is_settled:
        rows += search.landings() + search.events()
    else:
        search.leave_open(Discrepancy.ORPHAN_OBJECT, _LANDING, "the day was not over when it was archived")
        search.leave_open(Discrepancy.EVENT_WITHOUT_SESSION, _EVENTS, "the day was not over when it was archived")
    unknowns = [dict(zip(UNKNOWNS.key, unknown, strict=True)) for unknown in sorted(set(search.unknowns))]
    if day.catalog.rows(UNKNOWNS, day.date) != unknowns:
        day.replace(UNKNOWNS, unknowns)
    found = (silent, not_found, lacking, differing, orphans.found_table(rows))
    table = reconciliation.reconciled(
        without_failed(search.earlier, failures),
        [without_failed(rows, failures) for rows in found],
        now=now,
        unknown_kinds=search.unknown_kinds,
        unknown=[*may_be_named, *may_be_known, *young, *search.unknown],
    )
    table = with_rows_of_failed(table, search.earlier, failures)
    count = day.replace(RECONCILIATION, table)
    still_open = table.filter(pc.equal(table["state"], OPEN))
    counts = {**count_values(still_open["kind"]), "resolved": count - len(still_open)}
    return StepReport(RECONCILIATION, day.date, count, counts, tuple(failures))


def _confirmed(day: CatalogDay, sessions: pa.Table) -> Column:
    """Return for each session whether it is final that 8x8 names no recording of it."""
    lookups = day.rows(schemas.LOOKUPS)
    of_lookups = keys_of(lookups, reconciliation.SESSION).filter(confirmed_negatives(lookups))
    return pc.is_in(keys_of(sessions, reconciliation.SESSION), value_set=of_lookups)


class _Search:
    """The search of the archive, the landings and the inbox for what belongs to nothing that is known of the day.

    `unknown_kinds` and `unknown` are those of `reconciled`; `unknowns` is what remains open: (account, check, reason).
    """

    def __init__(
        self, day: CatalogDay, archive: RecordingArchive, landings: Landings, open_inbox: Callable[[], "Inbox | None"]
    ) -> None:
        self._day = day
        self._archive = archive
        self._landings = landings
        self._open_inbox = open_inbox
        self._accounts = day.settings.accounts
        self.earlier = not_mentioning(day.rows(RECONCILIATION), day.erased)
        self.open = OpenFindings(day, archive.store, self.earlier)
        self.unknown_kinds: set[tuple[str, str]] = set()
        self.unknown: list[str] = []
        self.unknowns: list[tuple[str, str, str]] = []

    def archive(self) -> list[Row]:
        """Return files without a row and rows without a file."""
        archive = self._archive
        stored = orphans.stored_table(
            item
            for account in archive.account_folders()
            for item in archive.store.list(f"{account}/call_date={self._day.date}")
        )
        files = TransferJournal(self._day.catalog, self._day.date).latest()
        kept, reasons = self.open.without_proof_in_archive(stored, files)
        self.unknown += kept
        self.unknowns += [(account, "archive_files_known", reason) for account, reason in reasons]
        unnamed, suspects = stored, list[orphans.SuspectFile]()
        for part in files.parts(orphans.FILE_COLUMNS):
            unnamed = rows_where(unnamed, pc.invert(orphans.are_named(unnamed, part)))
            suspects += orphans.suspect_files(rows_where(stored, orphans.are_named(stored, part)), part)
        lost, doubts = rows_without_file(archive, suspects)
        self.unknowns += [(account, "archive_files_there", cleaned(reason)) for account, reason in doubts]
        return [*orphans.files_without_row(unnamed, archive_root=archive.root_uri), *lost]

    def landings(self) -> list[Row]:
        """Return objects that no recording names. Where landings overlap, each belongs to the account that comes first."""
        self.cannot_tell(Discrepancy.ORPHAN_OBJECT, but=[account.subaccount_id for account in self._accounts])
        found_uris: set[str] = set()
        rows: list[Row] = []
        for account in self._accounts:
            landing, contents = self._landings.of(account), self._contents(account)
            found: dict[str, str] = {}
            if isinstance(contents, Unknown):
                doubts = [contents.reason]
            else:
                paths = self._nameless(account, contents.paths(self._day.date))
                found = {path: uri for path in paths if (uri := landing.uri_of(path)) not in found_uris}
                found_uris.update(found.values())
                doubts = [str(gap) for gap in contents.gaps_of(self._day.date)]
                if doubt := self.open.doubt_about(account, landing, contents):
                    doubts.append(doubt)
                if doubts:
                    log.warning("%s: the landing was searched only in part: %s", account.subaccount_id, doubts[0])
            new = orphans.orphan_rows(account.subaccount_id, found.items(), landing_uri=landing.uri)
            rows += new
            shown = {row["subject"] for row in new}
            left = [
                row
                for row in self.open.of(Discrepancy.ORPHAN_OBJECT, account.subaccount_id)
                if row["subject"] not in shown and row["place"] not in found_uris
            ]
            nameless = set(self._nameless(account, [row["subject"] for row in left])) if left else set()
            left = [row for row in left if row["subject"] in nameless]
            kept, reasons = self.open.orphans_without_proof(landing, left, doubt=doubts[0] if doubts else None)
            self.unknown += kept
            for reason in (*doubts, *reasons):
                self.unknowns.append((account.subaccount_id, _LANDING, cleaned(reason, limit=1024)))
        return rows

    def events(self) -> list[Row]:
        """Return events whose session or recording no table names."""
        kind = Discrepancy.EVENT_WITHOUT_SESSION
        self.cannot_tell(kind, but=[account.subaccount_id for account in self._accounts])
        rows: list[Row] = []
        try:
            inbox = self._open_inbox()
            for account in self._accounts:
                rows += self._events(inbox, account)
        except ArchiveError as err:
            log.warning("events were not compared with sessions: %s", err)
            self.leave_open(kind, _EVENTS, str(err))
            return []
        if inbox is None:
            for account in self._accounts:
                if account.expects_events:
                    self.unknowns.append((account.subaccount_id, _EVENTS, "there is no inbox at inbox.url yet"))
        return rows

    def leave_open(self, kind: Discrepancy, question: str, reason: str) -> None:
        """Leave rows of that kind unchanged, and the question unanswered for every account."""
        self.cannot_tell(kind)
        self.unknowns += [(account.subaccount_id, question, cleaned(reason, limit=1024)) for account in self._accounts]

    def cannot_tell(self, kind: Discrepancy, *, but: Collection[str] = ()) -> None:
        """Leave rows of that kind unchanged, except those of the accounts `but`."""
        accounts: list[Any] = self.earlier["subaccount_id"].unique().to_pylist()
        self.unknown_kinds |= {(account, kind.value) for account in accounts if account not in but}

    def _contents(self, account: AccountSettings) -> LandingContents | Unknown:
        if not self._day.settings.reconciliation.list_landing:
            return Unknown("reconciliation.list_landing is off")
        return self._landings.contents(account, self._day.date)

    def _nameless(self, account: AccountSettings, paths: list[str]) -> list[str]:
        """Return those of the landing's paths that belong to no known recording."""
        # An account that was removed from the configuration may have shared any landing, so its rows count.
        others = self._others(orphans.accounts_sharing(account, self._accounts))
        left = NeighbouringDays(self._day.catalog, self._day.date, ignored_accounts=others).unknown_objects(paths)
        if left and (erased := self._day.register.read_around(self._day.date)):
            owners = orphans.accounts_sharing(account, self._accounts)
            left = [path for path in left if not any(erased.ids_in(owner, path).all for owner in owners)]
        if not left or self._day.catalog.has(schemas.RECORDINGS, self._day.date - timedelta(days=1)):
            return left
        day_begin, _ = self._day.bounds
        early = {path for path in left if _begins_before(path, day_begin + _OF_THE_DAY_BEFORE)}
        self.unknown += orphans.orphan_keys(account.subaccount_id, early)
        return [path for path in left if path not in early]

    def _events(self, inbox: "Inbox | None", account: AccountSettings) -> list[Row]:
        """Return those of one account. Open ones are checked again: their events may have been pruned since."""
        account_id = account.subaccount_id
        open_rows = self.open.of(Discrepancy.EVENT_WITHOUT_SESSION, account_id)
        ids: set[tuple[Any, Any]] = {(row["session_id"], row["recording_id"]) for row in open_rows}
        if inbox is not None:
            begin, end = self._day.bounds
            session_ids = [session.session_id for session in inbox.sessions(account_id, begin, end)]
            ids |= {(session_id, None) for session_id in session_ids}
            recordings = inbox.recordings(account_id, session_ids)
            latest = self._day.clock() - SETTLED_AFTER
            ids |= {(r.session_id, r.recording_id) for r in recordings if r.first_received_at <= latest}
        around = NeighbouringDays(self._day.catalog, self._day.date, ignored_accounts=self._others([account_id]))
        no_session = around.unknown_ids("session_id", {session_id for session_id, _ in ids})
        # One row for a session that no table names, and none for each of its recordings.
        recording_ids = {id_ for session_id, id_ in ids if id_ is not None and session_id not in no_session}
        no_row = around.unknown_ids("recording_id", recording_ids)
        rows = [
            orphans.event_row(account_id, session_id=session_id, recording_id=recording_id)
            for session_id, recording_id in sorted(ids, key=str)
            if (session_id in no_session if recording_id is None else recording_id in no_row)
        ]
        rows = [
            row
            for row in rows
            if not self._day.erased.ids_in(account_id, f"{row['session_id']} {row['recording_id']}").all
        ]
        return list({row["subject"]: row for row in rows}.values())  # events may have one id in two roles

    def _others(self, accounts: Collection[str]) -> set[str]:
        return {account.subaccount_id for account in self._accounts} - set(accounts)


def _begins_before(path: str, at: datetime) -> bool:
    named = time_in_path(path, now=at)
    return named is not None and named < at
