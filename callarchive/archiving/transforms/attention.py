"""Items of a day that need a person's attention: recordings not archived, damaged audio, failed lookups."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import pc, rows_in
from callarchive.catalog.rows import Row

ATTENTION_IN_SESSIONS = ("subaccount_id", "session_id", "lookup_status", "lookup_error")
ATTENTION_IN_RECORDINGS = (
    "subaccount_id",
    "recording_id",
    "archive_status",
    "error",
    "audio_issue",
    "audio_issue_detail",
    "duration_s",
    "duration_api_s",
    "duration_event_s",
    "duration_mismatch",
)
"""The columns that `needs_attention` needs."""


@dataclass(frozen=True)
class Attention:
    """An item that needs attention. `concerns` names the recording or session."""

    day: date
    subaccount_id: str
    concerns: str
    state: str
    reason: str | None


@dataclass(frozen=True)
class AttentionList:
    """A day's items, recordings first. Iterating formats them one by one."""

    day: date
    recordings: pa.Table
    sessions: pa.Table

    @property
    def count(self) -> int:
        """Number of items."""
        return len(self.recordings) + len(self.sessions)

    def __iter__(self) -> Iterator[Attention]:
        """Yield the items."""
        for row in rows_in(self.recordings):
            yield Attention(self.day, row["subaccount_id"], f"recording {row['recording_id']}", *_trouble(row))
        for row in rows_in(self.sessions):
            session = f"session {row['session_id']}"
            yield Attention(self.day, row["subaccount_id"], session, "lookup failed", row["lookup_error"])


def needs_attention(
    day: date, *, sessions: pa.Table | None = None, recordings: pa.Table | None = None
) -> AttentionList:
    """Return the items in rows of `sessions` and `recordings` with the columns above."""
    recordings = schemas.RECORDINGS.schema.empty_table() if recordings is None else recordings
    sessions = schemas.SESSIONS.schema.empty_table() if sessions is None else sessions
    intact = pc.and_(
        pc.equal(pc.fill_null(recordings["archive_status"], ""), "archived"),
        pc.and_(recordings["audio_issue"].is_null(), pc.invert(pc.fill_null(recordings["duration_mismatch"], False))),
    )
    return AttentionList(
        day,
        recordings=recordings.select(ATTENTION_IN_RECORDINGS).filter(pc.invert(intact)),
        sessions=sessions.select(ATTENTION_IN_SESSIONS).filter(pc.equal(sessions["lookup_status"], "error")),
    )


def _trouble(row: Row) -> tuple[str, str | None]:
    if row["archive_status"] != "archived":
        return row["archive_status"], row["error"]
    if row["audio_issue"] is not None:
        return row["audio_issue"], row["audio_issue_detail"]
    reported = ", ".join(f"{row[key]:g} s" for key in ("duration_api_s", "duration_event_s") if row[key] is not None)
    return "duration mismatch", f"{row['duration_s']:.1f} s measured, {reported} according to 8x8"
