"""Cached listings of a landing's date folders, shared by the recordings and days of a run."""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from threading import Lock
from typing import NamedTuple

from callarchive.domain.evidence import Evidence, Unknown
from callarchive.domain.landing_objects import LandingObject
from callarchive.storage.landing import Gap, Landing
from callarchive.storage.landing.contents import GOOD_FOR, recording_id_in

_SMALL_PAGES = 5
"""A folder in a bucket up to this length is listed whole, which is faster than a search for each session in it."""

_UNKNOWN_FOR = timedelta(minutes=1)
"""How long an `Unknown` folder is not requested again: every recording of a day may need it."""


class _Index(NamedTuple):
    """The best object of each recording, by its id; `None` where the folder was too large to list."""

    listed_at: datetime
    best: dict[str, LandingObject] | None
    gaps: tuple[Gap, ...] = ()


class DateFolders:
    """An account's date folders. Thread-safe; a folder is listed once, and again when the listing is 15 minutes old.

    Args:
        clock: the time now.
    """

    def __init__(self, landing: Landing, *, clock: Callable[[], datetime]) -> None:
        self._landing = landing
        self._clock = clock
        self._lock = Lock()
        self._existing: dict[str, tuple[datetime, Evidence[str]]] = {}
        self._indexes: dict[str, _Index] = {}

    def keep_only(self, names: Collection[str]) -> None:
        """Drop old listings, and those of other folders."""
        old = self._clock() - GOOD_FOR
        with self._lock:
            self._existing = {n: known for n, known in self._existing.items() if n in names and known[0] > old}
            self._indexes = {n: known for n, known in self._indexes.items() if n in names and known.listed_at > old}

    def existing(self, names: Collection[str]) -> dict[str, Evidence[str]]:
        """Return for each folder whether it exists. Raises as `Landing.existing_folders`. `Unknown` is kept for a minute."""
        with self._lock:
            now = self._clock()
            asked = [name for name in names if self._needs_request(name, now)]
            if asked:
                found, now = self._landing.existing_folders(asked), self._clock()
                self._existing |= {name: (now, found[name]) for name in asked}
            return {name: self._existing[name][1] for name in names}

    def _needs_request(self, name: str, now: datetime) -> bool:
        if name not in self._existing:
            return True
        asked_at, finding = self._existing[name]
        return isinstance(finding, Unknown) and now - asked_at >= _UNKNOWN_FOR

    def gaps(self, name: str) -> tuple[Gap, ...]:
        """Return the gaps in the folder's listing."""
        known = self._indexes.get(name)
        return () if known is None else known.gaps

    def is_listed(self, name: str) -> bool:
        """Return whether the folder was listed."""
        known = self._indexes.get(name)
        return known is not None and known.best is not None

    def list_whole(self, name: str) -> None:
        """List the folder. Raises as `Landing.list`."""
        self._list(name, pages_max=None)

    def list_if_small(self, name: str) -> bool:
        """List the folder if that is cheap, and return whether it is listed."""
        # On an SFTP server each session's folder would be read.
        return not self._landing.walks_folders and self._list(name, pages_max=_SMALL_PAGES)

    def best(self, recording_id: str, names: Iterable[str]) -> LandingObject | None:
        """Return the recording's best object in the listed ones of these folders, else `None`."""
        known = (
            index.best.get(recording_id) for n in names if (index := self._indexes.get(n)) and index.best is not None
        )
        return best_of([item for item in known if item is not None])

    def _list(self, name: str, *, pages_max: int | None) -> bool:
        with self._lock:
            known = self._indexes.get(name)
            if known is None or (known.best is None and pages_max is None):
                known = self._indexes[name] = self._read_index(name, pages_max)
            return known.best is not None

    def _read_index(self, name: str, pages_max: int | None) -> _Index:
        """List the folder; give up if it has more than `pages_max` pages."""
        listed_at, gaps = self._clock(), tuple[Gap, ...]()
        found: dict[str, LandingObject] = {}
        for number, page in enumerate(self._landing.pages(name)):
            if number == pages_max:
                return _Index(listed_at, None)
            gaps += page.gaps
            for item in page.objects:
                id_ = recording_id_in(item.path)
                best = best_of([item, found[id_]] if id_ in found else [item])
                if id_ is not None and best is not None:
                    found[id_] = best
        return _Index(listed_at, found, gaps)


def best_of(candidates: list[LandingObject]) -> LandingObject | None:
    """Return the newest mp3 of several pushes of one recording; ties are broken by path."""
    mp3s = [item for item in candidates if item.path.lower().endswith(".mp3")]
    return max(mp3s, key=lambda item: (item.modified_at is not None, item.modified_at, item.path), default=None)
