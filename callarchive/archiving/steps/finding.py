"""The first step of a day: which sessions its sources name."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from callarchive.archiving.catalog_day import CatalogDay
from callarchive.archiving.steps.account_failures import FOR_ALL_ACCOUNTS, keep_failures
from callarchive.archiving.steps.reports import StepReport
from callarchive.archiving.transforms.day_assignment import assign_sessions
from callarchive.archiving.transforms.erased_rows import not_erased
from callarchive.archiving.transforms.missing_sessions import AccountSources, missing_sessions
from callarchive.archiving.transforms.recording_events import inbox_events, write_recording_events
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import count_values, pc
from callarchive.catalog.day_bounds import keep_bounds
from callarchive.catalog.rows import problem_row, session_table
from callarchive.custody.erasures import Erased
from callarchive.domain.errors import ArchiveError, StoreError, UnavailableError
from callarchive.domain.models import Findings, RowProblem
from callarchive.domain.phone_numbers import kept_number_guard
from callarchive.settings import AccountSettings
from callarchive.sources import SessionSource, refuse_undated, unite

if TYPE_CHECKING:
    from callarchive.events.inbox.inbox import Inbox

log = logging.getLogger(__name__)

_PROBLEMS_LOGGED = 20
_NEIGHBOUR = timedelta(days=1)


def find_sessions(
    day: CatalogDay,
    *,
    sources: Callable[[AccountSettings], list[SessionSource]],
    open_inbox: Callable[[], "Inbox | None"],
    prune_inbox: Callable[[], int],
    neighbours_lock: Callable[[], AbstractContextManager[None]],
) -> StepReport:
    """Write `session_ids`: every session that the accounts' sources name for the day, once.

    Also write `recording_events`: what webhook events report of their recordings, even for accounts without the source `inbox`.
    An account with a source that cannot be read keeps its rows; see `account_failures`. On reruns, see `day_assignment`.
    """
    accounts, catalog = day.settings.accounts, day.catalog
    tables: list[pa.Table] = [schemas.SESSION_IDS.schema.empty_table()]
    errors: dict[str, ArchiveError] = {}
    by_account: dict[str, AccountSources] = {}
    now, (_, day_end) = day.clock(), day.bounds
    _erase_late_events(day, open_inbox)
    latest_event = _latest_event(open_inbox)  # events that come while the sources are read belong to the next run
    problems: list[tuple[str, RowProblem]] = []
    for account in accounts:
        try:
            found_by = ((source.kind, source.find(day.date)) for source in sources(account))
            by_source = [(kind, _without_erased(found, day.erased, account.subaccount_id)) for kind, found in found_by]
            found = unite(findings for _, findings in by_source)
            if {kind for kind, _ in by_source} == {"inbox"}:
                refuse_undated(found, account.subaccount_id, day.date)
        except FOR_ALL_ACCOUNTS:
            raise
        except ArchiveError as err:
            errors[account.subaccount_id] = err
            continue
        by_account[account.subaccount_id] = AccountSources.of(account, by_source, day_end=day_end, now=now)
        tables.append(session_table(found.sessions))
        problems += [(account.subaccount_id, problem) for problem in found.problems]
    named = pa.concat_tables(tables)
    failures = keep_failures(day, schemas.SESSION_IDS, errors)
    masks = {account.subaccount_id: kept_number_guard(account) for account in accounts}
    with neighbours_lock():
        before = not_erased(day.rows(schemas.SESSION_IDS), day.erased)
        settled = assign_sessions(
            catalog, day.date, named, before=before, masks=masks, zone=day.settings.zone, unread=errors
        )
        rows, carried = settled.rows, settled.carried_count
        missing = missing_sessions(
            catalog, day.date, before=before, named=named, settled=rows, sources=by_account, unread=errors, now=now
        )
        # Before session_ids: a run that is killed between the two leaves the next one all that it needs.
        missing = [row for row in missing if not day.erased.has_session(row["subaccount_id"], row["session_id"])]
        day.replace(schemas.MISSING_SESSIONS, missing)
        count = day.replace(schemas.SESSION_IDS, rows)
    # Only after the sessions of every account are written: otherwise a day whose bounds moved would look complete.
    if not errors:
        keep_bounds(catalog, day.date, day.settings)
    if missing:
        log.warning("%s: %d sessions are not named by a source that should name them", day.date, len(missing))
    not_ingested = _ingest_events(day, open_inbox, rows)
    problems += settled.elsewhere + not_ingested
    for subaccount_id, problem in problems[:_PROBLEMS_LOGGED]:
        log.warning("%s: set aside: %s", subaccount_id, problem)
    if carried:
        log.warning("%s: %d sessions stay though no source names them any more", day.date, carried)
    new_problems = [problem_row(account, n, p) for n, (account, p) in enumerate(problems) if account not in errors]
    earlier_problems = [row for row in day.rows(schemas.SESSION_PROBLEMS).to_pylist() if row["subaccount_id"] in errors]
    day.replace(schemas.SESSION_PROBLEMS, new_problems + earlier_problems)
    _settle_with_inbox(day, open_inbox, prune_inbox, None if not_ingested else latest_event)
    counts = {
        **count_values(pc.list_flatten(rows["sources"])),
        "rows_set_aside": len(problems),
        "carried_over": carried,
    }
    return StepReport(schemas.SESSION_IDS, day.date, count, counts, failures)


def _without_erased(found: Findings, erased: Erased, subaccount_id: str) -> Findings:
    """Return what the source found of sessions that were not erased."""
    if not erased:
        return found
    return Findings(
        tuple(one for one in found.sessions if not erased.has_session(subaccount_id, one.session_id)),
        tuple(one for one in found.problems if not erased.ids_in(subaccount_id, str(one)).all),
        frozenset(one for one in found.other_days if not erased.has_session(subaccount_id, one)),
    )


def _erase_late_events(day: CatalogDay, open_inbox: Callable[[], "Inbox | None"]) -> None:
    """Remove events of erased sessions and recordings that arrived after the erasure. A failure does not fail the day."""
    try:
        if not day.erased or (inbox := open_inbox()) is None:
            return
        begin, end = day.bounds
        for account in day.settings.accounts:
            named = inbox.ids_between(account.subaccount_id, begin - _NEIGHBOUR, end + _NEIGHBOUR)
            if (ids := day.erased.ids_in(account.subaccount_id, " ".join(named))).all:
                inbox.erase(ids)
    except ArchiveError as err:
        log.warning("%s: events of what was erased may still be in the inbox: %s", day.date, err)


def _ingest_events(
    day: CatalogDay, open_inbox: Callable[[], "Inbox | None"], sessions: pa.Table
) -> list[tuple[str, RowProblem]]:
    """Write `recording_events` from the inbox's events of these sessions. Return a problem per account if it cannot be read.

    The day is archived without the hints of events then, and the problem fails a check: a later run ingests them.
    """
    events, problems = None, []
    try:
        if (inbox := open_inbox()) is not None:
            events = not_erased(inbox_events(inbox, sessions), day.erased)
    except (UnavailableError, StoreError) as err:
        problem = RowProblem("inbox", "inbox", None, f"webhook events were not ingested: {err}")
        problems = [(account.subaccount_id, problem) for account in day.settings.accounts]
    write_recording_events(day.catalog, day.date, events, sessions=sessions)
    return problems


def _latest_event(open_inbox: Callable[[], "Inbox | None"]) -> int | None:
    """Return the number of the newest event. None without an inbox, or if it cannot be read: its later use reports that."""
    try:
        inbox = open_inbox()
        return None if inbox is None else inbox.latest_number()
    except (UnavailableError, StoreError):
        return None


def _settle_with_inbox(
    day: CatalogDay, open_inbox: Callable[[], "Inbox | None"], prune_inbox: Callable[[], int], latest_event: int | None
) -> None:
    """Record in the inbox up to which event the day is complete, and prune it. A failure there does not fail the day."""
    try:
        if latest_event and (inbox := open_inbox()) is not None:
            inbox.mark_ingested(day.date, latest_event)
        if count := prune_inbox():
            log.info("%d old events that their days have ingested were removed from the inbox", count)
    except ArchiveError as err:
        log.warning("old events stay in the inbox: %s", err)
