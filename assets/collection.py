"""What a day's archiving collects: session ids, what 8x8 names for them, and the files. Internal tables, below `_steps/`."""

from functools import partial

import dagster as dg

from assets.days import run_days
from assets.progress import LoggedProgress
from assets.table_assets import table_asset
from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas

GROUP = "collection"


@table_asset(schemas.SESSION_IDS, group=GROUP)
def session_ids(context: dg.AssetExecutionContext, connections: dg.ResourceParam[Connections]) -> dg.MaterializeResult:
    """Every session of the day that an account's sources know of: 8x8's log export, the account's own files, united."""
    from callarchive.archiving.steps import find_sessions

    return run_days(context, connections, find_sessions)


@table_asset(schemas.RECORDING_METADATA, group=GROUP, deps=[session_ids], pool="api")
def recording_metadata(
    context: dg.AssetExecutionContext, connections: dg.ResourceParam[Connections]
) -> dg.MaterializeResult:
    """What 8x8's API names for each session: its recordings, their status, where they were put.

    A session that is final is not asked for again: its recordings are all archived, or 8x8 named none after the grace time.
    How each look-up went is kept beside it, in `_steps/lookups`.
    """
    from callarchive.archiving.steps import look_up_recordings

    return run_days(context, connections, partial(look_up_recordings, progress=LoggedProgress(context.log)))


@table_asset(schemas.RECORDING_FILES, group=GROUP, deps=[session_ids, recording_metadata], pool="landing")
def recording_files(
    context: dg.AssetExecutionContext, connections: dg.ResourceParam[Connections]
) -> dg.MaterializeResult:
    """What the archive holds of each recording: the verified mp3, its hash and measured duration, or why there is none.

    A file that is kept, and whose object is unchanged in the landing, is not fetched again.
    """
    from callarchive.archiving.steps import fetch_recordings

    return run_days(context, connections, partial(fetch_recordings, progress=LoggedProgress(context.log)))
