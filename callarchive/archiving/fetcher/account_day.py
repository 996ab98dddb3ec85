"""One account's day: what a fetch of its recordings works with, and the recordings to fetch."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from threading import Lock

from callarchive.archiving.recording_archive import RecordingArchive
from callarchive.domain.days import Clock
from callarchive.domain.evidence import Unknown
from callarchive.domain.models import ApiRecording, RecordingFile
from callarchive.domain.recording_start import recording_start
from callarchive.runtime.adaptive_limit import Adaptive
from callarchive.settings import TransferSettings
from callarchive.storage.landing import Landing
from callarchive.storage.landing.contents import LandingContents
from callarchive.storage.landing.date_folders import DateFolders
from callarchive.storage.landing.refusals import Refusals


@dataclass(frozen=True, slots=True)
class Wanted:
    """A recording that 8x8 names, and what an earlier run left of it.

    Attributes:
        call_at: the best known time of the call: decides when a file that is not there counts as missing.
        file_path: the file's path according to a webhook event. Never trusted: see `landing.places`.
        uploaded: whether a webhook event reports that the file was pushed; the API may be behind.
    """

    session_id: str
    recording: ApiRecording
    earlier: RecordingFile | None
    call_at: datetime
    file_path: str | None = None
    uploaded: bool = False


@dataclass(slots=True)
class FetchCounts:
    """Counts of one account's day. Hold `lock` while changing one from a thread of the fetch."""

    fetched_count: int = 0
    fetched_bytes: int = 0
    unchanged_count: int = 0
    denied_count: int = 0
    uncompared_count: int = 0
    elsewhere_count: int = 0
    size_only_count: int = 0
    reread_count: int = 0
    fetched_again_count: int = 0
    """Downloads of a changed source whose bytes were already archived."""
    lock: Lock = field(default_factory=Lock, repr=False, compare=False)


@dataclass(eq=False, kw_only=True)
class AccountDay:
    """An account's day: where its recordings come from, where they go, and what its fetch counts. Thread-safe.

    Attributes:
        root: the landing's prefix or folder, as in the account's `landing`.
        clock: decides between pending and missing.
        give_up_after: the time after the call after which a recording that 8x8 is still processing is missing; None: never.
        listing: returns the landing's contents, or why they are not known; None if the landing may not be listed. Called only
            when a recording is nowhere else.
        concurrency: lowered when the landing fails a transfer.
    """

    subaccount_id: str
    date: date
    landing: Landing
    root: str
    date_folders: DateFolders
    archive: RecordingArchive
    transfer: TransferSettings
    clock: Clock
    give_up_after: timedelta | None = None
    listing: Callable[[], LandingContents | Unknown] | None = None
    counts: FetchCounts = field(default_factory=FetchCounts)
    refusals: Refusals = field(init=False)
    concurrency: Adaptive = field(init=False)

    def __post_init__(self) -> None:
        self.refusals = Refusals(self.landing, subaccount_id=self.subaccount_id)
        self.concurrency = Adaptive(self.landing.concurrency)


def call_time(
    recording: ApiRecording, session_started_at: datetime | None, *, day: date, day_end: datetime, now: datetime
) -> datetime:
    """Return when the call was: the recording's start, else the session's, else the end of its day."""
    id_, name = recording.recording_id, recording.external_file_url
    started_at, _ = recording_start(api=recording.started_at, file_name=name, recording_id=id_, call_date=day, now=now)
    return started_at or session_started_at or day_end
