"""From what 8x8 says of a recording to what the archive holds: find the object, read it, keep it, or say why not.

One account's day at a time, many recordings in flight. A recording's own trouble becomes its state; trouble that the next
recording would share (credentials, an unreachable landing, a full disk) ends the run.
"""

import logging
import random
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from threading import Event, Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from callarchive.archive import RecordingArchive, Rejection
from callarchive.columns import pc
from callarchive.concurrency import Adaptive
from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
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
from callarchive.landing import NOT_LISTED, Download, Gap, Landing, LandingObject, SourceEvidence
from callarchive.landing.contents import LandingContents
from callarchive.landing.date_folders import DateFolders
from callarchive.landing.listed_objects import gaps_for, in_order, paths_naming
from callarchive.landing.places import ObjectFinder, UnseenError, gap_of
from callarchive.models import ApiRecording, ApiStatus, ArchiveStatus, KeptFile, RecordingFile, Version
from callarchive.refusals import Refusals
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
_FIRST_LISTED, _LISTED_AT_ONCE = 8, 1000
"""So many recordings that were not found are looked for in the landing's listing together; the first few teach the finder where
the others lie."""


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
    elsewhere_count: int = 0
    size_only_count: int = 0


@dataclass(frozen=True)
class Comparison:
    """What archive and landing hold now of what earlier runs kept.

    Attributes:
        archived_sizes: of the kept files that are in the archive, in bytes, by path.
        as_they_are: ids of recordings for which there is nothing to do: kept and unchanged, or erased.
    """

    archived_sizes: Mapping[str, int]
    as_they_are: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Unsettled:
    """A recording that is in none of the places where 8x8's word would have it.

    Attributes:
        state: what it is if the landing's listing does not show it elsewhere.
        tried: paths that need no second look.
    """

    item: Wanted
    earlier: RecordingFile | None
    state: RecordingFile
    tried: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """An unsettled recording with the objects that the listing shows of it, best last."""

    unsettled: _Unsettled
    paths: tuple[str, ...]


