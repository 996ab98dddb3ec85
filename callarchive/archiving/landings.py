"""The landings of all accounts, opened when first needed, with what a run knows of their contents."""

import logging
from datetime import date
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from callarchive.domain.days import Clock
from callarchive.domain.errors import ArchiveError
from callarchive.domain.evidence import Unknown
from callarchive.settings import AccountSettings, Settings, TransferSettings
from callarchive.storage.landing import Landing

if TYPE_CHECKING:
    from callarchive.storage.landing.contents import LandingContents
    from callarchive.storage.landing.date_folders import DateFolders


log = logging.getLogger(__name__)


class Landings:
    """Each account's landing, its date folders and its listing. Thread-safe."""

    def __init__(self, settings: Settings, *, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._landings: dict[str, Landing] = {}
        self._contents: dict[str, LandingContents] = {}
        self._date_folders: dict[str, DateFolders] = {}
        self._opening = Lock()
        self._listing = Lock()

    def close(self) -> None:
        """Close all landings. May be called twice."""
        with self._opening:
            for landing in self._landings.values():
                landing.close()
            self._landings.clear()
            self._contents.clear()
            self._date_folders.clear()

    def of(self, account: AccountSettings) -> Landing:
        """Return the account's landing. Its first use raises HostKeyError, AccessDeniedError or UnavailableError."""
        with self._opening:
            if account.subaccount_id not in self._landings:
                self._landings[account.subaccount_id] = open_landing(account, self._settings.transfer)
            return self._landings[account.subaccount_id]

    def date_folders(self, account: AccountSettings) -> "DateFolders":
        """Return what is known of the landing's date folders, shared by all days of a run."""
        from callarchive.storage.landing.date_folders import DateFolders

        landing = self.of(account)
        with self._opening:
            return self._date_folders.setdefault(account.subaccount_id, DateFolders(landing, clock=self._clock))

    def contents(self, account: AccountSettings, day: date) -> "LandingContents | Unknown":
        """Return the landing's objects of the day's calls, or why they are not known, with a warning.

        A bucket is listed for a month at once, and again after 15 minutes.
        """
        from callarchive.storage.landing.contents import GOOD_FOR, list_contents

        with self._listing:
            known, now = self._contents.get(account.subaccount_id), self._clock()
            if known is None or not known.first <= day <= known.last or now - known.listed_at > GOOD_FOR:
                self._contents.pop(account.subaccount_id, None)  # two at once would take twice the memory
                try:
                    known = list_contents(self.of(account), day, zone=self._settings.zone, now=now)
                except ArchiveError as err:
                    log.warning("%s: the landing was not searched: %s", account.subaccount_id, err)
                    return Unknown(str(err))
                self._contents[account.subaccount_id] = known
            return known


def landing_root(account: AccountSettings) -> str:
    """Return the prefix or folder in the account's `landing`, without slashes at the ends."""
    return unquote(urlsplit(account.landing).path).strip("/")


def open_landing(account: AccountSettings, transfer: TransferSettings) -> Landing:
    """Return the landing of the account, which contacts nothing yet."""
    # Most accounts need only one of them; boto3 with obstore and paramiko cost 0.1 to 0.3 s each.
    if account.landing.startswith("s3://"):
        from callarchive.storage.landing.s3.landing import S3Landing

        return S3Landing(account, transfer, concurrency=transfer.concurrency)
    from callarchive.storage.landing.sftp.landing import SftpLanding

    return SftpLanding(account, transfer, concurrency=transfer.concurrency)
