"""What a day's run collects: session ids, what 8x8 names for them, and the files. Internal tables, below `_steps/`."""

from assets.table_assets import table_asset
from callarchive.catalog import schemas

GROUP = "collection"

session_ids = table_asset(
    schemas.SESSION_IDS,
    group=GROUP,
    about="Merged from all of the account's sources: 8x8's log export, webhook events, files and SQL queries.",
)

recording_metadata = table_asset(
    schemas.RECORDING_METADATA,
    group=GROUP,
    deps=[session_ids],
    pool="api",
    about="""The status of each recording, and where 8x8 uploaded it.

A final session is not looked up again: its recordings are all archived, or 8x8 twice reported that there are none.
The results of lookups are in `_steps/lookups`.""",
)

recording_files = table_asset(
    schemas.RECORDING_FILES,
    group=GROUP,
    deps=[session_ids, recording_metadata],
    pool="landing",
    about="""The verified mp3, its hash and measured duration, or why there is none.

A file that is already archived is not downloaded again if its object in the landing is unchanged.""",
)
