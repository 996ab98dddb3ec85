"""From what 8x8 says of a recording to what the archive holds: find the object, read it, keep it, or say why not.

One account's day at a time, many recordings in flight. A recording's own trouble becomes its state; trouble that the next
recording would share (credentials, an unreachable landing, a full disk) ends the run.
"""

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from callarchive.archive import RecordingArchive, Rejection
from callarchive.columns import pc
from callarchive.concurrency import Adaptive
from callarchive.domain.evidence import Absent, Evidence, Present
from callarchive.errors import (
    AccessDeniedError,
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
from callarchive.landing import Landing, LandingObject
from callarchive.landing.date_folders import DateFolders
from callarchive.landing.places import ObjectFinder
from callarchive.models import ApiRecording, ApiStatus, ArchiveStatus, KeptFile, RecordingFile, Version
from callarchive.settings import TransferSettings
from callarchive.starts import recording_start
from callarchive.workers import StoppedError, in_threads

if TYPE_CHECKING:
    import pyarrow as pa

    from callarchive.columns import Column

log = logging.getLogger(__name__)

COMPARED = (
    "recording_id",
    "archive_status",
    "archive_path",
    "size_bytes",
    "source_path",
    "source_size_bytes",
    "source_etag",
    "source_modified_at",
)
"""What `Fetcher.compare` looks at in `recording_files`."""

_ROWS_AT_ONCE = 1000
_DENIED_WITHOUT_A_READ = 5
"""So many refused objects before a single one could be read: it is the credentials, not the objects."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A recording that 8x8 names, and what an earlier run left of it."""

    session_id: str
    recording: ApiRecording
    earlier: RecordingFile | None
    call_at: datetime
    """When the call was, as well as is known: decides when a file that is not there counts as missing."""

    file_path: str | None = None
    """Where a webhook event says that the file lies. Never trusted: see `landing.places`."""

    uploaded: bool = False
    """Whether a webhook event says that the file was pushed; the API may be behind."""


@dataclass(slots=True)
class FetchCounts:
    """What a fetch did: recordings and bytes that crossed the network, and kept ones that were left as they were."""

    fetched_count: int = 0
    fetched_bytes: int = 0
    unchanged_count: int = 0
    denied_count: int = 0
    uncompared_count: int = 0


@dataclass(frozen=True)
class Comparison:
    """What archive and landing hold now of what earlier runs kept.

    Attributes:
        archived_sizes: of the kept files that are in the archive, in bytes, by path.
        as_they_are: ids of recordings for which there is nothing to do: kept and unchanged, or erased.
    """

    archived_sizes: Mapping[str, int]
    as_they_are: frozenset[str]


class Fetcher:
    """Fetches the recordings of one account's day.

    Args:
        folders: what is known of the landing's date folders.
        root: the landing's prefix or folder, as in the account's `landing`.
        clock: the time now; decides between pending and missing.
        give_up_after: so long after the call a recording that 8x8 is still processing is missing; null is never.
    """

    def __init__(
        self,
        *,
        subaccount_id: str,
        day: date,
        landing: Landing,
        folders: DateFolders,
        root: str,
        archive: RecordingArchive,
        transfer: TransferSettings,
        clock: Callable[[], datetime],
        give_up_after: timedelta | None = None,
    ) -> None:
        self._subaccount_id = subaccount_id
        self._day = day
        self._landing = landing
        self._archive = archive
        self._transfer = transfer
        self._clock = clock
        self._give_up_after = give_up_after
        self._finder = ObjectFinder(landing, folders, root=root, day=day)
        self._first_denial: AccessDeniedError | None = None
        self.counts = FetchCounts()
        self._counting = Lock()
        self._concurrency = Adaptive(landing.concurrency)

    def compare(self, known: "pa.Table") -> Comparison:
        """What archive and landing hold now of what earlier runs kept, without reading any of it.

        A source that is gone does not take back what we hold; one that was no audio may lie elsewhere by now. A landing that
        cannot be asked puts nothing in doubt.

        Args:
            known: rows of `recording_files` of this account's day, of which the columns `COMPARED` are enough.

        Raises:
            AccessDeniedError, HostKeyError: the landing refuses us.
        """
        sizes = self._archive.sizes(self._subaccount_id, self._day, _texts(known["archive_path"]))
        sources = self._sources_now(known)
        unchanged, erased = set(), set()
        for recording_id, status, path, size_bytes, source_path, source_size_bytes, etag, modified_at in _rows(known):
            if status == ArchiveStatus.ERASED:
                erased.add(recording_id)
                continue
            held = path is None or sizes.get(path) == size_bytes
            if not held or source_path is None or status not in (ArchiveStatus.ARCHIVED, ArchiveStatus.REJECTED):
                continue
            if sources is not None:
                now = sources.get(source_path)
                if isinstance(now, Absent) and status != ArchiveStatus.ARCHIVED:
                    continue
                if isinstance(now, Present) and not now.value.same_as(
                    size_bytes=source_size_bytes, etag=etag, modified_at=modified_at
                ):
                    continue
            unchanged.add(recording_id)
        self.counts.unchanged_count += len(unchanged)
        return Comparison(archived_sizes=sizes, as_they_are=frozenset(unchanged | erased))

    @contextmanager
    def fetch(
        self, wanted: Iterable[Wanted], comparison: Comparison, *, record: Callable[[RecordingFile], None]
    ) -> Iterator[Iterator[RecordingFile]]:
        """An iterator over the state of every wanted recording, in the order in which they are settled.

        Leaving the block stops the transfers.

        Args:
            wanted: none of those that are as they were; taken from it as transfers begin.
            record: called with each state by the thread that settled it, also for those that were under way when the block
                was left and that nobody iterates over any more.

        Raises, while iterating:
            AccessDeniedError, HostKeyError: the landing or the archive refuses us.
            UnavailableError: the landing cannot be reached.
            StoreError: the archive cannot take a write.
        """

        def settle(item: Wanted, stop: Event) -> RecordingFile:
            file = self._settle(item, comparison, stop)
            record(file)
            return file

        name = f"fetch-{self._subaccount_id}"
        with in_threads(settle, wanted, concurrency=self._concurrency, name=name) as files:
            yield self._unless_all_denied(files)

    def _unless_all_denied(self, files: Iterator[RecordingFile]) -> Iterator[RecordingFile]:
        """The files; at their end an AccessDeniedError if objects were refused and not one could be read."""
        yield from files
        if self._first_denial is not None and not self.counts.fetched_count and not self.counts.unchanged_count:
            raise self._first_denial

    def _sources_now(self, known: "pa.Table") -> dict[str, Evidence[LandingObject]] | None:
        """What the landing says now of the objects that earlier runs read; None if it cannot be asked."""
        is_archived = pc.equal(known["archive_status"], ArchiveStatus.ARCHIVED.value)
        paths = _texts(known["source_path"])
        if not paths:
            return {}
        try:
            # What is archived stays so when its source is gone, so nobody need make sure of that.
            sources = self._landing.stat_many(_texts(known["source_path"].filter(is_archived)), confirm_absent=False)
            others = _texts(known["source_path"].filter(pc.invert(is_archived)))
            return {**sources, **self._landing.stat_many(others)} if others else sources
        except UnavailableError as err:
            self.counts.uncompared_count = len(paths)
            log.warning("%d files kept earlier were not compared with their source: %s", len(paths), err)
            return None

    def _settle(self, item: Wanted, comparison: Comparison, stop: Event) -> RecordingFile:
        earlier = item.earlier
        if earlier is not None and earlier.kept is not None:
            on_disk = comparison.archived_sizes.get(earlier.kept.archive_path)
            if on_disk != earlier.kept.size_bytes:
                log.error(
                    "%s is gone from the archive or has another size: it is fetched anew",
                    self._archive.store.uri(earlier.kept.archive_path),
                )
                earlier = replace(earlier, kept=None, source=None)
        if item.recording.api_status is ApiStatus.PROCESSING and not item.uploaded:
            return self._without_object(item, earlier, "8x8 is still processing it")
        return self._transfer_with_retries(item, earlier, stop)

    def _transfer_with_retries(self, item: Wanted, earlier: RecordingFile | None, stop: Event) -> RecordingFile:
        for attempt in range(1, self._transfer.attempts + 1):
            try:
                return self._transfer_once(item, earlier, stop)
            except ObjectNotFoundError as err:
                return self._without_object(item, earlier, str(err))
            except (ArchiveDeniedError, ArchiveUnavailableError):
                raise  # the next recording would fare no better
            except AccessDeniedError as err:
                return self._denied(item, earlier, err)
            except (RefusedError, StoreError, ConfigurationError):
                raise  # the next recording would fare no better
            except ArchiveError as err:
                log.info("recording %s, attempt %d: %s", item.recording.recording_id, attempt, err)
                if isinstance(err, (UnavailableError, TransferError)):
                    self._concurrency.too_much()
                if isinstance(err, UnavailableError):
                    self._landing.check()  # raises, and ends the run, unless only this object cannot be had
                if attempt == self._transfer.attempts:
                    return self._state(item, earlier, ArchiveStatus.FAILED, f"after {attempt} attempts: {err}")
                if stop.wait(min(0.2 * 2**attempt, 10) * random.uniform(0.5, 1.0)):  # noqa: S311
                    raise StoppedError from None
        raise AssertionError("attempts is at least 1")

    def _denied(self, item: Wanted, earlier: RecordingFile | None, err: AccessDeniedError) -> RecordingFile:
        """The recording has failed, if it alone is refused.

        Raises:
            AccessDeniedError: the landing as a whole is, or nothing could be read before a few objects were refused.
        """
        self._landing.check()
        with self._counting:
            self.counts.denied_count += 1
            first_denial = self._first_denial = self._first_denial or err
            nothing_was_readable = not self.counts.fetched_count and not self.counts.unchanged_count
        if nothing_was_readable and self.counts.denied_count >= _DENIED_WITHOUT_A_READ:
            raise first_denial
        return self._state(item, earlier, ArchiveStatus.FAILED, str(err))

    def _transfer_once(self, item: Wanted, earlier: RecordingFile | None, stop: Event) -> RecordingFile:
        opening = self._finder.open(
            session_id=item.session_id,
            recording_id=item.recording.recording_id,
            place=item.recording.external_file_url,
            file_path=item.file_path,
        )
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
        with self._counting:
            self.counts.fetched_count += 1
            self.counts.fetched_bytes += source.size_bytes
        if isinstance(kept, Rejection):
            file = self._state(item, earlier, ArchiveStatus.REJECTED, kept.reason)
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
        """Those known before, the plain name if a killed run left it without a record, and the one just kept, last."""
        known = {version.archive_path: version for version in (earlier.versions if earlier is not None else ())}
        folder, _, name = kept.archive_path.rpartition("/")
        first = f"{folder}/{name[:36]}.mp3"
        if first not in known and first != kept.archive_path:
            known = {first: Version(first, self._archive.sha256_of(first)), **known}
        known.pop(kept.archive_path, None)
        return (*known.values(), Version(kept.archive_path, kept.sha256))

    def _without_object(self, item: Wanted, earlier: RecordingFile | None, reason: str) -> RecordingFile:
        status = item.recording.api_status
        grace = timedelta(hours=self._transfer.missing_after_hours)
        if status is ApiStatus.PROCESSING:
            if self._give_up_after is None or self._clock() - item.call_at < self._give_up_after:
                return self._state(item, earlier, ArchiveStatus.PENDING, reason)
            late = f"{reason} after {self._give_up_after / timedelta(days=1):g} days: given up"
            return self._state(item, earlier, ArchiveStatus.MISSING, late)
        if not status.uploaded:
            raw = item.recording.api_status_raw or "nothing"
            return self._state(item, earlier, ArchiveStatus.NOT_UPLOADED, f"8x8 says {ascii(raw)[1:-1]}; {reason}")
        if self._clock() - item.call_at < grace:
            return self._state(item, earlier, ArchiveStatus.PENDING, reason)
        return self._state(item, earlier, ArchiveStatus.MISSING, reason)

    def _state(self, item: Wanted, earlier: RecordingFile | None, status: ArchiveStatus, error: str) -> RecordingFile:
        """The recording's state without a new file. What is kept already stays kept, whatever the source says now."""
        if earlier is not None and earlier.kept is not None:
            log.warning("recording %s stays archived; its source now: %s", item.recording.recording_id, error)
            return earlier
        return RecordingFile(
            subaccount_id=self._subaccount_id,
            session_id=item.session_id,
            recording_id=item.recording.recording_id,
            archive_status=status,
            error=error,
            versions=earlier.versions if earlier is not None else (),
        )


def _texts(column: "Column") -> list[str]:
    """Those that are not null."""
    texts: list[str] = column.drop_null().to_pylist()
    return texts


def _rows(known: "pa.Table") -> Iterator[tuple[Any, ...]]:
    """The values that are compared, row by row; a few at a time: a day may be long."""
    for batch in known.select(list(COMPARED)).to_batches(max_chunksize=_ROWS_AT_ONCE):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def call_time(
    *, recording: ApiRecording, session_started_at: datetime | None, day: date, day_end: datetime, now: datetime
) -> datetime:
    """When the call was: the recording's start, else the session's, else the end of its day."""
    name = recording.external_file_url
    started_at, _ = recording_start(
        api=recording.started_at, file_name=name, recording_id=recording.recording_id, call_date=day, now=now
    )
    return started_at or session_started_at or day_end
