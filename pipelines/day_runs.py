"""Runs of days, as sensors and the schedule ask for them and find them: which days are being archived, or will be."""

from collections.abc import Callable, Mapping
from datetime import date

import dagster as dg

from callarchive.planning.run_requests import DayRequest

_WHY = "callarchive/why"
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def run_request(request: DayRequest) -> dg.RunRequest:
    """The request as Dagster takes it; its reason is a tag of the run."""
    return dg.RunRequest(run_key=request.key, partition_key=request.day.isoformat(), tags={_WHY: request.why})


def busy_days(
    context: dg.SensorEvaluationContext | dg.ScheduleEvaluationContext, *, backfills: bool
) -> Callable[[date], bool]:
    """Whether a run of a day is waiting or under way. Dagster is asked once a tick, and only where there is a day to ask for.

    Args:
        backfills: whether one of many days counts. It may take hours, and new events wait for none: the days are locked singly.
    """
    spans: list[tuple[str, str]] | None = None

    def is_busy(day: date) -> bool:
        nonlocal spans
        if spans is None:
            runs = context.instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY))
            found = [span for run in runs if (span := days_of(run.tags)) is not None]
            spans = [(first, last) for first, last in found if backfills or first == last]
        return any(first <= day.isoformat() <= last for first, last in spans)

    return is_busy


def days_of(tags: Mapping[str, str]) -> tuple[str, str] | None:
    """The first and the last day of a run, ISO 8601; null where it has none."""
    first, last = (tags.get(name, tags.get("dagster/partition")) for name in _RANGE)
    return None if first is None or last is None else (first, last)
