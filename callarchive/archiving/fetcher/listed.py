"""Search of the landing's listing for the recordings that are in none of the places that 8x8's responses name.

One that it does not show is missing only if no gap of the listing may hide it.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from urllib.parse import unquote

from callarchive.archiving.fetcher.account_day import AccountDay, Wanted
from callarchive.archiving.fetcher.transfer import Transfers
from callarchive.domain.errors import AccessDeniedError, ObjectNotFoundError
from callarchive.domain.evidence import Present, Unknown
from callarchive.domain.foreign_text import cleaned
from callarchive.domain.models import ArchiveStatus, RecordingFile
from callarchive.runtime.worker_pool import in_threads
from callarchive.storage.landing.contents import LandingContents
from callarchive.storage.landing.listed_objects import gaps_for, in_order, paths_naming
from callarchive.storage.landing.object_finder import ObjectFinder, UnseenError, gap_of

log = logging.getLogger(__name__)

_FIRST_LISTED, _LISTED_AT_ONCE = 8, 1000
"""How many recordings are searched in the listing together; from the first few the finder learns where the others are."""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A recording in no place that 8x8 names: its state if the listing does not show it, and paths already tried."""

    item: Wanted
    state: RecordingFile
    tried: frozenset[str] = frozenset()


class ListingSearch:
    """The search for one account's recordings in the listing of its landing. The finder learns where they are."""

    def __init__(self, day: AccountDay, finder: ObjectFinder, transfers: Transfers) -> None:
        self._day = day
        self._finder = finder
        self._transfers = transfers

    def settled(
        self, first: Iterable[RecordingFile | Unsettled], record: Callable[[RecordingFile], None]
    ) -> Generator[RecordingFile, None, None]:
        """Yield the recordings that are settled, and the others once the landing's listing was searched for them."""
        waiting: list[Unsettled] = []
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
        self, unsettled: Sequence[Unsettled], record: Callable[[RecordingFile], None]
    ) -> Generator[RecordingFile, None, None]:
        if not unsettled:
            return
        elsewhere: list[tuple[Unsettled, Sequence[str]]] = []
        contents = Unknown("no listing is made") if self._day.listing is None else self._day.listing()
        shown: dict[str, list[str]] = {}
        if isinstance(contents, LandingContents):
            of_session = {one.item.recording.recording_id: one.item.session_id for one in unsettled}
            shown = paths_naming(contents, of_session)
        for one in unsettled:
            paths = [path for path in shown.get(one.item.recording.recording_id, ()) if path not in one.tried]
            if paths:
                elsewhere.append((one, self._best_last(one.item, paths)))
                continue
            state = self._not_listed(one, contents)
            record(state)
            yield state

        def settle(found: tuple[Unsettled, Sequence[str]], stop: Event) -> RecordingFile:
            file = self._from_elsewhere(*found, stop)
            record(file)
            return file

        name = f"fetch-{self._day.subaccount_id}-listed"
        with in_threads(settle, elsewhere, concurrency=self._day.concurrency, name=name) as files:
            yield from files

    def _best_last(self, item: Wanted, paths: Sequence[str]) -> Sequence[str]:
        """Return the paths in the order in which to keep them, one of each two equal objects."""
        if len(paths) == 1:
            return paths
        findings = self._day.landing.stat_many(paths)
        objects = [finding.value for finding in findings.values() if isinstance(finding, Present)]
        named = (item.recording.external_file_url or "").rpartition("/")[2]
        best_first = reversed(in_order(objects, named=unquote(named)))
        # Without a hash even objects of one size are read: the archive keeps equal bytes once.
        distinct: dict[tuple[int | None, str], str] = {}
        for one in best_first:
            distinct.setdefault((one.size_bytes, one.etag or one.path), one.path)
        return list(reversed(distinct.values())) or paths

    def _from_elsewhere(self, one: Unsettled, paths: Sequence[str], stop: Event) -> RecordingFile:
        """Keep what the listing shows of the recording, all of it where objects differ; the best one is its file."""
        item, state = one.item, one.state
        for path in paths:
            try:
                file = self._transfers.transfer(item, stop, partial(self._day.landing.open, path))
            except ObjectNotFoundError:
                continue
            except AccessDeniedError as err:
                file = self._transfers.denied(item, err, [gap_of(self._day.landing, path, err)])
            if file.archive_status is ArchiveStatus.ARCHIVED:
                self._finder.learn(path, session_id=item.session_id)
                log.info("recording %s was found at %s", item.recording.recording_id, self._day.landing.uri_of(path))
            if file.archive_status is ArchiveStatus.ARCHIVED or state.archive_status is not ArchiveStatus.ARCHIVED:
                item, state = replace(item, earlier=file), file
        if state.archive_status is ArchiveStatus.ARCHIVED:
            with self._day.counts.lock:
                self._day.counts.elsewhere_count += 1
        return state

    def _not_listed(self, one: Unsettled, contents: LandingContents | Unknown) -> RecordingFile:
        """Return the state of a recording that the listing does not show: it may be where the listing has a gap."""
        if one.state.archive_status is not ArchiveStatus.MISSING:
            return one.state
        if isinstance(contents, Unknown):
            error = f"{one.state.error}; whether it is stored elsewhere is not known: {cleaned(contents.reason)}"
            return replace(one.state, error=error)
        gaps = gaps_for(contents.gaps, session_id=one.item.session_id, day=self._day.date)
        if not gaps:
            return one.state
        for gap in gaps:
            self._day.refusals.add(gap)
        error = str(UnseenError(one.item.recording.recording_id, gaps))
        return replace(one.state, archive_status=ArchiveStatus.FAILED, error=error)
