"""Listings of an account's bucket: in whole, of the folders that are wanted, of the keys between two.

Long ones come through obstore, outside the interpreter. Those of which obstore would not tell all are made by boto3, which
lists every key and tells what is wrong, and takes ten times as long.
"""

import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import NamedTuple

import obstore

from callarchive import s3_errors
from callarchive.domain.evidence import Absent, Evidence, Present
from callarchive.errors import AccessDeniedError, ArchiveError, RefusedError, UnavailableError
from callarchive.landing import LandingObject, Listing
from callarchive.landing.places import PlaceRefusedError
from callarchive.landing.s3_bucket import Listed, S3Bucket
from callarchive.landing.s3_questions import S3Questions

_PAGE_KEYS = 1000
_FOLDER_PAGES = 3
_LEVEL_PAGES = 5
_FOLDERS_EACH = 100
"""So many folders at most are listed each by itself: a request brings 1,000 objects where all are gone through."""


class _AmbiguousError(Exception):
    """A listing of obstore's that boto3 must make."""


class _End(Enum):
    """Why obstore's part of a listing ended: there is no more, one page is boto3's, or all that is left is."""

    WHOLE = auto()
    ODD_PAGE = auto()
    GIVEN_UP = auto()


class _Level(NamedTuple):
    """What lies directly below a folder; folders by their paths."""

    objects: list[Listed]
    folders: list[str]


