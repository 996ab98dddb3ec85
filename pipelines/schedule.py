"""The schedule: each night the day before, days that earlier nights missed, and recent days that may have changed.

`callarchive.planning.look_back` decides which days those are. Of the nights that Dagster's daemon was down it makes up only the
last (five, had the schedule been built from partitions), so each night checks for missing days itself.
"""

from typing import Any

import dagster as dg

from callarchive.domain.errors import ArchiveError
from callarchive.settings import Settings
from pipelines.day_runs import busy_days, run_request


def nightly(settings: Settings, job: Any) -> dg.ScheduleDefinition:
    """The schedule `nightly` for that job. Not built from the job's partitions: their last one is today, which is not over."""

    @dg.schedule(
        name="nightly",
        job=job,
        cron_schedule=f"0 {settings.dagster.schedule_hour} * * *",
        execution_timezone=settings.timezone,
        description="Archives the day before, days that were missed, and the last days again where something may have changed. "
        "Off until it is switched on where Dagster runs for good.",
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )
    def night(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        from callarchive.planning.look_back import day_before

        yesterday = day_before(context.scheduled_execution_time, settings)
        if yesterday is None:
            return dg.SkipReason(f"the day before is earlier than start_date, {settings.start_date}")
        # Dagster takes a run key for asked only together with the night's time: the next night may ask for the day again.
        return [run_request(yesterday), *_look_back(context, settings)]

    return night


def _look_back(context: dg.ScheduleEvaluationContext, settings: Settings) -> list[dg.RunRequest]:
    """Requests for earlier days. None where the catalog cannot be asked: the day before is archived all the same."""
    from callarchive.catalog.parquet_catalog import Catalog
    from callarchive.planning.look_back import days_left_behind, requests_for_look_back

    at = context.scheduled_execution_time
    try:
        catalog = Catalog.open(settings.catalog.url, s3=settings.catalog.s3)
        requests = requests_for_look_back(catalog, settings, at=at, is_busy=busy_days(context, backfills=True))
        left_behind = days_left_behind(catalog, settings, at=at)
    except ArchiveError as err:
        context.log.warning(f"could not look back: {err}")
        return []
    if left_behind:
        context.log.info(
            f"{left_behind} days since start_date are not archived and too old for the schedule: backfill them"
        )
    return [run_request(request) for request in requests]
