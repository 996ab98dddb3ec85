"""Items of a day that need a person's attention: recordings not archived, damaged or silent audio, failed lookups."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import Column, is_true, pc, rows_in
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
    "channels",
    "silent_channels",
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
    flawed = pc.or_(recordings["audio_issue"].is_valid(), is_true(recordings["duration_mismatch"]))
    intact = pc.and_(
        is_true(pc.equal(recordings["archive_status"], "archived")),
        pc.invert(pc.or_(flawed, has_silence(recordings))),
    )
    intact = pc.or_(intact, is_true(pc.equal(recordings["archive_status"], "erased")))
    return AttentionList(
        day,
        recordings=recordings.select(ATTENTION_IN_RECORDINGS).filter(pc.invert(intact)),
        sessions=sessions.select(ATTENTION_IN_SESSIONS).filter(pc.equal(sessions["lookup_status"], "error")),
    )


def has_silence(recordings: pa.Table) -> Column:
    """Return whether each recording has a channel with nothing to hear; False if that was not measured."""
    return is_true(pc.greater(pc.list_value_length(recordings["silent_channels"]), 0))


def silence_in(row: Row) -> str | None:
    """Return where a row of `recordings` has nothing to hear; None if everywhere is something, or nothing was measured."""
    silent = row["silent_channels"]
    if not silent:
        return None
    if len(silent) >= row["channels"]:
        return "nothing to hear"
    return f"nothing to hear on channel {silent[0]} ({('left', 'right')[silent[0] - 1]})"


def _trouble(row: Row) -> tuple[str, str | None]:
    if row["archive_status"] != "archived":
        return row["archive_status"], row["error"]
    if row["audio_issue"] is not None:
        return row["audio_issue"], row["audio_issue_detail"]
    if not row["duration_mismatch"]:
        return "silent", silence_in(row)
    reported = ", ".join(f"{row[key]:g} s" for key in ("duration_api_s", "duration_event_s") if row[key] is not None)
    return "duration mismatch", f"{row['duration_s']:.1f} s measured, {reported} according to 8x8"
