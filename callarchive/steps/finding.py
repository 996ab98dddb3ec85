"""The first step of a day: which sessions its sources name."""

import logging
from datetime import date

import pyarrow as pa

from callarchive import schemas
from callarchive.belonging import settled_sessions
from callarchive.columns import count_values, pc
from callarchive.connections import Connections
from callarchive.models import RowProblem
from callarchive.phone_numbers import kept_number_guard
from callarchive.recording_events import write_recording_events
from callarchive.records import problem_row, session_table
from callarchive.sources import unite
from callarchive.steps.reports import StepReport

log = logging.getLogger(__name__)

_PROBLEMS_LOGGED = 20


def find_sessions(connections: Connections, day: date, *, reread: bool = False) -> StepReport:
    """`session_ids` holds every session that the accounts' sources name for the day, once; see `belonging` for reruns.

    Args:
        reread: use the call logs kept from an earlier run instead of asking 8x8 for a new export.

    Raises:
        SourceError, ExportError, AccessDeniedError, UnavailableError: a source cannot tell, so the day is not known.
            The partition stays as it was.
    """
    tables: list[pa.Table] = []
    problems: list[tuple[str, RowProblem]] = []
    for account in connections.settings.accounts:
        found = unite(source.find(day) for source in connections.sources(account, reread=reread))
        tables.append(session_table(found.sessions))
        problems += [(account.subaccount_id, problem) for problem in found.problems]
    named = pa.concat_tables(tables)
    catalog = connections.catalog
    guards = {account.subaccount_id: kept_number_guard(account) for account in connections.settings.accounts}
    with connections.neighbours_lock():
        rows, elsewhere = settled_sessions(catalog, day, named, guards=guards)
        count = catalog.replace_partition(schemas.SESSION_IDS, day, rows)
        if (inbox := connections.inbox()) is not None:
            write_recording_events(catalog, day, inbox, sessions=rows)
    problems += elsewhere
    for subaccount_id, problem in problems[:_PROBLEMS_LOGGED]:
        log.warning("%s: set aside: %s", subaccount_id, problem)
    carried = len(rows) + len(elsewhere) - len(named)
    if carried:
        log.warning("%s: %d sessions stay though no source names them any more", day, carried)
    catalog.replace_partition(
        schemas.SESSION_PROBLEMS, day, [problem_row(account, n, p) for n, (account, p) in enumerate(problems)]
    )
    by_source = count_values(pc.list_flatten(rows["sources"]))
    return StepReport(
        schemas.SESSION_IDS, day, count, {**by_source, "rows_set_aside": len(problems), "carried_over": carried}
    )
