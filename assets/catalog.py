"""The tables that readers use: sessions, recordings and reconciliation, with the checks of each."""

from assets.collection import recording_files, recording_metadata, session_ids
from assets.table_assets import table_asset
from callarchive.catalog import schemas

GROUP = "catalog"

sessions = table_asset(
    schemas.SESSIONS,
    group=GROUP,
    deps=[session_ids, recording_metadata],
    about="One row per session: its call, sources and lookup: who lists it, what 8x8 responds, how many recordings it has.",
)

recordings = table_asset(
    schemas.RECORDINGS,
    group=GROUP,
    # It does not read `sessions`, but its checks do: recordings are counted and measured against their sessions.
    deps=[recording_metadata, recording_files, sessions],
    about="""One row per recording: state, file, duration. Whether and where it is archived, or why not; size and hash.

`duration_s` is measured from the audio, `duration_api_s` is reported by 8x8; a difference beyond the tolerance is flagged.""",
)

reconciliation = table_asset(
    schemas.RECONCILIATION,
    group=GROUP,
    deps=[sessions, recordings, recording_files],
    about="""One row per discrepancy, open or resolved, with its reason and the time when it was first seen.

Connected calls without a recording, recordings without a file, objects in the landing without a recording, files in the
archive without a row, rows without a file, events without a session, sessions that 8x8 does not know, duration mismatches.""",
)
