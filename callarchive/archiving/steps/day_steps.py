"""The steps of a day in order, written once: the command line, the Dagster assets and their batches run exactly these.

Summaries, checks, alerts and Dagster's log are made by the callers.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial

from callarchive.archiving.catalog_day import CatalogDay
from callarchive.archiving.connections import Connections
from callarchive.archiving.steps.account_failures import account_failures
from callarchive.archiving.steps.early_fetching import EarlyTransfers
from callarchive.archiving.steps.fetching import fetch_recordings
from callarchive.archiving.steps.finding import find_sessions
from callarchive.archiving.steps.looking_up import look_up_recordings
from callarchive.archiving.steps.publishing import (
    write_duration_stats,
    write_recordings,
    write_sessions,
    write_status_stats,
)
from callarchive.archiving.steps.reconciling import write_reconciliation
from callarchive.archiving.steps.reports import StepReport
from callarchive.catalog import schemas
from callarchive.catalog.schemas import Table
from callarchive.domain.errors import AccountFailure
from callarchive.runtime.memory import release_unused
from callarchive.runtime.worker_pool import NoProgress, Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepInputs:
    """What a run of a day gives to each step: also the accounts that failed in earlier steps, and whether not to ask 8x8."""

    connections: Connections
    day: CatalogDay
    failures: tuple[AccountFailure, ...]
    reread: bool
    progress: Progress
    early: EarlyTransfers | None


@dataclass(frozen=True)
class DayStep:
    """A step of a day: the table that it writes, which names it, and the function that does."""

    table: Table
    write: Callable[[StepInputs], StepReport]

    def run(
        self,
        connections: Connections,
        day: date,
        *,
        failures: tuple[AccountFailure, ...] | None = None,
        reread: bool = False,
        progress: Progress | None = None,
        early: EarlyTransfers | None = None,
    ) -> StepReport:
        """Run the step on a day whose lock the caller holds; `failures` are by default the catalog's of earlier steps."""
        if failures is None:
            # Those of this step and later ones are of an earlier attempt, and repeating it is the point.
            names = [step.table.name for step in DAY_STEPS]
            earlier = names[: names.index(self.table.name)]
            kept = account_failures(connections.catalog, day)
            failures = tuple(failure for failure in kept if failure.step in earlier)
        catalog_day = connections.catalog_day(day)
        if self is DAY_STEPS[0]:
            catalog_day.begin()
        report = self.write(StepInputs(connections, catalog_day, failures, reread, progress or NoProgress(), early))
        if self is DAY_STEPS[-1]:
            catalog_day.finish()
        release_unused()
        return report


def _find_sessions(given: StepInputs) -> StepReport:
    connections = given.connections
    return find_sessions(
        given.day,
        sources=partial(connections.sources, reread=given.reread),
        open_inbox=connections.inbox,
        prune_inbox=connections.prune_inbox,
        neighbours_lock=connections.neighbours_lock,
    )


def _look_up_recordings(given: StepInputs) -> StepReport:
    return look_up_recordings(
        given.day,
        responses=given.connections.responses,
        voice=given.connections.voice,
        failures=given.failures,
        reread=given.reread,
        progress=given.progress,
        early=given.early,
    )


def _fetch_recordings(given: StepInputs) -> StepReport:
    archive, landings = given.connections.archive, given.connections.landings
    return fetch_recordings(
        given.day,
        archive=archive,
        landings=landings,
        failures=given.failures,
        progress=given.progress,
        early=None if given.early is None else given.early.files,
    )


def _write_recordings(given: StepInputs) -> StepReport:
    archive_root = given.connections.archive.root_uri
    return write_recordings(given.day, archive_root=archive_root, failures=given.failures)


def _write_reconciliation(given: StepInputs) -> StepReport:
    connections, failures = given.connections, given.failures
    archive, landings = connections.archive, connections.landings
    return write_reconciliation(
        given.day, archive=archive, landings=landings, open_inbox=connections.inbox, failures=failures
    )


DAY_STEPS = (
    DayStep(schemas.SESSION_IDS, _find_sessions),
    DayStep(schemas.RECORDING_METADATA, _look_up_recordings),
    DayStep(schemas.RECORDING_FILES, _fetch_recordings),
    DayStep(schemas.SESSIONS, lambda given: write_sessions(given.day, failures=given.failures)),
    DayStep(schemas.RECORDINGS, _write_recordings),
    DayStep(schemas.STATUS_STATS, lambda given: write_status_stats(given.day, failures=given.failures)),
    DayStep(schemas.DURATION_STATS, lambda given: write_duration_stats(given.day, failures=given.failures)),
    DayStep(schemas.RECONCILIATION, _write_reconciliation),
)


def run_day(
    connections: Connections, day: date, *, reread: bool = False, progress: Progress | None = None
) -> dict[str, StepReport]:
    """Run all steps on a day whose lock the caller holds. Return their reports by table name. Raises ArchiveError.

    Recordings are already downloaded while the lookups of others wait for 8x8's rate cap; see `early_fetching`.
    """
    early = EarlyTransfers(connections.archive, connections.landings)
    reports: dict[str, StepReport] = {}
    failures: tuple[AccountFailure, ...] = ()
    for step in DAY_STEPS:
        report = step.run(connections, day, failures=failures, reread=reread, progress=progress, early=early)
        log.info("%s [%s]", report.line, step.table.name)
        reports[step.table.name], failures = report, report.failures
    return reports
