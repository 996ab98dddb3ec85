"""What is handed from room to room: sessions, look-ups, recordings. No behaviour lives here.

Time stamps are aware UTC; null means that no source gave a value, never a guess.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from callarchive.domain.landing_objects import LandingObject


class ApiStatus(StrEnum):
    """What 8x8 says of a recording (its documentation's seven values)."""

    PROCESSING = "PROCESSING"
    PROCESSING_FAILED = "PROCESSING_FAILED"
    UPLOAD_COMPLETED = "UPLOAD_COMPLETED"
    UPLOAD_FAILED = "UPLOAD_FAILED"
    CALLBACK_COMPLETED = "CALLBACK_COMPLETED"
    CALLBACK_FAILED = "CALLBACK_FAILED"
    UNKNOWN = "UNKNOWN"

    @property
    def uploaded(self) -> bool:
        """Whether 8x8 claims that the file was pushed. The callback comes after the upload."""
        return self in (ApiStatus.UPLOAD_COMPLETED, ApiStatus.CALLBACK_COMPLETED, ApiStatus.CALLBACK_FAILED)


class ArchiveStatus(StrEnum):
    """What we have of a recording."""

    ARCHIVED = "archived"
    PENDING = "pending"
    MISSING = "missing"
    REJECTED = "rejected"
    FAILED = "failed"
    NOT_UPLOADED = "not_uploaded"
    ERASED = "erased"


class LookupStatus(StrEnum):
    """How 8x8's API answered for a session."""

    OK = "ok"
    NO_RECORDINGS = "no_recordings"
    NOT_FOUND = "not_found"
    ERROR = "error"


NEGATIVE = (LookupStatus.NO_RECORDINGS, LookupStatus.NOT_FOUND)
"""Answers that name no recording. One of them alone is not final: see `lookup_tables.final`."""


class Discrepancy(StrEnum):
    """Ways in which what was told and what is there do not fit: the kinds of rows in `reconciliation`."""

    CONNECTED_CALL_WITHOUT_RECORDING = "connected_call_without_recording"
    RECORDING_WITHOUT_FILE = "recording_without_file"
    ORPHAN_OBJECT = "orphan_object"
    FILE_WITHOUT_ROW = "file_without_row"
    ROW_WITHOUT_FILE = "row_without_file"
    EVENT_WITHOUT_SESSION = "event_without_session"
    DURATION_MISMATCH = "duration_mismatch"
    SESSION_NOT_FOUND = "session_not_found"


class AudioIssue(StrEnum):
    """What is wrong with audio that was kept all the same."""

    TRUNCATED = "truncated"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Session:
    """A session as its sources tell it; `sources` holds their kinds, sorted.

    Attributes:
        call_count: legs that the source knows of.
        call_duration_s: the longest leg's duration, from connected to disconnected.
        price: of all legs, null when they differ in currency.
        source_number, destination_number: as the account's `phone_numbers` allows; null when dropped.
    """

    subaccount_id: str
    session_id: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    session_status: str | None = None
    call_count: int | None = None
    call_duration_s: float | None = None
    price: Decimal | None = None
    price_currency: str | None = None
    source_number: str | None = None
    destination_number: str | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A row of a session source that was set aside. `line` counts from 1; null where the format has no lines."""

    source: str
    file: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        return f"{self.file}{'' if self.line is None else f', line {self.line}'}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Findings:
    """What a session source says of a day: one `Session` per session id, and the rows it could not use.

    Attributes:
        other_days: ids of sessions that its rows name for other days; not compared, for it is no finding of this day.
    """

    sessions: tuple[Session, ...] = ()
    problems: tuple[RowProblem, ...] = ()
    other_days: frozenset[str] = field(default=frozenset(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ApiRecording:
    """A recording as 8x8's API names it.

    Attributes:
        api_status_raw: the text as it came (null if absent).
        external_file_url: where 8x8 says that it put the file. Never fetched: see `landing.places`.
        duration_api_s: as given, taken as seconds.
        started_at: `startRecordingTime`, null when unset (8x8 sends -1 ms) or implausible.
    """

    recording_id: str
    api_status: ApiStatus
    api_status_raw: str | None = None
    external_file_url: str | None = None
    duration_api_s: float | None = None
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lookup:
    """One answer of the API for one session.

    Attributes:
        error: why the status is `error`, or null. Recordings that could be read are there even then.
        body: the answer as it came (null if none did), for the answer store.
        unreachable: the API did not answer at all; if that is so for every session, the run has failed.
    """

    session_id: str
    status: LookupStatus
    looked_up_at: datetime
    recordings: tuple[ApiRecording, ...] = ()
    error: str | None = None
    http_status: int | None = None
    body: str | None = None
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class Mp3Facts:
    """What a frame walk heard in an mp3. Rates are those of the first frame; `duration_s` is of what can be decoded."""

    duration_s: float
    frame_count: int
    bitrate_kbps: float
    sample_rate_hz: int
    channels: int
    audio_issue: AudioIssue | None = None
    issue_detail: str | None = None


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A verified file in the archive: its place, its hash, its audio."""

    archive_path: str
    size_bytes: int
    sha256: str
    audio: Mp3Facts
    archived_at: datetime


@dataclass(frozen=True, slots=True)
class Version:
    """One of several readings of a recording whose bytes differ, and which are all kept."""

    archive_path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """What came of a recording: its state, and the file if one is kept.

    Attributes:
        error: why there is no file, or null.
        source: the object as it was when it was read; a rerun compares it with what the landing says then.
        quarantine_uri: where bytes that are not audio are kept.
        versions: all versions kept, oldest first; `kept` is the last of them.
    """

    subaccount_id: str
    session_id: str
    recording_id: str
    archive_status: ArchiveStatus
    error: str | None = None
    source: LandingObject | None = None
    kept: KeptFile | None = None
    quarantine_uri: str | None = None
    versions: tuple[Version, ...] = ()
