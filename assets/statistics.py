"""Numbers of a day: recordings by state, durations by account."""

import dagster as dg

from assets.catalog import recordings
from assets.days import run_days
from assets.table_assets import table_asset
from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas

GROUP = "statistics"


@table_asset(schemas.STATUS_STATS, group=GROUP, deps=[recordings])
def status_stats(context: dg.AssetExecutionContext, connections: dg.ResourceParam[Connections]) -> dg.MaterializeResult:
    """How many recordings are in which state, what 8x8 says against what we have, with bytes and seconds kept."""
    from callarchive.archiving.steps import write_status_stats

    return run_days(context, connections, write_status_stats)


@table_asset(schemas.DURATION_STATS, group=GROUP, deps=[recordings])
def duration_stats(
    context: dg.AssetExecutionContext, connections: dg.ResourceParam[Connections]
) -> dg.MaterializeResult:
    """How long the day's archived recordings are: sum, mean, extremes and percentiles, in seconds."""
    from callarchive.archiving.steps import write_duration_stats

    return run_days(context, connections, write_duration_stats)
