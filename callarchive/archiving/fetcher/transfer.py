"""Transfer one recording's object from the landing into the archive, with retries, or determine its state without one."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from threading import Event

from callarchive.archiving.fetcher.account_day import AccountDay, Wanted
from callarchive.archiving.recording_archive import Rejection, first_version_of
from callarchive.domain.errors import (
    ArchiveDeniedError,
    ArchiveError,
    ArchiveUnavailableError,
    ConfigurationError,
    ObjectNotFoundError,
    RefusedError,
    StoreError,
    TransferError,
    UnavailableError,
)
from callarchive.domain.foreign_text import cleaned
from callarchive.domain.landing_objects import SourceEvidence
from callarchive.domain.models import ApiStatus, ArchiveStatus, KeptFile, RecordingFile, Version
from callarchive.runtime.retry import Backoff
from callarchive.runtime.worker_pool import StoppedError
from callarchive.storage.landing import Download, Gap
from callarchive.storage.landing.object_finder import UnseenError

log = logging.getLogger(__name__)

_BACKOFF = Backoff(first_s=0.4, longest_s=10, jitter=0.5)
_ERROR_CHARS = 2000
_RAISED = (
    *(ObjectNotFoundError, UnseenError, RefusedError, StoreError, ConfigurationError),
    ArchiveUnavailableError,  # the next recording would fail as well
)


class Transfers:
    """The transfers of one account's day. Thread-safe."""

    def __init__(self, day: AccountDay) -> None:
        self._day = day

    def transfer(
        self, item: Wanted, stop: Event, open_object: Callable[[], AbstractContextManager[Download]]
    ) -> RecordingFile:
        """Return the state that the object's bytes, or an error with them, give the recording.

        Raises ObjectNotFoundError, UnseenError and AccessDeniedError, and errors that the next recording would share.
        """
        attempts = self._day.transfer.attempts
        for attempt in range(1, attempts + 1):
            try:
                return self._transfer_once(item, stop, open_object())
            except _RAISED:
                raise
            except ArchiveError as err:
                log.info("recording %s, attempt %d: %s", item.recording.recording_id, attempt, err)
                if err.retryable and isinstance(err, (UnavailableError, TransferError)):
                    self._day.concurrency.on_throttled()
                if isinstance(err, UnavailableError):
                    self._day.landing.check()  # raises, and ends the run, unless only this object is unavailable
                if attempt == attempts or not err.retryable:
                    error = f"after {attempt} attempts: {err}" if err.retryable else str(err)
                    return self.without_file(item, ArchiveStatus.FAILED, error)
                if stop.wait(_BACKOFF.pause_s(attempt)):
                    raise StoppedError from None
        raise AssertionError("attempts is at least 1")

    def denied(self, item: Wanted, err: ArchiveError, gaps: Sequence[Gap]) -> RecordingFile:
        """Return the state of a recording whose object, or the place where it may be, is refused.

        What 8x8 itself reports as not uploaded stays so: that is urgent, and the refusal does not contradict it.
        Raises AccessDeniedError if the landing as a whole is refused, or no object can be read at all.
        """
        if isinstance(err, ArchiveDeniedError):
            raise err
        with self._day.counts.lock:
            self._day.counts.denied_count += 1
            none_read = not self._day.counts.fetched_count and not self._day.counts.unchanged_count
            denied_count = self._day.counts.denied_count if none_read else 0
        self._day.refusals.judge(err, gaps, denied_without_a_read=denied_count)
        if item.earlier is not None and item.earlier.kept is not None:
            return item.earlier
        if item.recording.api_status in (ApiStatus.UPLOAD_FAILED, ApiStatus.PROCESSING_FAILED):
            return self.without_object(item, str(err))
        return self.without_file(item, ArchiveStatus.FAILED, str(err))

    def without_object(self, item: Wanted, reason: str) -> RecordingFile:
        """Return the state of a recording that has no object: pending, missing or not uploaded."""
        status, age = item.recording.api_status, self._day.clock() - item.call_at
        if status is ApiStatus.PROCESSING:
            give_up_after = self._day.give_up_after
            if give_up_after is None or age < give_up_after:
                return self.without_file(item, ArchiveStatus.PENDING, reason)
            late = f"{reason} after {give_up_after / timedelta(days=1):g} days: given up"
            return self.without_file(item, ArchiveStatus.MISSING, late)
        if not status.uploaded:
            raw = item.recording.api_status_raw or "nothing"
            return self.without_file(item, ArchiveStatus.NOT_UPLOADED, f"8x8 reports {ascii(raw)[1:-1]}; {reason}")
        is_young = age < timedelta(hours=self._day.transfer.missing_after_hours)
        return self.without_file(item, ArchiveStatus.PENDING if is_young else ArchiveStatus.MISSING, reason)

    def without_file(self, item: Wanted, status: ArchiveStatus, error: str) -> RecordingFile:
        """Return this state, or the earlier one if it has a kept file, which stays whatever the source reports."""
        earlier = item.earlier
        if earlier is not None and earlier.kept is not None:
            log.warning("recording %s stays archived; its source now: %s", item.recording.recording_id, error)
            return earlier
        return RecordingFile(
            subaccount_id=self._day.subaccount_id,
            session_id=item.session_id,
            recording_id=item.recording.recording_id,
            archive_status=status,
            error=cleaned(error, limit=_ERROR_CHARS),
            versions=earlier.versions if earlier is not None else (),
        )

    def _transfer_once(self, item: Wanted, stop: Event, opening: AbstractContextManager[Download]) -> RecordingFile:
        ids = {
            "subaccount_id": self._day.subaccount_id,
            "session_id": item.session_id,
            "recording_id": item.recording.recording_id,
        }
        with opening as download:
            kept = self._day.archive.keep(download, day=self._day.date, stop=stop, **ids)
            source = download.object
        before = item.earlier.kept.archive_path if item.earlier is not None and item.earlier.kept is not None else None
        with self._day.counts.lock:
            self._day.counts.fetched_again_count += isinstance(kept, KeptFile) and kept.archive_path == before
            self._day.counts.fetched_count += 1
            self._day.counts.fetched_bytes += source.size_bytes or 0
            self._day.counts.size_only_count += source.evidence is SourceEvidence.SIZE
            self._day.counts.reread_count += source.evidence is SourceEvidence.REREAD
        if isinstance(kept, Rejection):
            file = self.without_file(item, ArchiveStatus.REJECTED, kept.reason)
            return replace(file, source=source, quarantine_uri=kept.quarantine_uri)
        versions = self._versions(item.earlier, kept)
        return RecordingFile(**ids, archive_status=ArchiveStatus.ARCHIVED, source=source, kept=kept, versions=versions)

    def _versions(self, earlier: RecordingFile | None, kept: KeptFile) -> tuple[Version, ...]:
        """Return the known versions, the first one if a killed run left it without a record, and the one just kept, last."""
        known = {version.archive_path: version for version in (earlier.versions if earlier is not None else ())}
        first = first_version_of(kept.archive_path)
        if first not in known and first != kept.archive_path:
            known = {first: Version(first, self._day.archive.sha256_of(first)), **known}
        known.pop(kept.archive_path, None)
        return (*known.values(), Version(kept.archive_path, kept.sha256))
