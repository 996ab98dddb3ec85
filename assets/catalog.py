"""The tables that readers use: sessions, recordings and what does not fit, with the checks that say whether the day is
accounted for.
"""

import dagster as dg

from assets.collection import recording_files, recording_metadata, session_ids
from assets.days import run_days
from assets.table_assets import table_asset
from callarchive.archiving.connections import Connections
from callarchive.catalog import schemas

GROUP = "catalog"


@table_asset(schemas.SESSIONS, group=GROUP, deps=[session_ids, recording_metadata])
def sessions(context: dg.AssetExecutionContext, connections: dg.ResourceParam[Connections]) -> dg.MaterializeResult:
    """The day's Number Masking sessions: the facts of the call, who named it, how 8x8 answered, how many recordings."""
    from callarchive.archiving.steps import write_sessions

    return run_days(context, connections, write_sessions)


# It reads nothing of `sessions` itself, but its checks do: recordings are counted and measured against their sessions.
@table_asset(schemas.RECORDINGS, group=GROUP, deps=[recording_metadata, recording_files, sessions])
def recordings(context: dg.AssetExecutionContext, connections: dg.ResourceParam[Connections]) -> dg.MaterializeResult:
    """The day's recordings, every one that 8x8 names: whether and where it is archived, or why not; size, hash, duration.

    `duration_s` is measured from the audio, `duration_api_s` is what 8x8 says; a difference beyond the tolerance is flagged.
    """
    from callarchive.archiving.steps import write_recordings

    return run_days(context, connections, write_recordings)


@table_asset(schemas.RECONCILIATION, group=GROUP, deps=[sessions, recordings, recording_files])
def reconciliation(
    context: dg.AssetExecutionContext, connections: dg.ResourceParam[Connections]
) -> dg.MaterializeResult:
    """What does not fit on the day, and what did not and does by now: each with its reason and when it was first seen.

    Connected calls without a recording, recordings without a file, objects in the landing that no recording names, files in the
    archive without a row and rows without a file, events without a session, durations that disagree.
    """
    from callarchive.archiving.steps import write_reconciliation

    return run_days(context, connections, write_reconciliation)
