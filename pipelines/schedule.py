"""The schedule: each night yesterday, days that earlier nights missed, and recent days that may have changed.

`callarchive.planning.look_back` decides which days those are. After nights without its daemon Dagster catches up only the last
one (five, for a schedule built from partitions), so each night checks for missing days itself.
"""

from typing import Any

import dagster as dg

from callarchive.domain.errors import ArchiveError
from callarchive.settings import Settings
from pipelines.day_runs import busy_days, run_request


def nightly(settings: Settings, job: Any) -> dg.ScheduleDefinition:
    """Return the schedule `nightly` for the job. Not built from the job's partitions: the last one is today, not over yet."""

    @dg.schedule(
        name="nightly",
        job=job,
        cron_schedule=f"0 {settings.dagster.schedule_hour} * * *",
        execution_timezone=settings.timezone,
        description="Archive yesterday, missed days, and recent days that may have changed. "
        "Off by default: turn it on where Dagster runs permanently.",
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )
    def night(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        from callarchive.planning.look_back import day_before

        yesterday = day_before(context.scheduled_execution_time, settings)
        if yesterday is None:
            return dg.SkipReason(f"the day before is earlier than start_date, {settings.start_date}")
        # Dagster compares run keys only together with the night's time: the next night may request the same day.
        return [run_request(yesterday), *_look_back(context, settings)]

    return night


def _look_back(context: dg.ScheduleEvaluationContext, settings: Settings) -> list[dg.RunRequest]:
    """Return requests for earlier days; none if the catalog cannot be read, so that yesterday is archived anyway."""
    from callarchive.catalog.parquet_catalog import Catalog
    from callarchive.planning.look_back import days_left_behind, requests_for_look_back

    at = context.scheduled_execution_time
    try:
        catalog = Catalog.open(settings.catalog.url, s3=settings.catalog.s3)
        requests = requests_for_look_back(catalog, settings, at=at, is_busy=busy_days(context, backfills=True))
        left_behind = days_left_behind(catalog, settings, at=at)
    except ArchiveError as err:
        context.log.warning("could not look back: %s", err)
        return []
    if left_behind:
        context.log.info(
            "%d days since start_date are not archived and too old for the schedule: backfill them", left_behind
        )
    return [run_request(request) for request in requests]
