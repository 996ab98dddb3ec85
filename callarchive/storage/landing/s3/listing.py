"""Listings of an account's bucket: all of it, selected folders, or the keys between two. Pages are parsed in `pages`.

A listing has one deadline. One that is refused or does not end leaves a gap; it raises only when the landing as a whole cannot
be listed.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.domain.landing_objects import LandingObject
from callarchive.storage.landing import Gap, Listing
from callarchive.storage.landing.places import PlaceRefusedError
from callarchive.storage.landing.s3.bucket import S3Bucket
from callarchive.storage.landing.s3.pages import BrokenOffError, Listed, Page, pages_to_the_end
from callarchive.storage.landing.s3.questions import CONCERN_ONE, S3Questions

_PAGE_KEYS = 1000
_FOLDER_PAGES = 3
_LEVEL_PAGES = 5
_FOLDERS_EACH = 100
"""The most folders that are listed one by one: a flat listing has 1,000 objects per request."""
_ENTRIES_MAX = 5_000_000
"""More than a landing has in years; an endless listing would fill the memory."""


class _Level(NamedTuple):
    """The objects and the paths of the folders directly below a folder."""

    objects: list[Listed]
    folders: list[str]


class S3Listing:
    """Lists the bucket. Thread-safe."""

    def __init__(self, bucket: S3Bucket, questions: S3Questions) -> None:
        self._bucket = bucket
        self._questions = questions
        self._patience = bucket.patience()

    def pages(self, folder: str, *, skip: Callable[[str], bool] | None) -> Iterator[Listing]:
        """Yield all objects below `folder`, up to 1,000 at a time, and gaps for what could not be listed.

        Args:
            skip: omit folders directly below for whose path it is true, unless many others are left.
        """
        ends_at = self._patience.ends_at()
        yield from self._pages_until(ends_at, folder, skip)
        self._patience.done(ends_at)

    def _pages_until(self, ends_at: float, folder: str, skip: Callable[[str], bool] | None) -> Iterator[Listing]:
        level = None if skip is None else self._level(folder, ends_at)
        folders = [] if level is None or skip is None else [name for name in level.folders if not skip(name)]
        # Some stores list no folders at all, though there are some: they get a flat listing.
        if level is None or len(folders) > _FOLDERS_EACH or not level.folders:
            yield from self._flat_pages(folder, ends_at, _ENTRIES_MAX)
            return
        yield self._described(level.objects)
        left = _ENTRIES_MAX
        for name in folders:
            for page in self._flat_pages(name, ends_at, left):
                left -= len(page.objects)
                yield page

    def existing_folders(self, names: Sequence[str]) -> dict[str, Evidence[str]]:
        """Return for each folder directly below the root whether it has an object, be it only the folder's own marker.

        One listing of the folders with the common prefix shows the existing ones; each other is listed by itself. So a folder
        is absent only when two kinds of listing lack it: on some stores one is incomplete.
        """
        if not names:
            return {}
        places = {self._bucket.below(name): name for name in names}
        shown = self._shown_folders(os.path.commonprefix(list(places)), places)  # noqa: RUF071 - the beginning of keys
        findings = self._questions.ask_each([name for name in names if name not in shown], self._folder)
        return findings | {name: Present(self._bucket.place(name)) for name in shown}

    def look_for(self, keys: dict[str, str], seen: dict[str, LandingObject]) -> bool:
        """Add the keys in a listing to `seen`. Return whether it reached the last of them."""
        folder = os.path.commonprefix(list(keys)).rpartition("/")[0]  # noqa: RUF071 - the beginning of a key
        first = min(keys, key=str.encode)  # S3 lists in the order of UTF-8 bytes
        last = max(key.encode() for key in keys)
        pages_max = 2 + 2 * math.ceil(len(keys) / _PAGE_KEYS)
        prefix = f"{folder}/" if folder else ""
        # After an early end each key is requested by itself, which also raises the error.
        with suppress(*CONCERN_ONE, BrokenOffError):
            for page in islice(self._pages(prefix, self._bucket.ends_at(), StartAfter=first[:-1]), pages_max):
                for entry in page.entries:
                    path = keys.get(entry.key)
                    if path is not None:
                        seen[path] = self._bucket.object_at(path, entry)
                if page.is_last or (page.entries and page.entries[-1].key.encode() >= last):
                    return True
        return False

    def has_key(self, key: str) -> bool:
        """Return whether a listing shows the key. Raises ArchiveError."""
        page = self._bucket.page(key, MaxKeys=1)
        return any(entry.key == key for entry in page.entries)

    def _shown_folders(self, prefix: str, places: dict[str, str]) -> set[str]:
        """Return those of the folders in the first few pages of folders with that prefix."""
        found: set[str] = set()
        pages = self._pages(prefix.removesuffix("/"), self._bucket.ends_at(), Delimiter="/")
        with suppress(*CONCERN_ONE, BrokenOffError):  # each folder is then listed by itself
            for page in islice(pages, _FOLDER_PAGES):
                found |= {places[shown] for shown in page.folders if shown in places}
                if len(found) == len(places):
                    break
        return found

    def _folder(self, name: str) -> Evidence[str]:
        place = self._bucket.place(name)
        try:
            for page in self._pages(self._bucket.below(name), self._bucket.ends_at()):
                if page.entries:
                    return Present(place)
        except BrokenOffError as err:
            return Unknown(f"{place}: {err}")
        return Absent(f"S3 lists no key below {place}/")

    def _level(self, folder: str, ends_at: float) -> "_Level | None":
        """Return what is directly below the folder; `None` if that is too much, or cannot be listed."""
        prefix = self._bucket.below(folder)
        level = _Level([], [])
        try:
            for number, page in enumerate(self._pages(prefix, ends_at, Delimiter="/")):
                if number == _LEVEL_PAGES:
                    return None
                level.objects.extend(page.entries)
                for shown in page.folders:
                    name = shown[len(prefix) : -1]
                    name = f"{folder}/{name}" if folder else name
                    with suppress(PlaceRefusedError):  # we never request keys below it
                        self._bucket.key(name)
                        level.folders.append(name)
        except (*CONCERN_ONE, BrokenOffError):
            return None  # the flat listing raises the error
        return level if _LEVEL_PAGES else None

    def _flat_pages(self, folder: str, ends_at: float, entries_max: int) -> Iterator[Listing]:
        """Yield all objects below the folder, and a gap at the end if they are incomplete.

        Raises:
            ArchiveError: the landing as a whole cannot be listed.
        """
        count, has_begun = 0, False
        try:
            for page in self._pages(self._bucket.below(folder), ends_at):
                count += len(page.entries)
                has_begun = True
                yield self._described(page.entries)
                if count > entries_max:
                    reason = f"more than {_ENTRIES_MAX} objects were listed; is this the landing?"
                    yield Listing([], (self._gap(folder, reason),))
                    return
        except BrokenOffError as err:
            yield Listing([], (self._gap(folder, str(err)),))
        except CONCERN_ONE as err:
            if not folder and not has_begun:
                raise
            self._questions.check_root()
            yield Listing([], (self._gap(folder, str(err).removeprefix(f"{self._bucket.uri}: ")),))

    def _gap(self, folder: str, reason: str) -> Gap:
        return Gap(folder, self._bucket.place(folder) if folder else self._bucket.uri, reason)

    def _pages(self, prefix: str, ends_at: float, **options: object) -> Iterator[Page]:
        """Yield the pages of a listing. Raises ArchiveError and BrokenOffError."""

        def ask(where: dict[str, str]) -> Page:
            asked = {**options, **where}
            if where:
                asked.pop("StartAfter", None)
            return self._bucket.page(prefix, ends_at=ends_at, **asked)

        return pages_to_the_end(ask, ends_at=ends_at)

    def _described(self, entries: Sequence[Listed]) -> Listing:
        return Listing([item for entry in entries if (item := self._bucket.described(entry)) is not None])
