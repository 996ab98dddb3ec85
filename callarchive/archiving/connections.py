"""Everything that a run talks to, opened when first needed and closed together. Importing it is cheap."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Self

from callarchive.archiving.catalog_day import CatalogDay
from callarchive.archiving.landings import Landings
from callarchive.domain.days import Clock, utc_now
from callarchive.domain.errors import ArchiveError, ConfigurationError
from callarchive.settings import AccountSettings, Settings

if TYPE_CHECKING:
    from callarchive.events.inbox.inbox import Inbox
    from callarchive.sources import SessionSource
    from callarchive.voice_api.client import VoiceClient

log = logging.getLogger(__name__)

_LOCK_WAIT_S = 3600.0
_SQLITE = "sqlite:///"


class Connections:
    """The archive, the catalog, and each account's API client and landing. A context manager; thread-safe.

    Raises ConfigurationError if a secret is not set, before anything is contacted. Its repr contains no secret.
    """

    def __init__(self, settings: Settings, *, clock: Clock = utc_now) -> None:
        from callarchive.archiving.ledger_recorder import LedgerRecorder
        from callarchive.archiving.recording_archive import RecordingArchive
        from callarchive.archiving.responses.store import ResponseStore
        from callarchive.catalog.parquet_catalog import Catalog
        from callarchive.custody.erasures import ErasureRegister
        from callarchive.custody.holds import Holds
        from callarchive.ledger.opening import open_anchor, open_ledger
        from callarchive.storage.stores.opening import open_store

        settings.require_secrets()
        for account in settings.accounts:
            if account.landing.startswith("sftp://"):
                from callarchive.storage.landing.sftp.landing import check_sftp_settings

                check_sftp_settings(account)
        self.settings = settings
        self.clock = clock
        self.catalog = Catalog(open_store(settings.catalog.url, settings.catalog.s3))
        kept = settings.archive
        self.archive = RecordingArchive(open_store(kept.url, kept.s3, objects=kept.objects), clock=clock)
        self.ledger = open_ledger(settings, self.archive.store, clock=clock)
        self.anchor = open_anchor(settings, self.ledger)
        self.recorder = LedgerRecorder(self.ledger, self.catalog, self.anchor)
        self.holds = Holds(self.archive.store)
        self.register = ErasureRegister(self.archive.store)
        self.responses = ResponseStore(self.catalog.store, self.register)
        self.landings = Landings(settings, clock=clock)
        self._voices: dict[str, VoiceClient] = {}
        self._inbox: Inbox | None = None
        self._pruned = False
        self._zone_is_checked = False
        self._opening = Lock()

    def __repr__(self) -> str:
        return f"Connections({self.settings.path})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. May be called twice."""
        with self._opening:
            for voice in self._voices.values():
                voice.close()
            self.landings.close()
            if self._inbox is not None:
                self._inbox.close()
            self._inbox = None
            self._voices.clear()

    def voice(self, account: AccountSettings) -> "VoiceClient":
        """Return the account's API client."""
        from callarchive.voice_api.client import VoiceClient

        with self._opening:
            if account.subaccount_id not in self._voices:
                self._voices[account.subaccount_id] = VoiceClient(account, self.settings.lookups, clock=self.clock)
            return self._voices[account.subaccount_id]

    def inbox(self) -> "Inbox | None":
        """Return the inbox of webhook events; None until a receiver has created it. Raises ArchiveError."""
        url = self.settings.inbox.url
        if url.startswith(_SQLITE) and not Path(url.removeprefix(_SQLITE)).exists():
            return None  # before SQLAlchemy costs 0.2 s of import
        from callarchive.events.inbox.inbox import Inbox

        with self._opening:
            if self._inbox is None:
                self._inbox = Inbox.open_existing(url, clock=self.clock)
            return self._inbox

    def prune_inbox(self) -> int:
        """Remove old events that their days have ingested, and return their number. Only the first call does anything.

        Events that an older version stored unredacted are cleaned first.
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
        """Return the account's session sources. With `reread`, they use the stored responses instead of asking 8x8."""
        from callarchive.sources.opening import open_sources

        return open_sources(
            account,
            self.settings.zone,
            voice=self.voice(account),
            responses=self.responses,
            clock=self.clock,
            inbox=self.inbox,
            key=self.settings.key_of(account, "session_sources"),
            folder=None if self.settings.path is None else self.settings.path.parent,
            reread=reread,
        )

    def catalog_day(self, day: date) -> CatalogDay:
        """Return the day as the steps see it."""
        return CatalogDay(day, self.catalog, self.settings, self.clock, self.recorder, self.register)

    def custody_lock(self) -> AbstractContextManager[None]:
        """Return the lock that serializes changes of holds and erasures. Take it before the lock of a day."""
        return self.catalog.store.lock("custody", wait_s=_LOCK_WAIT_S)

    @contextmanager
    def custody_lock_for_reading(self) -> Iterator[None]:
        """Hold the custody lock, or continue with a warning where the catalog's store has no reliable locks."""
        with ExitStack() as held:
            try:
                held.enter_context(self.custody_lock())
            except ConfigurationError as err:
                log.warning("holds and erasures are read without their lock: %s", err)
            yield

    def neighbours_lock(self) -> AbstractContextManager[None]:
        """Return the lock that is held while sessions are assigned to one of two neighbouring days."""
        return self.catalog.store.lock("session_ids", wait_s=_LOCK_WAIT_S)

    @contextmanager
    def day_lock(self, day: date) -> Iterator[None]:
        """Hold the day's lock, which serializes runs on the same catalog. Waits up to an hour for a run in progress.

        Removes temporary files that killed runs left. Raises ConfigurationError if the catalog's days are of another zone.
        """
        from callarchive.archiving.transfer_journal import journal_folder
        from callarchive.catalog.zone import require_same_zone

        if not self._zone_is_checked:
            require_same_zone(self.catalog, self.settings, now=self.clock())
            self._zone_is_checked = True
        store = self.catalog.store
        with store.lock(f"call_date={day}", wait_s=_LOCK_WAIT_S):
            self.register.begin_day(day)
            with self._opening:
                for voice in self._voices.values():
                    voice.begin_day()
            for folder in (*self.catalog.day_folders(day), *self.responses.day_folders(day), journal_folder(day)):
                try:
                    store.sweep(folder)
                except ArchiveError as err:
                    log.warning("temporary files below %s were not removed: %s", folder, err)
            with self.recorder.day():
                yield

    @contextmanager
    def day_lock_for_reading(self, day: date) -> Iterator[None]:
        """Hold the day's lock, or continue with a warning where the catalog's store has no reliable locks."""
        with ExitStack() as held:
            try:
                held.enter_context(self.day_lock(day))
            except ConfigurationError as err:
                why = "is read without its lock, so a run at the same time may look like a defect"
                log.warning("%s %s: %s", day, why, err)
            yield
