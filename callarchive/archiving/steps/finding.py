"""The first step of a day: which sessions its sources name."""

import logging
from datetime import date

import pyarrow as pa

from callarchive.archiving.connections import Connections
from callarchive.archiving.steps.account_failures import FOR_ALL_ACCOUNTS, keep_failures
from callarchive.archiving.steps.reports import StepReport
from callarchive.archiving.transforms.day_assignment import assign_sessions
from callarchive.archiving.transforms.missing_sessions import AccountSources, missing_sessions
from callarchive.archiving.transforms.recording_events import inbox_events, write_recording_events
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import count_values, pc
from callarchive.catalog.day_bounds import keep_bounds
from callarchive.catalog.rows import problem_row, session_table
from callarchive.domain.days import day_bounds
from callarchive.domain.errors import ArchiveError, StoreError, UnavailableError
from callarchive.domain.models import RowProblem
from callarchive.domain.phone_numbers import kept_number_guard
from callarchive.sources import refuse_undated, unite

log = logging.getLogger(__name__)

_PROBLEMS_LOGGED = 20


def find_sessions(connections: Connections, day: date, *, reread: bool = False) -> StepReport:
    """`session_ids` holds every session that the accounts' sources name for the day, once; see `belonging` for reruns.

    `recording_events` holds what webhook events tell of their recordings, also for accounts without the source `inbox`.

    Args:
        reread: use the call logs kept from an earlier run instead of asking 8x8 for a new export.

    An account of which a source cannot be read keeps its rows; see `account_failures`.

    Raises:
        SourceError, ExportError, AccessDeniedError, UnavailableError: the sessions of no account can be known. The partition
            stays as it was.
    """
    tables: list[pa.Table] = [schemas.SESSION_IDS.schema.empty_table()]
    errors: dict[str, ArchiveError] = {}
    sources: dict[str, AccountSources] = {}
    now, (_, day_end) = connections.clock(), day_bounds(day, connections.settings.zone)
    latest_event = _latest_event(connections)  # what comes while the sources are asked is the next run's
    problems: list[tuple[str, RowProblem]] = []
    for account in connections.settings.accounts:
        try:
            by_source = [(source.kind, source.find(day)) for source in connections.sources(account, reread=reread)]
            found = unite(findings for _, findings in by_source)
            if {kind for kind, _ in by_source} == {"inbox"}:
                refuse_undated(found, account.subaccount_id, day)
        except FOR_ALL_ACCOUNTS:
            raise
        except ArchiveError as err:
            errors[account.subaccount_id] = err
            continue
        sources[account.subaccount_id] = AccountSources.of(account, by_source, day_end=day_end, now=now)
        tables.append(session_table(found.sessions))
        problems += [(account.subaccount_id, problem) for problem in found.problems]
    named = pa.concat_tables(tables)
    catalog = connections.catalog
    failures = keep_failures(connections, day, schemas.SESSION_IDS, errors)
    guards = {account.subaccount_id: kept_number_guard(account) for account in connections.settings.accounts}
    with connections.neighbours_lock():
        before = catalog.partition(schemas.SESSION_IDS, day, columns=(*schemas.SESSION_IDS.key, "sources"))
        settled = assign_sessions(
            catalog, day, named, guards=guards, zone=connections.settings.zone, unread=list(errors)
        )
        rows, carried = settled.rows, settled.carried_count
        missing = missing_sessions(
            catalog, day, before=before, named=named, settled=rows, sources=sources, unread=list(errors), now=now
        )
        # Before session_ids: a run that is killed between the two leaves the next one all that it needs.
        catalog.replace_partition(schemas.MISSING_SESSIONS, day, missing)
        count = catalog.replace_partition(schemas.SESSION_IDS, day, rows)
    # Not before the sessions, and not without those of every account: else a day whose bounds moved would pass for whole.
    if not errors:
        keep_bounds(catalog, day, connections.settings)
    if missing:
        log.warning("%s: %d sessions are not named by a source that should name them", day, len(missing))
    not_taken_over = _take_over_events(connections, day, rows)
    problems += settled.elsewhere + not_taken_over
    for subaccount_id, problem in problems[:_PROBLEMS_LOGGED]:
        log.warning("%s: set aside: %s", subaccount_id, problem)
    if carried:
        log.warning("%s: %d sessions stay though no source names them any more", day, carried)
    new_problems = [problem_row(account, n, p) for n, (account, p) in enumerate(problems) if account not in errors]
    earlier_problems = [row for row in catalog.rows(schemas.SESSION_PROBLEMS, day) if row["subaccount_id"] in errors]
    catalog.replace_partition(schemas.SESSION_PROBLEMS, day, new_problems + earlier_problems)
    _settle_with_inbox(connections, day, None if not_taken_over else latest_event)
    source_counts = count_values(pc.list_flatten(rows["sources"]))
    return StepReport(
        schemas.SESSION_IDS,
        day,
        count,
        {**source_counts, "rows_set_aside": len(problems), "carried_over": carried},
        failures,
    )


def _take_over_events(connections: Connections, day: date, sessions: pa.Table) -> list[tuple[str, RowProblem]]:
    """`recording_events` holds what the inbox tells of these sessions; returns per account that it could not be asked.

    It is a source's own error where sessions are taken from it. Else recordings are archived without its hints, and the
    problem fails a check: a later run takes the events over.
    """
    told, problems = None, []
    try:
        if (inbox := connections.inbox()) is not None:
            told = inbox_events(inbox, sessions)
    except (UnavailableError, StoreError) as err:
        problem = RowProblem("inbox", "inbox", None, f"webhook events were not taken over: {err}")
        problems = [(account.subaccount_id, problem) for account in connections.settings.accounts]
    write_recording_events(connections.catalog, day, told, sessions=sessions)
    return problems


def _latest_event(connections: Connections) -> int | None:
    """The number of the newest event; null where there is no inbox, or it cannot be asked: whoever needs it will say so."""
    try:
        inbox = connections.inbox()
        return None if inbox is None else inbox.latest_number()
    except (UnavailableError, StoreError):
        return None


def _settle_with_inbox(connections: Connections, day: date, latest_event: int | None) -> None:
    """The inbox knows up to which event the day is up to date, and is rid of old ones. What hinders that is not the day's."""
    try:
        if latest_event and (inbox := connections.inbox()) is not None:
            inbox.mark_ingested(day, latest_event)
        count = connections.prune_inbox()
    except ArchiveError as err:
        log.warning("old events stay in the inbox: %s", err)
        return
    if count:
        log.info("%d old events that their days have taken over were removed from the inbox", count)
