"""From 8x8's answers to the archive: settle every recording of one account's day, many at a time.

A recording's own trouble becomes its state; trouble that the next recording would share (credentials, an unreachable landing,
a full disk) ends the run.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from callarchive.archiving.fetcher.comparison import Comparison, compare
from callarchive.archiving.fetcher.listed import ListingSearch, Unsettled
from callarchive.archiving.fetcher.states import RecordingStates
from callarchive.archiving.fetcher.transfer import Transfers
from callarchive.archiving.fetcher.wanted import FetchCounts, Wanted
from callarchive.archiving.recording_archive import RecordingArchive
from callarchive.domain.errors import AccessDeniedError, ObjectNotFoundError
from callarchive.domain.evidence import Unknown
from callarchive.domain.models import ApiStatus, ArchiveStatus, RecordingFile
from callarchive.runtime.adaptive_limit import Adaptive
from callarchive.runtime.worker_pool import in_threads
from callarchive.settings import TransferSettings
from callarchive.storage.landing import Landing
from callarchive.storage.landing.contents import LandingContents
from callarchive.storage.landing.date_folders import DateFolders
from callarchive.storage.landing.object_finder import ObjectFinder, UnseenError
from callarchive.storage.landing.refusals import Refusals

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


class Fetcher:
    """Fetches the recordings of one account's day.

    Args:
        folders: what is known of the landing's date folders.
        root: the landing's prefix or folder, as in the account's `landing`.
        clock, give_up_after: see `RecordingStates`.
        listing: see `ListingSearch`.
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
        self._may_list = listing is not None
        self._finder = ObjectFinder(landing, folders, root=root, day=day)
        self.refusals = Refusals(landing, subaccount_id=subaccount_id)
        self.counts = FetchCounts()
        self._concurrency = Adaptive(landing.concurrency)
        self._states = RecordingStates(
            subaccount_id=subaccount_id, transfer=transfer, clock=clock, give_up_after=give_up_after
        )
        self._transfers = Transfers(
            subaccount_id=subaccount_id,
            day=day,
            landing=landing,
            archive=archive,
            attempts=transfer.attempts,
            concurrency=self._concurrency,
            states=self._states,
            counts=self.counts,
            refusals=self.refusals,
        )
        self._search = ListingSearch(
            subaccount_id=subaccount_id,
            day=day,
            landing=landing,
            listing=listing,
            finder=self._finder,
            transfers=self._transfers,
            concurrency=self._concurrency,
            counts=self.counts,
            refusals=self.refusals,
        )

    def compare(self, known: "pa.Table") -> Comparison:
        """Return what archive and landing hold now of what earlier runs kept; see `comparison.compare`."""
        return compare(
            known,
            subaccount_id=self._subaccount_id,
            day=self._day,
            archive=self._archive,
            landing=self._landing,
            counts=self.counts,
            refusals=self.refusals,
        )

    @contextmanager
    def fetch(
        self, wanted: Iterable[Wanted], comparison: Comparison, *, record: Callable[[RecordingFile], None]
    ) -> Iterator[Iterator[RecordingFile]]:
        """Return an iterator over the state of every wanted recording, in the order in which they are settled.

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

        def settle(item: Wanted, stop: Event) -> RecordingFile | Unsettled:
            settled = self._settle(item, comparison, stop)
            if isinstance(settled, RecordingFile):
                record(settled)
            return settled

        name = f"fetch-{self._subaccount_id}"
        with (
            in_threads(settle, wanted, concurrency=self._concurrency, name=name) as first,
            closing(self._search.settled(first, record)) as files,
        ):
            yield files

    def _settle(self, item: Wanted, comparison: Comparison, stop: Event) -> RecordingFile | Unsettled:
        earlier = item.earlier
        if earlier is not None and earlier.kept is not None:
            on_disk = comparison.archived_sizes.get(earlier.kept.archive_path)
            if on_disk != earlier.kept.size_bytes:
                log.error(
                    "%s is gone from the archive or has another size: it is downloaded again",
                    self._archive.store.uri(earlier.kept.archive_path),
                )
                earlier = replace(earlier, kept=None, source=None)
        recording = item.recording
        if recording.api_status is ApiStatus.PROCESSING and not item.uploaded:
            state = self._states.without_object(item, earlier, "8x8 is still processing it")
            is_lost = state.archive_status is ArchiveStatus.MISSING and self._may_list
            return Unsettled(item, earlier, state) if is_lost else state
        open_object = partial(
            self._finder.open,
            session_id=item.session_id,
            recording_id=recording.recording_id,
            place=recording.external_file_url,
            file_path=item.file_path,
        )
        tried = frozenset[str]()
        try:
            state = self._transfers.transfer(item, earlier, stop, open_object)
        except ObjectNotFoundError as err:
            state = self._states.without_object(item, earlier, str(err))
        except UnseenError as err:
            state = self._transfers.denied(item, earlier, err, err.gaps)
            tried = frozenset(gap.folder for gap in err.gaps)
        except AccessDeniedError as err:
            log.warning("%s", err)
            return self._transfers.denied(item, earlier, err, [])
        else:
            if state.archive_status is not ArchiveStatus.REJECTED or state.source is None:
                return state
            tried = frozenset([state.source.path])
        if not self._may_list or state.kept is not None:
            return state
        return Unsettled(item, earlier, state, tried)
