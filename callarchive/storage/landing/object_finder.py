"""The search for a recording's object in a landing: at the places that 8x8 names, then in listings."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import date, timedelta
from typing import NamedTuple

from callarchive.domain.errors import AccessDeniedError, ArchiveError, NotLookedIntoError, ObjectNotFoundError
from callarchive.domain.evidence import Present, Unknown
from callarchive.domain.landing_objects import LandingObject
from callarchive.storage.landing import Download, Gap, Landing
from callarchive.storage.landing.contents import recording_id_in
from callarchive.storage.landing.date_folders import DateFolders, best_of
from callarchive.storage.landing.places import PlaceRefusedError, date_folder_of, is_of_recording, paths_from

_LEARNED_MAX = 4
_LATER_DAYS = 7
"""How many days after the call a date folder is looked for: a push that failed is tried again later."""


class UnseenError(NotLookedIntoError):
    """The recording's object was not found, and some places could not be searched.

    Attributes:
        gaps: these places in the order of the search, without those below another.
    """

    def __init__(self, recording_id: str, gaps: Iterable[Gap]) -> None:
        by_place = {gap.folder: gap for gap in gaps}
        self.gaps = tuple(
            gap
            for gap in by_place.values()
            if not any(other is not gap and other.may_hide(gap.folder) for other in by_place.values())
        )
        more = f", nor could {len(self.gaps) - 1} more places" if len(self.gaps) > 1 else ""
        super().__init__(
            f"recording {recording_id} was not found, and {self.gaps[0].uri} could not be looked into{more}: "
            f"{self.gaps[0].reason}"
        )


class _Learned(NamedTuple):
    """A folder, with its slash, that holds recordings directly or in session folders."""

    prefix: str
    has_session_folders: bool


class ObjectFinder:
    """Finds the objects of one account's day. Thread-safe.

    Args:
        folders: the landing's date folders.
        root: the landing's prefix or folder, which places may begin with.
        day: of the calls; date folders of the neighbouring days and the week after are searched, too.
    """

    def __init__(self, landing: Landing, folders: DateFolders, *, root: str, day: date) -> None:
        self._landing = landing
        self._folders = folders
        self._root = root
        self._near = [str(day + timedelta(days=offset)) for offset in (0, 1, -1)]
        self._date_prefixes = [f"{folder}/" for folder in self._near]
        self._right_prefixes: tuple[str, ...] = ()  # the last one first
        self._learned: tuple[_Learned, ...] = ()  # likewise
        days = [str(day + timedelta(days=offset)) for offset in range(-1, _LATER_DAYS + 1)]
        self._later = [day for day in days if day not in self._near]
        folders.keep_only(days)

    def open(
        self, *, session_id: str, recording_id: str, place: str | None, file_path: str | None = None
    ) -> AbstractContextManager[Download]:
        """Open the recording's object for reading.

        The search order is: the date folder's listing if there is one; the path in 8x8's URL, the path in a webhook event,
        and the same below the date folders of the call's and the neighbouring days, beginning with the folder of the last
        recordings; the listings of these date folders; the listing of the session's folder.

        Args:
            place: `externalFileUrl`.
            file_path: the event's `filePath`.

        Raises:
            ObjectNotFoundError: it is in none of these places; the message includes refused places.
            UnseenError: it was not found, and some places could not be searched.
        """
        gaps: list[Gap] = []
        known = self._folders.best(recording_id, self._near)
        # It may have been moved since the listing: then try the other places.
        if known is not None and (opened := self._opened(known.path, gaps)) is not None:
            return opened
        candidates, refused = self._candidates(session_id, recording_id, place, file_path)
        for prefix, path in candidates:
            opened = self._opened(f"{prefix}{path}", gaps)
            if opened is not None:
                if self._right_prefixes[:1] != (prefix,):
                    self._right_prefixes = (prefix, *(right for right in self._right_prefixes if right != prefix))
                return opened
        found = self._by_listing(session_id, recording_id, gaps)
        if found is not None and (opened := self._opened(found.path, gaps)) is not None:
            return opened
        if gaps:
            raise UnseenError(recording_id, gaps)
        raise ObjectNotFoundError(f"no object for recording {recording_id} in {self._landing.uri}{refused}")

    def learn(self, path: str, *, session_id: str) -> None:
        """Search for later recordings first in the folder where a listing showed this one's object.

        Args:
            path: of the object, as in `2026/01/05/{session_id}/{name}` or `moved/{name}`.
        """
        folder = path.rpartition("/")[0]
        is_sessions = folder.rpartition("/")[2].lower() == session_id
        prefix = folder.rpartition("/")[0] if is_sessions else folder
        if prefix:
            learned = _Learned(f"{prefix}/", is_sessions)
            self._learned = (learned, *[known for known in self._learned if known != learned])[:_LEARNED_MAX]

    def _learned_candidates(self, session_id: str, recording_id: str, paths: Sequence[str]) -> list[tuple[str, str]]:
        names = [name for path in paths if recording_id_in(name := path.rpartition("/")[2]) == recording_id]
        return [
            (learned.prefix, f"{session_id}/{name}" if learned.has_session_folders else name)
            for name in names[:1]
            for learned in self._learned
        ]

    def _candidates(
        self, session_id: str, recording_id: str, place: str | None, file_path: str | None
    ) -> tuple[list[tuple[str, str]], str]:
        """Return (date folder or empty, path below it) of each possible place, and why places were refused."""
        by_url, url_refused = self._paths(place, "8x8's URL", session_id)
        by_event, event_refused = self._paths(file_path, "the event's filePath", session_id)
        # A forged event might name another call's file; the API's response is 8x8's own.
        by_event = [path for path in by_event if recording_id_in(path) in (None, recording_id)]
        # Prefer an event's path with its date folder.
        by_event.sort(key=lambda path: not date_folder_of(path))
        # The full URL first, then the event's path, then the URL's shorter ends.
        paths = list(dict.fromkeys([*by_url[:1], *by_event, *by_url]))
        below = next((path for path in paths if path.lower().startswith(f"{session_id}/")), None)
        candidates = [(folder := date_folder_of(path), path.removeprefix(folder)) for path in paths]
        if below is not None:
            candidates += [(folder, below) for folder in self._date_prefixes]
        candidates = self._learned_candidates(session_id, recording_id, paths) + candidates
        # Folders of the last recordings come first; the others keep their order.
        rank = {prefix: number for number, prefix in enumerate(self._right_prefixes)}
        candidates.sort(key=lambda candidate: rank.get(candidate[0], len(rank)))
        return list(dict.fromkeys(candidates)), url_refused + event_refused

    def _paths(self, place: str | None, name: str, session_id: str) -> tuple[list[str], str]:
        if not place:
            return [], ""
        try:
            return paths_from(place, session_id=session_id, root=self._root), ""
        except PlaceRefusedError as err:
            return [], f"; {name} was {err}"

    def _opened(self, path: str, gaps: list[Gap]) -> AbstractContextManager[Download] | None:
        """Return the entered download, `None` if there is no object, it is refused, or cannot be looked into."""
        try:
            stack = ExitStack()
            download = stack.enter_context(self._landing.open(path))
        except ObjectNotFoundError:
            return None
        except (AccessDeniedError, NotLookedIntoError) as err:
            gaps.append(gap_of(self._landing, path, err))
            return None
        return _entered(stack, download)

    def _by_listing(self, session_id: str, recording_id: str, gaps: list[Gap]) -> LandingObject | None:
        """Return the recording's best object in listings of its possible folders. Adds to `gaps`."""
        existing = self._folders.existing([*self._near, *self._later])
        for folder, finding in existing.items():
            if isinstance(finding, Unknown):
                uri = self._landing.uri_of(folder)
                gaps.append(Gap(folder, uri, finding.reason.removeprefix(f"{uri}: ")))
        for folder in self._near:
            if isinstance(existing[folder], Present):
                try:
                    self._folders.list_whole(folder)
                except AccessDeniedError as err:
                    gaps.append(gap_of(self._landing, folder, err))
                found = self._folders.best(recording_id, [folder])
                if found is not None:
                    return found
                gaps += [gap for gap in self._folders.gaps(folder) if is_of_recording(gap.folder, session_id)]
        found = self._in_session_folder(session_id, recording_id, gaps)
        for folder in self._later:
            if found is not None:
                break
            if not isinstance(existing[folder], Present):
                continue
            if self._folders.list_if_small(folder):
                found = self._folders.best(recording_id, [folder])
                gaps += [gap for gap in self._folders.gaps(folder) if is_of_recording(gap.folder, session_id)]
            else:
                found = self._in_session_folder(f"{folder}/{session_id}", recording_id, gaps)
        return found

    def _in_session_folder(self, folder: str, recording_id: str, gaps: list[Gap]) -> LandingObject | None:
        try:
            listing = self._landing.list(folder)
        except AccessDeniedError as err:
            gaps.append(gap_of(self._landing, folder, err))
            return None
        gaps += listing.gaps
        return best_of([item for item in listing.objects if recording_id_in(item.path) == recording_id])


def gap_of(landing: Landing, path: str, err: ArchiveError) -> Gap:
    """Return the gap for a refused path."""
    uri = landing.uri_of(path)
    return Gap(path, uri, str(err).removeprefix(f"{uri}: "))


@contextmanager
def _entered(stack: ExitStack, download: Download) -> Iterator[Download]:
    """Yield an already entered download, and close it with its stack."""
    with stack:
        yield download
