"""Runs of days: requests of sensors and the schedule, and the days that queued or active runs cover."""

from collections.abc import Callable, Mapping
from datetime import date

import dagster as dg

from callarchive.planning.run_requests import DayRequest

_WHY = "callarchive/why"
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_QUEUED_OR_ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def run_request(request: DayRequest) -> dg.RunRequest:
    """Return the request for Dagster; its reason is a tag of the run."""
    return dg.RunRequest(run_key=request.key, partition_key=request.day.isoformat(), tags={_WHY: request.why})


def busy_days(
    context: dg.SensorEvaluationContext | dg.ScheduleEvaluationContext, *, backfills: bool
) -> Callable[[date], bool]:
    """Return a function that reports whether a day has a queued or active run. It queries Dagster once, when first called.

    Args:
        context: of the tick.
        backfills: whether runs of several days count. They may take hours, and new events need not wait for them, because each
            day has its own lock.
    """
    spans: list[tuple[str, str]] | None = None

    def is_busy(day: date) -> bool:
        nonlocal spans
        if spans is None:
            runs = context.instance.get_runs(dg.RunsFilter(statuses=_QUEUED_OR_ACTIVE))
            found = [span for run in runs if (span := days_of(run.tags)) is not None]
            spans = [(first, last) for first, last in found if backfills or first == last]
        return any(first <= day.isoformat() <= last for first, last in spans)

    return is_busy


def days_of(tags: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the first and the last day of a run, ISO 8601; None if it has none."""
    first, last = (tags.get(name, tags.get("dagster/partition")) for name in _RANGE)
    return None if first is None or last is None else (first, last)
