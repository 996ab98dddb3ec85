"""Everything that a run talks to, opened when first needed and closed together.

Built in one place from settings, so that steps, commands and assets take it as it is. Its repr holds no secret.
Importing it is cheap: what costs (pyarrow, requests, boto3, paramiko) is imported where it is first opened.
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit

from callarchive.domain.days import Clock, utc_now
from callarchive.domain.errors import ArchiveError, ConfigurationError
from callarchive.settings import AccountSettings, Settings
from callarchive.storage.landing import Landing

if TYPE_CHECKING:
    from callarchive.events.inbox.inbox import Inbox
    from callarchive.sources import SessionSource
    from callarchive.storage.landing.contents import LandingContents
    from callarchive.storage.landing.date_folders import DateFolders
    from callarchive.voice_api.client import VoiceClient

log = logging.getLogger(__name__)

_LOCK_WAIT_S = 3600.0
_SQLITE = "sqlite:///"


class Connections:
    """The archive, the catalog, and each account's API client and landing. A context manager; thread-safe.

    Raises:
        ConfigurationError: a secret is not set. Nothing has been contacted then.
    """

    def __init__(self, settings: Settings, *, clock: Clock = utc_now) -> None:
        from callarchive.archiving.recording_archive import RecordingArchive
        from callarchive.archiving.responses.store import ResponseStore
        from callarchive.catalog.parquet_catalog import Catalog
        from callarchive.storage.stores.opening import open_store

        settings.require_secrets()
        for account in settings.accounts:
            if account.landing.startswith("sftp://"):
                from callarchive.storage.landing.sftp.landing import check_sftp_settings

                check_sftp_settings(account)
        self.settings = settings
        self.clock = clock
        self.catalog = Catalog(open_store(settings.catalog.url, settings.catalog.s3))
        self.archive = RecordingArchive(open_store(settings.archive.url, settings.archive.s3), clock=clock)
        self.answers = ResponseStore(self.catalog.store)
        self._voices: dict[str, VoiceClient] = {}
        self._landings: dict[str, Landing] = {}
        self._contents: dict[str, LandingContents] = {}
        self._date_folders: dict[str, DateFolders] = {}
        self._inbox: Inbox | None = None
        self._pruned = False
        self._zone_is_checked = False
        self._opening = Lock()
        self._listing = Lock()

    def __repr__(self) -> str:
        return f"Connections({self.settings.path})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of all connections. May be called twice."""
        with self._opening:
            for voice in self._voices.values():
                voice.close()
            for landing in self._landings.values():
                landing.close()
            if self._inbox is not None:
                self._inbox.close()
            self._inbox = None
            self._voices.clear()
            self._landings.clear()
            self._contents.clear()
            self._date_folders.clear()

    def voice(self, account: AccountSettings) -> "VoiceClient":
        """The account's API client."""
        from callarchive.voice_api.client import VoiceClient

        with self._opening:
            if account.subaccount_id not in self._voices:
                self._voices[account.subaccount_id] = VoiceClient(account, self.settings.lookups, clock=self.clock)
            return self._voices[account.subaccount_id]

    def landing(self, account: AccountSettings) -> Landing:
        """The account's landing. Raises HostKeyError, AccessDeniedError or UnavailableError at the first use."""
        with self._opening:
            if account.subaccount_id not in self._landings:
                self._landings[account.subaccount_id] = _open_landing(account, self.settings)
            return self._landings[account.subaccount_id]

    def date_folders(self, account: AccountSettings) -> "DateFolders":
        """What is known of the date folders in the account's landing, for all days of a run."""
        from callarchive.storage.landing.date_folders import DateFolders

        landing = self.landing(account)
        with self._opening:
            return self._date_folders.setdefault(account.subaccount_id, DateFolders(landing, clock=self.clock))

    def landing_contents(self, account: AccountSettings, day: date) -> "LandingContents":
        """What lies in the account's landing of the day's calls: a bucket is listed for a month at once, and again after 15
        minutes.

        Raises:
            ArchiveError: the landing cannot be listed.
        """
        from callarchive.storage.landing.contents import GOOD_FOR, list_contents

        with self._listing:
            known, now = self._contents.get(account.subaccount_id), self.clock()
            if known is None or not known.first <= day <= known.last or now - known.listed_at > GOOD_FOR:
                self._contents.pop(account.subaccount_id, None)  # two at once would take twice the memory
                known = list_contents(self.landing(account), day, zone=self.settings.zone, now=now)
                self._contents[account.subaccount_id] = known
            return known

    def inbox(self) -> "Inbox | None":
        """The inbox of webhook events; null as long as no receiver has made its file.

        Raises:
            UnavailableError, StoreError, ConfigurationError: it cannot be opened.
        """
        url = self.settings.inbox.url
        if url.startswith(_SQLITE) and not Path(url.removeprefix(_SQLITE)).exists():
            return None  # before SQLAlchemy costs 0.2 s of import
        from callarchive.events.inbox.inbox import Inbox

        with self._opening:
            if self._inbox is None:
                self._inbox = Inbox.open_existing(url, clock=self.clock)
            return self._inbox

    def prune_inbox(self) -> int:
        """Old events that their days have taken over are gone; looked for once in the life of these connections.

        Events that an older version kept whole are cleaned first.

        Raises:
            UnavailableError, StoreError: inbox or catalog cannot be asked.
        """
        inbox = self.inbox()
        if inbox is None or self._pruned:
            return 0
        self._pruned = True
        from callarchive.events.inbox.pruning import prune_used

        keep = timedelta(days=self.settings.inbox.keep_days)
        inbox.clean()
        return prune_used(inbox, self.catalog, timezone=self.settings.zone, keep=keep)

    def sources(self, account: AccountSettings, *, reread: bool = False) -> "list[SessionSource]":
        """The account's session sources. With `reread`, kept answers are read instead of asking 8x8 again."""
        from callarchive.sources.opening import open_sources

        return open_sources(
            account,
            self.settings.zone,
            voice=self.voice(account),
            responses=self.answers,
            clock=self.clock,
            inbox=self.inbox,
            name=f"accounts.{self.settings.accounts.index(account)}",
            folder=None if self.settings.path is None else self.settings.path.parent,
            reread=reread,
        )

    def neighbours_lock(self) -> AbstractContextManager[None]:
        """Held, for a moment, by whoever decides which of two neighbouring days a session belongs to."""
        return self.catalog.store.lock("session_ids", wait_s=_LOCK_WAIT_S)

    @contextmanager
    def day_lock(self, day: date) -> Iterator[None]:
        """Holds the day against every other run on the same catalog. Waits up to an hour for one under way.

        What killed runs left unfinished beside the day's tables and answers is gone then.

        Raises:
            ConfigurationError: the catalog's days are cut in another time zone.
        """
        self._require_same_zone()
        from callarchive.archiving.transfer_journal import journal_folder

        store = self.catalog.store
        with store.lock(f"call_date={day}", wait_s=_LOCK_WAIT_S):
            for folder in (*self.catalog.day_folders(day), *self.answers.day_folders(day), journal_folder(day)):
                try:
                    store.sweep(folder)
                except ArchiveError as err:
                    log.warning("temporary files below %s were not removed: %s", folder, err)
            yield

    @contextmanager
    def day_lock_for_reading(self, day: date) -> Iterator[None]:
        """Hold the day like `day_lock`, but go on with a warning where the catalog's store has no locks that hold."""
        with ExitStack() as held:
            try:
                held.enter_context(self.day_lock(day))
            except ConfigurationError as err:
                log.warning(
                    "%s is read without its lock, so a run at the same time may look like a defect: %s", day, err
                )
            yield

    def _require_same_zone(self) -> None:
        """Once in the life of these connections."""
        if not self._zone_is_checked:
            from callarchive.catalog.zone import require_same_zone

            require_same_zone(self.catalog, self.settings, now=self.clock())
            self._zone_is_checked = True


def landing_root(account: AccountSettings) -> str:
    """The prefix or folder in the account's `landing`, without slashes at the ends."""
    return unquote(urlsplit(account.landing).path).strip("/")


def _open_landing(account: AccountSettings, settings: Settings) -> Landing:
    # Most accounts need only one of them; boto3 with obstore and paramiko cost 0.1 to 0.3 s each.
    if account.landing.startswith("s3://"):
        from callarchive.storage.landing.s3.landing import S3Landing

        return S3Landing(account, settings.transfer, concurrency=settings.transfer.concurrency)
    from callarchive.storage.landing.sftp.landing import SftpLanding

    return SftpLanding(account, settings.transfer, concurrency=settings.transfer.concurrency)
