"""Transfer one recording's object from the landing into the archive, with retries; refusals become states here as well."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from threading import Event

from callarchive.archiving.fetcher.account_day import AccountDay
from callarchive.archiving.fetcher.states import RecordingStates
from callarchive.archiving.fetcher.wanted import Wanted
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
from callarchive.domain.landing_objects import SourceEvidence
from callarchive.domain.models import ApiStatus, ArchiveStatus, KeptFile, RecordingFile, Version
from callarchive.runtime.retry import Backoff
from callarchive.runtime.worker_pool import StoppedError
from callarchive.storage.landing import Download, Gap
from callarchive.storage.landing.object_finder import UnseenError

log = logging.getLogger(__name__)

_BACKOFF = Backoff(first_s=0.4, longest_s=10, jitter=0.5)


class Transfers:
    """The transfers of one account's day. Thread-safe."""

    def __init__(self, day: AccountDay, states: RecordingStates) -> None:
        self._day = day
        self._states = states

    def transfer(
        self,
        item: Wanted,
        earlier: RecordingFile | None,
        stop: Event,
        open_object: Callable[[], AbstractContextManager[Download]],
    ) -> RecordingFile:
        """Return the state that the object's bytes, or an error with them, give the recording.

        Raises:
            ObjectNotFoundError, UnseenError, AccessDeniedError: there is no such object, or it is refused.
            ArchiveError: the next recording would fail as well.
        """
        attempts = self._day.transfer.attempts
        for attempt in range(1, attempts + 1):
            try:
                return self._transfer_once(item, earlier, stop, open_object())
            except (ObjectNotFoundError, UnseenError, RefusedError, StoreError, ConfigurationError):
                raise
            except ArchiveUnavailableError:
                raise  # the next recording would fail as well
            except ArchiveError as err:
                log.info("recording %s, attempt %d: %s", item.recording.recording_id, attempt, err)
                if err.retryable and isinstance(err, (UnavailableError, TransferError)):
                    self._day.concurrency.on_throttled()
                if isinstance(err, UnavailableError):
                    self._day.landing.check()  # raises, and ends the run, unless only this object is unavailable
                if attempt == attempts or not err.retryable:
                    error = f"after {attempt} attempts: {err}" if err.retryable else str(err)
                    return self._states.without_file(item, earlier, ArchiveStatus.FAILED, error)
                if stop.wait(_BACKOFF.pause_s(attempt)):
                    raise StoppedError from None
        raise AssertionError("attempts is at least 1")

    def denied(
        self, item: Wanted, earlier: RecordingFile | None, err: ArchiveError, gaps: Sequence[Gap]
    ) -> RecordingFile:
        """Return the state of a recording whose object, or the place where it may be, is refused.

        What 8x8 itself reports as not uploaded stays so: that is urgent, and the refusal does not contradict it.

        Raises:
            AccessDeniedError: the landing as a whole is refused, or no object can be read at all.
        """
        if isinstance(err, ArchiveDeniedError):
            raise err
        with self._day.counts.lock:
            self._day.counts.denied_count += 1
            none_read = not self._day.counts.fetched_count and not self._day.counts.unchanged_count
            denied_count = self._day.counts.denied_count if none_read else 0
        self._day.refusals.judge(err, gaps, denied_without_a_read=denied_count)
        if earlier is not None and earlier.kept is not None:
            return earlier
        status = item.recording.api_status
        if status in (ApiStatus.UPLOAD_FAILED, ApiStatus.PROCESSING_FAILED):
            return self._states.without_object(item, earlier, str(err))
        return self._states.without_file(item, earlier, ArchiveStatus.FAILED, str(err))

    def _transfer_once(
        self,
        item: Wanted,
        earlier: RecordingFile | None,
        stop: Event,
        opening: AbstractContextManager[Download],
    ) -> RecordingFile:
        with opening as download:
            kept = self._day.archive.keep(
                download,
                subaccount_id=self._day.subaccount_id,
                day=self._day.date,
                session_id=item.session_id,
                recording_id=item.recording.recording_id,
                stop=stop,
            )
            source = download.object
        before = earlier.kept.archive_path if earlier is not None and earlier.kept is not None else None
        with self._day.counts.lock:
            self._day.counts.fetched_again_count += isinstance(kept, KeptFile) and kept.archive_path == before
            self._day.counts.fetched_count += 1
            self._day.counts.fetched_bytes += source.size_bytes
            self._day.counts.size_only_count += source.evidence is SourceEvidence.SIZE
        if isinstance(kept, Rejection):
            file = self._states.without_file(item, earlier, ArchiveStatus.REJECTED, kept.reason)
            return replace(file, source=source, quarantine_uri=kept.quarantine_uri)
        return RecordingFile(
            subaccount_id=self._day.subaccount_id,
            session_id=item.session_id,
            recording_id=item.recording.recording_id,
            archive_status=ArchiveStatus.ARCHIVED,
            source=source,
            kept=kept,
            versions=self._versions(earlier, kept),
        )

    def _versions(self, earlier: RecordingFile | None, kept: KeptFile) -> tuple[Version, ...]:
        """Return the known versions, the first one if a killed run left it without a record, and the one just kept, last."""
        known = {version.archive_path: version for version in (earlier.versions if earlier is not None else ())}
        first = first_version_of(kept.archive_path)
        if first not in known and first != kept.archive_path:
            known = {first: Version(first, self._day.archive.sha256_of(first)), **known}
        known.pop(kept.archive_path, None)
        return (*known.values(), Version(kept.archive_path, kept.sha256))
