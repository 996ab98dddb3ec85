"""From 8x8's responses to the archive: settle every recording of one account's day, many at a time.

An error of one recording becomes its state; one that the next recording would share ends the run.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from threading import Event

from callarchive.archiving.fetcher.account_day import AccountDay, Wanted
from callarchive.archiving.fetcher.comparison import Comparison
from callarchive.archiving.fetcher.listed import ListingSearch, Unsettled
from callarchive.archiving.fetcher.transfer import Transfers
from callarchive.domain.errors import AccessDeniedError, ObjectNotFoundError
from callarchive.domain.models import ApiStatus, ArchiveStatus, RecordingFile
from callarchive.runtime.worker_pool import in_threads
from callarchive.storage.landing.object_finder import ObjectFinder, UnseenError

log = logging.getLogger(__name__)


class Fetcher:
    """Fetches the recordings of one account's day."""

    def __init__(self, day: AccountDay) -> None:
        self._day = day
        self._finder = ObjectFinder(day.landing, day.date_folders, root=day.root, day=day.date)
        self._transfers = Transfers(day)
        self._search = ListingSearch(day, self._finder, self._transfers)

    @contextmanager
    def fetch(
        self, wanted: Iterable[Wanted], comparison: Comparison, *, record: Callable[[RecordingFile], None]
    ) -> Iterator[Iterator[RecordingFile]]:
        """Return an iterator over the state of every wanted recording, in the order in which they are settled.

        Leaving the block stops the transfers. `record` is called with each state by the thread that settled it, even then.
        Iterating raises AccessDeniedError, HostKeyError, UnavailableError or StoreError if the landing or the archive fails.
        """

        def settle(item: Wanted, stop: Event) -> RecordingFile | Unsettled:
            settled = self._settle(item, comparison, stop)
            if isinstance(settled, RecordingFile):
                record(settled)
            return settled

        name = f"fetch-{self._day.subaccount_id}"
        with (
            in_threads(settle, wanted, concurrency=self._day.concurrency, name=name) as first,
            closing(self._search.settled(first, record)) as files,
        ):
            yield files

    def _settle(self, item: Wanted, comparison: Comparison, stop: Event) -> RecordingFile | Unsettled:
        earlier = item.earlier
        if earlier is not None and earlier.kept is not None:
            on_disk = comparison.archived_sizes.get(earlier.kept.archive_path)
            if on_disk != earlier.kept.size_bytes:
                log.error(
                    "%s is missing from the archive or has another size: it is downloaded again",
                    self._day.archive.store.uri(earlier.kept.archive_path),
                )
                item = replace(item, earlier=replace(earlier, kept=None, source=None))
        recording = item.recording
        if recording.api_status is ApiStatus.PROCESSING and not item.uploaded:
            state = self._transfers.without_object(item, "8x8 is still processing it")
            is_lost = state.archive_status is ArchiveStatus.MISSING and self._day.listing is not None
            return Unsettled(item, state) if is_lost else state
        open_object = partial(
            self._finder.open,
            session_id=item.session_id,
            recording_id=recording.recording_id,
            place=recording.external_file_url,
            file_path=item.file_path,
        )
        tried = frozenset[str]()
        try:
            state = self._transfers.transfer(item, stop, open_object)
        except ObjectNotFoundError as err:
            state = self._transfers.without_object(item, str(err))
        except UnseenError as err:
            state = self._transfers.denied(item, err, err.gaps)
            tried = frozenset(gap.folder for gap in err.gaps)
        except AccessDeniedError as err:
            state = self._transfers.denied(item, err, [])  # raises if the whole landing is refused
            self._day.refusals.add_refused(err)
            return state
        else:
            if state.archive_status is not ArchiveStatus.REJECTED or state.source is None:
                return state
            tried = frozenset([state.source.path])
        if self._day.listing is None or state.kept is not None:
            return state
        return Unsettled(item, state, tried)
