"""Transfer one recording's object from the landing into the archive, with retries; refusals become states here as well."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import date
from threading import Event

from callarchive.archiving.fetcher.states import RecordingStates
from callarchive.archiving.fetcher.wanted import FetchCounts, Wanted
from callarchive.archiving.recording_archive import RecordingArchive, Rejection
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
from callarchive.runtime.adaptive_limit import Adaptive
from callarchive.runtime.retry import Backoff
from callarchive.runtime.worker_pool import StoppedError
from callarchive.storage.landing import Download, Gap, Landing
from callarchive.storage.landing.object_finder import UnseenError
from callarchive.storage.landing.refusals import Refusals

log = logging.getLogger(__name__)

_BACKOFF = Backoff(first_s=0.4, longest_s=10, jitter=0.5)


class Transfers:
    """The transfers of one account's day. Thread-safe.

    Args:
        attempts: how often a transfer is tried.
        concurrency: lowered when the landing fails a transfer.
    """

    def __init__(
        self,
        *,
        subaccount_id: str,
        day: date,
        landing: Landing,
        archive: RecordingArchive,
        attempts: int,
        concurrency: Adaptive,
        states: RecordingStates,
        counts: FetchCounts,
        refusals: Refusals,
    ) -> None:
        self._subaccount_id = subaccount_id
        self._day = day
        self._landing = landing
        self._archive = archive
        self._attempts = attempts
        self._concurrency = concurrency
        self._states = states
        self._counts = counts
        self._refusals = refusals

    def transfer(
        self,
        item: Wanted,
        earlier: RecordingFile | None,
        stop: Event,
        open_object: Callable[[], AbstractContextManager[Download]],
    ) -> RecordingFile:
        """Return the state that the object's bytes, or trouble with them, give the recording.

        Raises:
            ObjectNotFoundError, UnseenError, AccessDeniedError: there is no such object, or it is refused.
            ArchiveError: the next recording would fare no better.
        """
        for attempt in range(1, self._attempts + 1):
            try:
                return self._transfer_once(item, earlier, stop, open_object())
            except (ObjectNotFoundError, UnseenError, RefusedError, StoreError, ConfigurationError):
                raise
            except ArchiveUnavailableError:
                raise  # the next recording would fare no better
            except ArchiveError as err:
                log.info("recording %s, attempt %d: %s", item.recording.recording_id, attempt, err)
                if isinstance(err, (UnavailableError, TransferError)):
                    self._concurrency.on_throttled()
                if isinstance(err, UnavailableError):
                    self._landing.check()  # raises, and ends the run, unless only this object cannot be had
                if attempt == self._attempts:
                    return self._states.without_file(
                        item, earlier, ArchiveStatus.FAILED, f"after {attempt} attempts: {err}"
                    )
                if stop.wait(_BACKOFF.pause_s(attempt)):
                    raise StoppedError from None
        raise AssertionError("attempts is at least 1")

    def denied(
        self, item: Wanted, earlier: RecordingFile | None, err: ArchiveError, gaps: Sequence[Gap]
    ) -> RecordingFile:
        """Return the state of a recording whose object, or the place where it may lie, is refused.

        What 8x8 itself says was not uploaded stays so: that is urgent, and the refusal does not contradict it.

        Raises:
            AccessDeniedError: the landing as a whole is refused, or no object can be read, whichever it is.
        """
        if isinstance(err, ArchiveDeniedError):
            raise err
        with self._counts.lock:
            self._counts.denied_count += 1
            none_read = not self._counts.fetched_count and not self._counts.unchanged_count
            denied_count = self._counts.denied_count if none_read else 0
        self._refusals.judge(err, gaps, denied_without_a_read=denied_count)
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
            kept = self._archive.keep(
                download,
                subaccount_id=self._subaccount_id,
                day=self._day,
                session_id=item.session_id,
                recording_id=item.recording.recording_id,
                stop=stop,
            )
            source = download.object
        with self._counts.lock:
            self._counts.fetched_count += 1
            self._counts.fetched_bytes += source.size_bytes
            self._counts.size_only_count += source.evidence is SourceEvidence.SIZE
        if isinstance(kept, Rejection):
            file = self._states.without_file(item, earlier, ArchiveStatus.REJECTED, kept.reason)
            return replace(file, source=source, quarantine_uri=kept.quarantine_uri)
        return RecordingFile(
            subaccount_id=self._subaccount_id,
            session_id=item.session_id,
            recording_id=item.recording.recording_id,
            archive_status=ArchiveStatus.ARCHIVED,
            source=source,
            kept=kept,
            versions=self._versions(earlier, kept),
        )

    def _versions(self, earlier: RecordingFile | None, kept: KeptFile) -> tuple[Version, ...]:
        """Return those known before, the plain name if a killed run left it without a record, and the one just kept, last."""
        known = {version.archive_path: version for version in (earlier.versions if earlier is not None else ())}
        folder, _, name = kept.archive_path.rpartition("/")
        first = f"{folder}/{name[:36]}.mp3"
        if first not in known and first != kept.archive_path:
            known = {first: Version(first, self._archive.sha256_of(first)), **known}
        known.pop(kept.archive_path, None)
        return (*known.values(), Version(kept.archive_path, kept.sha256))
