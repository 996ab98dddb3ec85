"""Transfers during the second step: recordings that 8x8 has just listed are downloaded while lookups wait for its rate cap.

They are then in the archive and in the transfer's journal, as after a killed run. The third step finds them there, and decides
about all others: what fails here is left to it, and reported by it.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import SimpleQueue
from threading import Thread

from callarchive.archiving.catalog_day import CatalogDay
from callarchive.archiving.fetcher.account_day import AccountDay, Wanted
from callarchive.archiving.fetcher.comparison import Comparison
from callarchive.archiving.fetcher.fetcher import Fetcher
from callarchive.archiving.landings import Landings
from callarchive.archiving.recording_archive import RecordingArchive
from callarchive.archiving.steps.fetching import EarlyFiles, open_account_day
from callarchive.archiving.transfer_journal import TransferJournal
from callarchive.catalog import schemas
from callarchive.catalog.arrow_columns import keys_of
from callarchive.domain.errors import ArchiveError
from callarchive.domain.models import ArchiveStatus, Lookup, RecordingFile
from callarchive.runtime.worker_pool import StoppedError
from callarchive.settings import AccountSettings

log = logging.getLogger(__name__)

_MEASURED_S, _IDLE = 1.0, 0.25
"""Transfers begin if the lookups of this many seconds took at most this share of a CPU: else they would delay each other."""

_QUEUED = 1000
"""Recordings beyond these are left to the third step: then transfers are the slower part."""

_RECORDING = ("subaccount_id", "recording_id")

_MISSES = 16
"""After that many recordings without a file, if no more had one, the others are left to the third step."""


class EarlyTransfers:
    """The early transfers of a day's run. `files` are their results by subaccount_id."""

    def __init__(self, archive: RecordingArchive, landings: Landings) -> None:
        self._archive = archive
        self._landings = landings
        self.files: dict[str, EarlyFiles] = {}

    @contextmanager
    def during_lookups(self, day: CatalogDay, account: AccountSettings) -> Iterator[Callable[[Lookup], None]]:
        """Yield a function that takes each lookup of the account. At the end of the block, wait for running transfers.

        If the block fails, they are stopped.
        """

        def open_day() -> AccountDay:
            transfer = day.settings.transfer.model_copy(update={"attempts": 1})  # the third step retries, and lists
            account_day = open_account_day(day, account, self._archive, self._landings)
            return replace(account_day, transfer=transfer, listing=None)

        files = self.files[account.subaccount_id] = EarlyFiles()
        early = _AccountTransfers(day, account.subaccount_id, open_day, files)
        try:
            yield early.offer
            early.finish()
        finally:
            early.stop()


class _AccountTransfers:
    def __init__(
        self, day: CatalogDay, subaccount_id: str, open_day: Callable[[], AccountDay], files: EarlyFiles
    ) -> None:
        self._day = day
        self._subaccount_id = subaccount_id
        self._open_day = open_day
        self._files = files
        self._journal = TransferJournal(day.catalog, day.date)
        self._queue: SimpleQueue[Wanted | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._is_over = self._is_stopped = False
        self._error: BaseException | None = None
        self._measured_at, self._cpu_s = time.monotonic(), time.process_time()

    def offer(self, lookup: Lookup) -> None:
        """Queue the lookup's recordings that may be there."""
        if self._is_over:
            return
        for recording in lookup.recordings:
            if recording.api_status.uploaded and self._queue.qsize() < _QUEUED:
                self._queue.put(Wanted(lookup.session_id, recording, None, lookup.looked_up_at))
        if self._thread is None and self._is_waiting():
            self._thread = Thread(target=self._run, name=f"early-{self._subaccount_id}")
            self._thread.start()

    def finish(self) -> None:
        """Begin no more transfers, and wait for those that run. Raise an unexpected error of theirs."""
        self._is_over = True
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End all transfers and wait for that."""
        self._is_over = self._is_stopped = True
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _is_waiting(self) -> bool:
        """Return whether the lookups mostly wait."""
        now = time.monotonic()
        if now - self._measured_at < _MEASURED_S:
            return False
        cpu_s = time.process_time()
        is_idle = cpu_s - self._cpu_s <= _IDLE * (now - self._measured_at)
        self._measured_at, self._cpu_s = now, cpu_s
        return is_idle

    def _run(self) -> None:
        try:
            try:
                self._fetch(self._open_day())
            finally:
                self._is_over = True
                self._journal.flush()
        except (ArchiveError, StoppedError) as err:
            log.info("%s, %s: no transfers during the lookups: %s", self._subaccount_id, self._day.date, err)
        except BaseException as err:  # noqa: BLE001 - it is raised in the thread that waits
            self._error = err

    def _fetch(self, account_day: AccountDay) -> None:
        self._files.counts = account_day.counts
        misses = 0
        fetcher = Fetcher(account_day)
        with fetcher.fetch(self._wanted(), Comparison({}, frozenset()), record=self._record) as settled:
            for file in settled:
                misses += file.archive_status is not ArchiveStatus.ARCHIVED
                if self._is_stopped or misses > max(_MISSES, len(self._files.recording_ids)):
                    return

    def _wanted(self) -> Iterator[Wanted]:
        """Yield the recordings without a row, until `finish` or `stop`."""
        known = set(keys_of(self._journal.known(_RECORDING), _RECORDING).to_pylist())
        events = self._day.rows(schemas.RECORDING_EVENTS, columns=(*_RECORDING, "file_path"))
        events = events.filter(events["file_path"].is_valid())
        paths = dict(zip(keys_of(events, _RECORDING).to_pylist(), events["file_path"].to_pylist(), strict=True))
        while (item := self._queue.get()) is not None and not self._is_over:
            key = f"{self._subaccount_id}/{item.recording.recording_id}"
            if key not in known:
                yield replace(item, file_path=paths.get(key))
        if self._is_stopped:
            raise StoppedError

    def _record(self, file: RecordingFile) -> None:
        if file.archive_status is ArchiveStatus.ARCHIVED:
            self._journal.add(file)
            self._files.recording_ids.append(file.recording_id)
