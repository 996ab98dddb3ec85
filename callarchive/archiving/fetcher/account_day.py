"""One account's day: what a fetch of its recordings works with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta

from callarchive.archiving.fetcher.wanted import FetchCounts
from callarchive.archiving.recording_archive import RecordingArchive
from callarchive.domain.days import Clock
from callarchive.domain.evidence import Unknown
from callarchive.runtime.adaptive_limit import Adaptive
from callarchive.settings import TransferSettings
from callarchive.storage.landing import Landing
from callarchive.storage.landing.contents import LandingContents
from callarchive.storage.landing.date_folders import DateFolders
from callarchive.storage.landing.refusals import Refusals


@dataclass(eq=False, kw_only=True)
class AccountDay:
    """An account's day: where its recordings come from, where they go, and what its fetch counts. Thread-safe.

    Attributes:
        root: the landing's prefix or folder, as in the account's `landing`.
        date_folders: what is known of the landing's date folders.
        clock: decides between pending and missing.
        give_up_after: the time after the call after which a recording that 8x8 is still processing is missing; None: never.
        listing: returns the landing's contents, or why they are not known; None if the landing may not be listed. Called only
            when a recording is nowhere else.
        counts, refusals: of this fetch.
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
