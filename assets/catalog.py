"""The tables that readers use: sessions, recordings and reconciliation, with the checks of each."""

from assets.collection import recording_files, recording_metadata, session_ids
from assets.table_assets import table_asset
from callarchive.catalog import schemas

GROUP = "catalog"

sessions = table_asset(
    schemas.SESSIONS,
    group=GROUP,
    deps=[session_ids, recording_metadata],
    about="Number Masking sessions: the facts of the call, its sources, the result of the lookup, the number of recordings.",
)

recordings = table_asset(
    schemas.RECORDINGS,
    group=GROUP,
    # It does not read `sessions`, but its checks do: recordings are counted and measured against their sessions.
    deps=[recording_metadata, recording_files, sessions],
    about="""Whether and where each is archived, or why not; size, hash, duration.

`duration_s` is measured from the audio, `duration_api_s` is reported by 8x8; a difference beyond the tolerance is flagged.""",
)

reconciliation = table_asset(
    schemas.RECONCILIATION,
    group=GROUP,
    deps=[sessions, recordings, recording_files],
    about="""Open and resolved ones, each with its reason and when it was first seen.

Connected calls without a recording, recordings without a file, objects in the landing that no recording names, files in the
archive without a row and rows without a file, events without a session, duration mismatches.""",
)
