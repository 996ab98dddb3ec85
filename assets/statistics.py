"""Statistics of a day: recordings by state, durations by account."""

from assets.catalog import recordings
from assets.table_assets import table_asset
from callarchive.catalog import schemas

GROUP = "statistics"

status_stats = table_asset(
    schemas.STATUS_STATS,
    group=GROUP,
    deps=[recordings],
    about="What 8x8 reports compared with what the archive holds, with size in bytes and duration in seconds.",
)

duration_stats = table_asset(
    schemas.DURATION_STATS,
    group=GROUP,
    deps=[recordings],
    about="Sum, mean, extremes and percentiles over the day's archived recordings, in seconds.",
)
