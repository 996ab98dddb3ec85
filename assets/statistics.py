"""Statistics of a day: recordings by state, durations by account."""

from assets.catalog import recordings
from assets.table_assets import table_asset
from callarchive.catalog import schemas

GROUP = "statistics"

status_stats = table_asset(
    schemas.STATUS_STATS,
    group=GROUP,
    deps=[recordings],
    about="One row per account and pair of states: what 8x8 reports and what the archive holds, with bytes and seconds.",
)

duration_stats = table_asset(
    schemas.DURATION_STATS,
    group=GROUP,
    deps=[recordings],
    about="One row per account: duration percentiles of its archived recordings, with sum, mean and extremes, in seconds.",
)
