"""The models of sessions, lookups and recordings. Time stamps are aware UTC; `None`: no source gave a value."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from callarchive.domain.landing_objects import LandingObject


class ApiStatus(StrEnum):
    """8x8's status of a recording: the seven documented values."""

    PROCESSING = "PROCESSING"
    PROCESSING_FAILED = "PROCESSING_FAILED"
    UPLOAD_COMPLETED = "UPLOAD_COMPLETED"
    UPLOAD_FAILED = "UPLOAD_FAILED"
    CALLBACK_COMPLETED = "CALLBACK_COMPLETED"
    CALLBACK_FAILED = "CALLBACK_FAILED"
    UNKNOWN = "UNKNOWN"

    @property
    def uploaded(self) -> bool:
        """Whether 8x8 reports the file as pushed. The callback follows the upload."""
        return self in (ApiStatus.UPLOAD_COMPLETED, ApiStatus.CALLBACK_COMPLETED, ApiStatus.CALLBACK_FAILED)


class ArchiveStatus(StrEnum):
    """Our status of a recording."""

    ARCHIVED = "archived"
    PENDING = "pending"
    MISSING = "missing"
    REJECTED = "rejected"
    FAILED = "failed"
    NOT_UPLOADED = "not_uploaded"
    ERASED = "erased"


class LookupStatus(StrEnum):
    """The result of a lookup of a session in 8x8's API."""

    OK = "ok"
    NO_RECORDINGS = "no_recordings"
    NOT_FOUND = "not_found"
    ERROR = "error"


NEGATIVE = (LookupStatus.NO_RECORDINGS, LookupStatus.NOT_FOUND)
"""Results without a recording. One alone is not final: see `lookup_tables.final`."""


class Discrepancy(StrEnum):
    """The kinds of rows in `reconciliation`."""

    CONNECTED_CALL_WITHOUT_RECORDING = "connected_call_without_recording"
    RECORDING_WITHOUT_FILE = "recording_without_file"
    ORPHAN_OBJECT = "orphan_object"
    FILE_WITHOUT_ROW = "file_without_row"
    ROW_WITHOUT_FILE = "row_without_file"
    EVENT_WITHOUT_SESSION = "event_without_session"
    DURATION_MISMATCH = "duration_mismatch"
    SESSION_NOT_FOUND = "session_not_found"


class AudioIssue(StrEnum):
    """A flaw of archived audio."""

    TRUNCATED = "truncated"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Session:
    """A session as its sources describe it."""

    subaccount_id: str
    session_id: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    session_status: str | None = None
    call_count: int | None = None  # number of legs
    call_duration_s: float | None = None  # the longest leg's duration, from connected to disconnected
    price: Decimal | None = None  # of all legs; `None` when they differ in currency
    price_currency: str | None = None
    source_number: str | None = None  # both masked as the account's `phone_numbers` says; `None` when dropped
    destination_number: str | None = None
    sources: tuple[str, ...] = ()  # their kinds, sorted
    mos: float | None = None  # call quality of the worst leg, 1 to 5


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A row of a session source that was skipped. `line` counts from 1; `None` where the format has no lines."""

    source: str
    file: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        return f"{self.file}{'' if self.line is None else f', line {self.line}'}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Findings:
    """A source's result for a day: its sessions, the skipped rows, and the ids of sessions that belong to other days."""

    sessions: tuple[Session, ...] = ()
    problems: tuple[RowProblem, ...] = ()
    other_days: frozenset[str] = field(default=frozenset(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ApiRecording:
    """A recording in a response of 8x8's API."""

    recording_id: str
    api_status: ApiStatus
    api_status_raw: str | None = None  # the original text; `None` if absent
    # Where 8x8 reports that it put the file. Never downloaded: see `landing.places`.
    external_file_url: str | None = None
    duration_api_s: float | None = None  # the API's value, taken as seconds
    started_at: datetime | None = None  # `startRecordingTime`; `None` when unset (8x8 sends -1 ms) or implausible


@dataclass(frozen=True, slots=True)
class Lookup:
    """One response of the API for one session."""

    session_id: str
    status: LookupStatus
    looked_up_at: datetime
    recordings: tuple[ApiRecording, ...] = ()
    # Why the status is `error`, else `None`. `recordings` has those that could be parsed even then.
    error: str | None = None
    http_status: int | None = None
    body: str | None = None  # the original response, for the response store; `None` if there was none
    unreachable: bool = False  # the API did not respond at all; if that is so for every session, the run fails


@dataclass(frozen=True, slots=True)
class Mp3Facts:
    """Measurements of an mp3 by a walk over its frames. Rates are the first frame's; `duration_s` is what can be decoded."""

    duration_s: float
    frame_count: int
    bitrate_kbps: float
    sample_rate_hz: int
    channels: int
    audio_issue: AudioIssue | None = None
    issue_detail: str | None = None
    silent_channels: tuple[int, ...] | None = None  # with nothing to hear, counted from 1; `None` if not measured


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A verified file in the archive."""

    archive_path: str
    size_bytes: int
    sha256: str
    audio: Mp3Facts
    archived_at: datetime


@dataclass(frozen=True, slots=True)
class Version:
    """One of the versions of a recording whose bytes changed at the source; all are kept."""

    archive_path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """A recording's state, and its file if one is kept."""

    subaccount_id: str
    session_id: str
    recording_id: str
    archive_status: ArchiveStatus
    error: str | None = None  # why there is no file, else `None`
    source: LandingObject | None = None  # the object when it was read; a rerun compares it with the landing
    kept: KeptFile | None = None
    quarantine_uri: str | None = None  # where bytes that are not audio are kept
    versions: tuple[Version, ...] = ()  # all versions kept, oldest first; `kept` is the last of them
