"""A recording to fetch, and the counts of a fetch."""

from dataclasses import dataclass, field
from datetime import date, datetime
from threading import Lock

from callarchive.domain.models import ApiRecording, RecordingFile
from callarchive.domain.recording_start import recording_start


@dataclass(frozen=True, slots=True)
class Wanted:
    """A recording that 8x8 names, and what an earlier run left of it."""

    session_id: str
    recording: ApiRecording
    earlier: RecordingFile | None
    call_at: datetime
    """The best known time of the call: decides when a file that is not there counts as missing."""

    file_path: str | None = None
    """The file's path according to a webhook event. Never trusted: see `landing.places`."""

    uploaded: bool = False
    """Whether a webhook event reports that the file was pushed; the API may be behind."""


@dataclass(slots=True)
class FetchCounts:
    """Counts of one account's day: recordings and bytes that were downloaded, and recordings that were not.

    Hold `lock` while changing a count from a thread of the fetch.
    """

    fetched_count: int = 0
    fetched_bytes: int = 0
    unchanged_count: int = 0
    denied_count: int = 0
    uncompared_count: int = 0
    elsewhere_count: int = 0
    size_only_count: int = 0
    fetched_again_count: int = 0
    """Downloads of a changed source whose bytes were already archived."""
    lock: Lock = field(default_factory=Lock, repr=False, compare=False)


def call_time(
    *, recording: ApiRecording, session_started_at: datetime | None, day: date, day_end: datetime, now: datetime
) -> datetime:
    """Return when the call was: the recording's start, else the session's, else the end of its day."""
    name = recording.external_file_url
    started_at, _ = recording_start(
        api=recording.started_at, file_name=name, recording_id=recording.recording_id, call_date=day, now=now
    )
    return started_at or session_started_at or day_end