class Fetcher:
    """Fetches the recordings of one account's day.

    Args:
        folders: what is known of the landing's date folders.
        root: the landing's prefix or folder, as in the account's `landing`.
        clock: the time now; decides between pending and missing.
        give_up_after: so long after the call a recording that 8x8 is still processing is missing; null is never.
        listing: returns what lies in the landing, or why that is not known; None where no listing may be made. Asked only for
            recordings that are nowhere else.
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
        listing: Callable[[], LandingContents | Unknown] | None = None,
    ) -> None:
        self._subaccount_id = subaccount_id
        self._day = day
        self._landing = landing
        self._archive = archive
        self._transfer = transfer
        self._clock = clock
        self._give_up_after = give_up_after
        self._listing = listing
        self._finder = ObjectFinder(landing, folders, root=root, day=day)
        self.refusals = Refusals(landing, subaccount_id=subaccount_id)
        self.counts = FetchCounts()
        self._counting = Lock()
        self._concurrency = Adaptive(landing.concurrency)

    def compare(self, known: "pa.Table") -> Comparison:
        """What archive and landing hold now of what earlier runs kept, without reading any of it.

        A source that is gone does not take back what we hold; one that was no audio may lie elsewhere by now. A source that
        cannot be looked at puts nothing in doubt: it is counted as not compared, and its place goes to `refusals`.

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
                if isinstance(now, Unknown) and now != NOT_LISTED:
                    self.counts.uncompared_count += 1
                    self.refusals.add(self._gap(source_path, now.reason))
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

        def settle(item: Wanted, stop: Event) -> RecordingFile | _Unsettled:
            settled = self._settle(item, comparison, stop)
            if isinstance(settled, RecordingFile):
                record(settled)
            return settled

        name = f"fetch-{self._subaccount_id}"
        with (
            in_threads(settle, wanted, concurrency=self._concurrency, name=name) as first,
            closing(self._with_listed(first, record)) as files,
        ):
            yield files

    def _with_listed(
        self, first: Iterator[RecordingFile | _Unsettled], record: Callable[[RecordingFile], None]
    ) -> Generator[RecordingFile, None, None]:
        """The settled recordings, and those that were not with what the landing's listing says of them."""
        waiting: list[_Unsettled] = []
        at_once = _FIRST_LISTED
        for result in first:
            if isinstance(result, RecordingFile):
                yield result
                continue
            waiting.append(result)
            if len(waiting) == at_once:
                yield from self._look_elsewhere(waiting, record)
                waiting, at_once = [], _LISTED_AT_ONCE
        yield from self._look_elsewhere(waiting, record)

    def _look_elsewhere(
        self, unsettled: Sequence[_Unsettled], record: Callable[[RecordingFile], None]
    ) -> Generator[RecordingFile, None, None]:
        """Settle recordings by the landing's listing: what it shows is fetched from where it is."""
        if not unsettled:
            return
        elsewhere: list[_Elsewhere] = []
        contents = Unknown("no listing is made") if self._listing is None else self._listing()
        shown: dict[str, list[str]] = {}
        if isinstance(contents, LandingContents):
            of_session = {one.item.recording.recording_id: one.item.session_id for one in unsettled}
            shown = paths_naming(contents, of_session)
        for one in unsettled:
            paths = [path for path in shown.get(one.item.recording.recording_id, ()) if path not in one.tried]
            if paths:
                elsewhere.append(_Elsewhere(one, self._best_last(one.item, paths)))
                continue
            state = self._not_listed(one, contents)
            record(state)
            yield state

        def settle(found: _Elsewhere, stop: Event) -> RecordingFile:
            file = self._from_elsewhere(found, stop)
            record(file)
            return file

        name = f"fetch-{self._subaccount_id}-listed"
        with in_threads(settle, elsewhere, concurrency=self._concurrency, name=name) as files:
            yield from files

    def _best_last(self, item: Wanted, paths: Sequence[str]) -> tuple[str, ...]:
        """The paths in the order in which they are to be kept. Of two objects that are alike one is enough."""
        if len(paths) == 1:
            return tuple(paths)
        findings = self._landing.stat_many(paths)
        objects = [finding.value for finding in findings.values() if isinstance(finding, Present)]
        named = (item.recording.external_file_url or "").rpartition("/")[2]
        best_first = reversed(in_order(objects, named=unquote(named)))
        # Without a hash even objects of one size are read: the archive keeps equal bytes once.
        distinct: dict[tuple[int, str], str] = {}
        for one in best_first:
            distinct.setdefault((one.size_bytes, one.etag or one.path), one.path)
        return tuple(reversed(distinct.values())) or tuple(paths)

    def _from_elsewhere(self, found: _Elsewhere, stop: Event) -> RecordingFile:
        """Keep what the listing shows of the recording, all of it where objects differ; the best one is its file."""
        item, earlier, state = found.unsettled.item, found.unsettled.earlier, found.unsettled.state
        for path in found.paths:
            try:
                file = self._transfer_with_retries(item, earlier, stop, partial(self._landing.open, path))
            except ObjectNotFoundError:
                continue
            except AccessDeniedError as err:
                file = self._denied(item, earlier, err, [gap_of(self._landing, path, err)])
            if file.archive_status is ArchiveStatus.ARCHIVED:
                self._finder.learn(path, session_id=item.session_id)
                log.info("recording %s was found at %s", item.recording.recording_id, self._landing.uri_of(path))
            if file.archive_status is ArchiveStatus.ARCHIVED or state.archive_status is not ArchiveStatus.ARCHIVED:
                earlier, state = file, file
        if state.archive_status is ArchiveStatus.ARCHIVED:
            with self._counting:
                self.counts.elsewhere_count += 1
        return state

    def _not_listed(self, one: _Unsettled, contents: LandingContents | Unknown) -> RecordingFile:
        """The state of a recording that the listing does not show: it may lie where the listing has a gap."""
        if one.state.archive_status is not ArchiveStatus.MISSING:
            return one.state
        if isinstance(contents, Unknown):
            error = f"{one.state.error}; whether it lies elsewhere is not known: {contents.reason}"
            return replace(one.state, error=error)
        gaps = gaps_for(contents.gaps, session_id=one.item.session_id, day=self._day)
        if not gaps:
            return one.state
        for gap in gaps:
            self.refusals.add(gap)
        error = str(UnseenError(one.item.recording.recording_id, gaps))
        return replace(one.state, archive_status=ArchiveStatus.FAILED, error=error)

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
        except (AccessDeniedError, UnavailableError) as err:
            if isinstance(err, AccessDeniedError):
                self._landing.check()  # raises where the landing as a whole is refused
            self.counts.uncompared_count = len(paths)
            log.warning("%d files kept earlier were not compared with their source: %s", len(paths), err)
            return None

    def _gap(self, path: str, reason: str) -> Gap:
        uri = self._landing.uri_of(path)
        return Gap(path, uri, reason.removeprefix(f"{uri}: "))

    def _settle(self, item: Wanted, comparison: Comparison, stop: Event) -> RecordingFile | _Unsettled:
        earlier = item.earlier
        if earlier is not None and earlier.kept is not None:
            on_disk = comparison.archived_sizes.get(earlier.kept.archive_path)
            if on_disk != earlier.kept.size_bytes:
                log.error(
                    "%s is gone from the archive or has another size: it is fetched anew",
                    self._archive.store.uri(earlier.kept.archive_path),
                )
                earlier = replace(earlier, kept=None, source=None)
        recording = item.recording
        if recording.api_status is ApiStatus.PROCESSING and not item.uploaded:
            state = self._without_object(item, earlier, "8x8 is still processing it")
            is_lost = state.archive_status is ArchiveStatus.MISSING and self._listing is not None
            return _Unsettled(item, earlier, state) if is_lost else state
        open_object = partial(
            self._finder.open,
            session_id=item.session_id,
            recording_id=recording.recording_id,
            place=recording.external_file_url,
            file_path=item.file_path,
        )
        tried = frozenset[str]()
        try:
            state = self._transfer_with_retries(item, earlier, stop, open_object)
        except ObjectNotFoundError as err:
            state = self._without_object(item, earlier, str(err))
        except UnseenError as err:
            state = self._denied(item, earlier, err, err.gaps)
            tried = frozenset(gap.folder for gap in err.gaps)
        except AccessDeniedError as err:
            log.warning("%s", err)
            return self._denied(item, earlier, err, [])
        else:
            if state.archive_status is not ArchiveStatus.REJECTED or state.source is None:
                return state
            tried = frozenset([state.source.path])
        if self._listing is None or state.kept is not None:
            return state
        return _Unsettled(item, earlier, state, tried)

    def _transfer_with_retries(
        self,
        item: Wanted,
        earlier: RecordingFile | None,
        stop: Event,
        open_object: Callable[[], AbstractContextManager[Download]],
    ) -> RecordingFile:
        """The state that the object's bytes, or trouble with them, give the recording.

        Raises:
            ObjectNotFoundError, UnseenError, AccessDeniedError: there is no such object, or it is refused.
            ArchiveError: the next recording would fare no better.
        """
        for attempt in range(1, self._transfer.attempts + 1):
            try:
                return self._transfer_once(item, earlier, stop, open_object())
            except (ObjectNotFoundError, UnseenError, RefusedError, StoreError, ConfigurationError):
                raise
            except ArchiveUnavailableError:
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

    def _denied(
        self, item: Wanted, earlier: RecordingFile | None, err: ArchiveError, gaps: Sequence[Gap]
    ) -> RecordingFile:
        """The state of a recording whose object, or the place where it may lie, is refused.

        What 8x8 itself says was not uploaded stays so: that is urgent, and the refusal does not contradict it.

        Raises:
            AccessDeniedError: the landing as a whole is refused, or no object can be read, whichever it is.
        """
        if isinstance(err, ArchiveDeniedError):
            raise err
        with self._counting:
            self.counts.denied_count += 1
            none_read = not self.counts.fetched_count and not self.counts.unchanged_count
            denied_count = self.counts.denied_count if none_read else 0
        self.refusals.judge(err, gaps, denied_without_a_read=denied_count)
        if earlier is not None and earlier.kept is not None:
            return earlier
        status = item.recording.api_status
        if status in (ApiStatus.UPLOAD_FAILED, ApiStatus.PROCESSING_FAILED):
            return self._without_object(item, earlier, str(err))
        return self._state(item, earlier, ArchiveStatus.FAILED, str(err))

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
        with self._counting:
            self.counts.fetched_count += 1
            self.counts.fetched_bytes += source.size_bytes
            self.counts.size_only_count += source.evidence is SourceEvidence.SIZE
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
