"""A run of one day: its steps in order. Summaries, checks and alerts are made by the callers."""

from datetime import date

from callarchive.archiving.connections import Connections
from callarchive.archiving.steps.day_steps import DAY_STEPS
from callarchive.archiving.steps.reports import StepReport
from callarchive.domain.errors import AccountFailure
from callarchive.runtime.worker_pool import Progress


def run_day(
    connections: Connections, day: date, *, reread: bool = False, progress: Progress | None = None
) -> dict[str, StepReport]:
    """Run all steps on a day whose lock the caller holds. Return their reports by table name. Raises ArchiveError."""
    reports: dict[str, StepReport] = {}
    failures: tuple[AccountFailure, ...] = ()
    for step in DAY_STEPS:
        report = step.run(connections, day, failures=failures, reread=reread, progress=progress)
        reports[step.table.name], failures = report, report.failures
    return reports
