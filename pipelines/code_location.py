"""The code location built from settings: assets with their partitions, jobs, schedules, sensors, resources.

`definitions` calls it with the configuration, tests with their own.
"""

from datetime import timedelta

import dagster as dg

from assets import catalog, collection, statistics
from assets.failures import STEP_RETRIES
from assets.newest_day import newest_day_archived
from assets.past_time import nothing_kept_past_its_time
from callarchive.catalog import schemas
from callarchive.settings import Settings
from pipelines.newest_day import newest_day_sensor
from pipelines.resources import connections_resource
from pipelines.retention import nightly_retention, retention
from pipelines.schedule import nightly
from pipelines.sensors import sensors

_STALE_AFTER = timedelta(hours=36)
"""The time after which a table that was not written is shown as stale: a night was missed."""


def code_location(settings: Settings) -> dg.Definitions:
    """Return all definitions. Contacts nothing and reads no secret."""
    # Retries only here: a run that a person starts should fail at once with its error.
    archive_day = dg.define_asset_job(
        "archive_day",
        selection=dg.AssetSelection.all(),
        description="Archive one day: sessions, recordings, tables, statistics, checks. Transient failures are retried "
        "after 2 and after 4 minutes.",
        tags={STEP_RETRIES: "2"},
    )
    return dg.Definitions(
        assets=partitioned_assets(settings),
        jobs=[archive_day, retention],
        schedules=[nightly(settings, archive_day), nightly_retention(settings)],
        sensors=[*sensors(settings, archive_day), newest_day_sensor(settings)],
        asset_checks=[newest_day_archived, nothing_kept_past_its_time],
        resources={"connections": connections_resource(settings)},
        # Threads inside the steps do the work; a process for each step would cost seconds.
        executor=dg.in_process_executor,
    )


def partitioned_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Return the eight assets by day, in batches of at most `dagster.days_per_run`.

    All have one partitions definition and one backfill policy: a check blocks what is downstream only within a run, and Dagster
    splits runs where either of them differs.
    """
    # The offset adds the current day: events update it before it is over.
    days = dg.DailyPartitionsDefinition(settings.start_date.isoformat(), timezone=settings.timezone, end_offset=1)
    folders = {table.name: table.folder for table in (*schemas.PUBLIC_TABLES, *schemas.STEP_TABLES)}
    freshness = dg.FreshnessPolicy.time_window(fail_window=_STALE_AFTER)
    loaded = dg.load_assets_from_modules(
        [collection, catalog, statistics], backfill_policy=dg.BackfillPolicy.multi_run(settings.dagster.days_per_run)
    )

    def configured(spec: dg.AssetSpec) -> dg.AssetSpec:
        folder = folders[spec.key.to_user_string()]
        places = {"dagster/uri": f"{settings.catalog.url}/{folder}", "archive": settings.archive.url}
        metadata = {**spec.metadata, **places}
        return spec.replace_attributes(partitions_def=days, freshness_policy=freshness, metadata=metadata)

    return [asset.map_asset_specs(configured) for asset in loaded if isinstance(asset, dg.AssetsDefinition)]
