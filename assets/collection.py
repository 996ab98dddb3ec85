"""What a day's run collects: session ids, what 8x8 names for them, and the files. Internal tables, below `_steps/`."""

from assets.table_assets import table_asset
from callarchive.catalog import schemas

GROUP = "collection"

session_ids = table_asset(
    schemas.SESSION_IDS,
    group=GROUP,
    about="One row per session: the sources that list it for the day: 8x8's log export, webhook events, files, SQL queries.",
)

recording_metadata = table_asset(
    schemas.RECORDING_METADATA,
    group=GROUP,
    deps=[session_ids],
    pool="api",
    about="""One row per recording: what 8x8 reports of it, its status and where 8x8 uploaded it.

A final session is not looked up again: its recordings are all archived, or 8x8 twice reported that there are none.
The results of lookups are in `_steps/lookups`.""",
)

recording_files = table_asset(
    schemas.RECORDING_FILES,
    group=GROUP,
    deps=[session_ids, recording_metadata],
    pool="landing",
    about="""One row per recording: its verified file, with hash and measured duration, or why there is none.

A file that is already archived is not downloaded again if its object in the landing is unchanged.""",
)