class S3Listing:
    """What lies in the bucket. Thread-safe."""

    def __init__(self, bucket: S3Bucket, questions: S3Questions) -> None:
        self._bucket = bucket
        self._questions = questions

    def pages(self, folder: str, *, skip: Callable[[str], bool] | None) -> Iterator[Listing]:
        """Every object below `folder`, up to 1,000 at a time.

        Args:
            skip: folders directly below for whose path it is true are left out, unless many others are left.
        """
        if skip is not None and (level := self._level(folder)) is not None:
            left = [name for name in level.folders if not skip(name)]
            if len(left) <= _FOLDERS_EACH:
                yield self._all_described(level.objects)
                for name in left:
                    yield from self._flat_pages(name)
                return
        yield from self._flat_pages(folder)

    def existing_folders(self, names: Sequence[str]) -> dict[str, Evidence[str]]:
        """Return for each folder directly below the root whether it holds an object, be it only the folder's own marker.

        A listing of the folders whose names begin as all of these do shows those that are there; each other is asked for by
        itself. So a folder is absent only when two kinds of listing lack it: there are stores of which one shows too little.
        """
        place = {self._bucket.below(name): name for name in names}
        shown = self._shown_folders(os.path.commonprefix(list(place)), place)  # noqa: RUF071 - the beginning of keys
        findings = self._questions.ask_each([name for name in names if name not in shown], self._folder)
        return findings | {name: Present(self._bucket.place(name)) for name in shown}

    def _shown_folders(self, prefix: str, place: dict[str, str]) -> set[str]:
        """Return those of the folders that a few pages of the folders with that prefix show."""
        found: set[str] = set()
        token: dict[str, str] = {}
        with suppress(AccessDeniedError, UnavailableError):  # each folder is then asked for by itself
            for _ in range(_FOLDER_PAGES):
                page = self._bucket.page(prefix.removesuffix("/"), Delimiter="/", **token)
                seen = {entry["Prefix"] for entry in page.get("CommonPrefixes", ())}
                found |= {name for below, name in place.items() if below in seen}
                if len(found) == len(place) or not page.get("IsTruncated"):
                    break
                token = {"ContinuationToken": page["NextContinuationToken"]}
        return found

    def _folder(self, name: str) -> Evidence[str]:
        if self._bucket.page(self._bucket.below(name), MaxKeys=1).get("Contents"):
            return Present(self._bucket.place(name))
        return Absent(f"S3 lists no key below {self._bucket.place(name)}/")

    def look_for(self, keys: dict[str, str], seen: dict[str, LandingObject]) -> bool:
        """Puts into `seen` what a listing shows of the keys. Returns whether it went past the last of them."""
        folder = os.path.commonprefix(list(keys)).rpartition("/")[0]  # noqa: RUF071 - the beginning of a key
        first = min(keys, key=str.encode)  # S3 lists in the order of UTF-8 bytes
        last = max(key.encode() for key in keys)
        pages_left = 2 + 2 * math.ceil(len(keys) / _PAGE_KEYS)
        try:
            for page in self._pages(folder, after=first[:-1]):
                for entry in page:
                    path = keys.get(entry.key)
                    if path is not None:
                        seen[path] = self._bucket.object_at(path, entry)
                pages_left -= 1
                if page and page[-1].key.encode() >= last:
                    return True
                if not pages_left:
                    return False
        except (*s3_errors.OBSTORE_ERRORS, _AmbiguousError):
            return False  # each is asked for by itself, which also tells what is wrong
        return True

    def _level(self, folder: str) -> "_Level | None":
        """What lies directly below the folder; null where that is so much that all below it are sooner gone through."""
        prefix = self._bucket.below(folder)
        token: dict[str, str] = {}
        objects: list[Listed] = []
        folders: list[str] = []
        for _ in range(_LEVEL_PAGES):
            page = self._bucket.page(prefix, Delimiter="/", **token)
            objects += [Listed.of_boto3(listed) for listed in page.get("Contents", ())]
            for entry in page.get("CommonPrefixes", ()):
                name = entry["Prefix"][len(prefix) : -1]
                name = f"{folder}/{name}" if folder else name
                with suppress(PlaceRefusedError):  # nor would we ask for what lies below it
                    self._bucket.key(name)
                    folders.append(name)
            if not page.get("IsTruncated"):
                return _Level(objects, folders)
            token = {"ContinuationToken": page["NextContinuationToken"]}
        return None

    def _flat_pages(self, folder: str) -> Iterator[Listing]:
        """All below the folder, by obstore and boto3 in turn."""
        prefix = self._bucket.below(folder)
        last: str | None = ""
        end = _End.ODD_PAGE if prefix else _End.GIVEN_UP  # of a whole bucket obstore would list "/a" as "a"
        while last is not None:
            if end is _End.ODD_PAGE:
                last, end = yield from self._by_obstore(prefix, last)
                if end is _End.WHOLE:
                    return
            last = yield from self._by_boto3(prefix, last, whole=end is _End.GIVEN_UP)

    def _by_obstore(self, prefix: str, last: str) -> Generator[Listing, None, tuple[str, "_End"]]:
        """What comes behind the key `last`, as far as obstore tells it. Returns the last key that it told, and why it ended."""
        refusal: ArchiveError | None = None
        try:
            for entries in self._pages(prefix, after=last):
                if entries and entries[0].key.encode() <= last.encode():  # a store that begins anew
                    return last, _End.GIVEN_UP
                last = entries[-1].key if entries else last
                yield self._all_described(entries)
        except _AmbiguousError:
            return last, _End.ODD_PAGE
        except s3_errors.OBSTORE_ERRORS as err:
            refusal = s3_errors.translate_obstore(err, place=self._bucket.uri, doing="listing")
        # Outside of the `except`, so that no error has obstore's in its traceback, which quotes secrets.
        if isinstance(refusal, RefusedError):
            raise refusal
        return last, _End.WHOLE if refusal is None else _End.GIVEN_UP

    def _by_boto3(self, prefix: str, last: str, *, whole: bool) -> Generator[Listing, None, str | None]:
        """What comes behind the key `last`: all of it, or one page, and on to where obstore could take over.

        Returns the last key of these; null where nothing is left.
        """
        token = {"StartAfter": last} if last else {}
        while True:
            page = self._bucket.page(prefix, **token)
            entries = [Listed.of_boto3(listed) for listed in page.get("Contents", ())]
            yield self._all_described(entries)
            if not page.get("IsTruncated"):
                return None
            # Behind an odd key obstore could not go on: it would take "a/" for "a".
            if not whole and entries and self._bucket.described(entries[-1]) is not None:
                return entries[-1].key
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def _pages(self, prefix: str, *, after: str | None = None) -> Iterator[Sequence[Listed]]:
        """What lies below a folder, in the order of keys, page by page.

        Raises:
            OBSTORE_ERRORS: it cannot be listed, or holds a key that obstore does not take.
            _AmbiguousError: it holds an object without bytes, which may be a folder's marker: obstore drops the slash. Folders
                are not named like mp3s, and recordings without bytes are not rare.
        """
        objects = self._bucket.objects()
        for page in obstore.list(objects, prefix=prefix or None, offset=after or None, chunk_size=_PAGE_KEYS):
            listed = [Listed(m["path"], m["size"], (m["e_tag"] or "").strip('"'), m["last_modified"]) for m in page]
            if not all(entry.size_bytes or entry.key[-4:].lower() == ".mp3" for entry in listed):
                raise _AmbiguousError
            yield listed

    def _all_described(self, entries: Sequence[Listed]) -> Listing:
        return Listing([item for entry in entries if (item := self._bucket.described(entry)) is not None])
