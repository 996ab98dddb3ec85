"""A landing in an S3 bucket. Bodies and long listings come through obstore, outside the interpreter; the rest through boto3.

Where a recording's object lies is worked out in `landing.places`; how S3 is reached in `s3_access`, what its errors mean in
`s3_errors`.
"""

import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit

import obstore

from callarchive import s3_access, s3_errors
from callarchive.errors import (
    ArchiveError,
    ConfigurationError,
    ObjectNotFoundError,
    RefusedError,
    TransferError,
    UnavailableError,
)
from callarchive.landing import LandingObject
from callarchive.landing.places import PlaceRefusedError, check_path, date_folder_of
from callarchive.settings import AccountSettings, TransferSettings

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import S3Store as ObjectStore

_CHUNK_BYTES = 256 * 1024
_WHOLE_BYTES = 1024 * 1024
"""Objects up to this size, most recordings, come as one chunk: each further one costs turns at the interpreter lock."""
_MAX_CHUNK_BYTES = 1024 * 1024
_MAX_KEY_BYTES = 1024
"""S3 takes no longer keys."""
_SAMPLE_KEYS = 20
_PAGE_KEYS = 1000
_FOLDER_PAGES = 3
_LEVEL_PAGES = 5
_FOLDERS_EACH = 100
"""So many folders at most are listed each by itself: a request brings 1,000 objects where all are gone through."""
_MD5 = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
_NEVER = datetime.fromtimestamp(0, UTC)
"""What obstore gives where an answer has no Last-Modified."""


class _AmbiguousError(Exception):
    """A listing of obstore's that boto3 must make."""


class _Level(NamedTuple):
    """What lies directly below a folder; folders by their paths."""

    objects: "list[_Listed]"
    folders: list[str]


class _Listed(NamedTuple):
    """A line of a listing. `etag` is without quotes, and empty where there is none."""

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime | None


def _entry(listed: dict[str, Any]) -> _Listed:
    """The line, from boto3's."""
    return _Listed(listed["Key"], listed["Size"], listed.get("ETag", "").strip('"'), listed.get("LastModified"))


class S3Landing:
    """The landing of an account whose `landing` is `s3://bucket/prefix`. Thread-safe; connects at the first use.

    Keys with an empty, `.` or `..` part, with a control character or a backslash are not seen: 8x8 writes none, and
    obstore could not ask for all of them as they are.
    """

    walks_folders = False

    def __init__(self, account: AccountSettings, transfer: TransferSettings, *, concurrency: int) -> None:
        place = urlsplit(account.landing)
        self.uri = account.landing
        self.concurrency = concurrency
        self._bucket = place.netloc
        self._root = unquote(place.path).strip("/")
        self._settings = account.s3
        self._transfer = transfer
        self._opening = threading.Lock()
        self._opened_client: Any = None
        self._opened_objects: ObjectStore | None = None

    def list(self, folder: str) -> list[LandingObject]:
        """Every object below `folder`, at any depth."""
        return [item for page in self.pages(folder) for item in page]

    def pages(
        self,
        folder: str,
        *,
        skip: Callable[[str], bool] | None = None,
    ) -> "Iterator[Sequence[LandingObject]]":
        """The same, up to 1,000 at a time; without the folders directly below that `skip` names, unless many are left."""
        level = None if skip is None else self._level(folder)
        left = [name for name in level.folders if skip is None or not skip(name)] if level is not None else []
        if level is None or len(left) > _FOLDERS_EACH:
            yield from self._flat_pages(folder)
            return
        yield self._all_described(level.objects)
        for name in left:
            yield from self._flat_pages(name)

    def _level(self, folder: str) -> "_Level | None":
        """What lies directly below the folder; null where that is so much that all below it are sooner gone through."""
        prefix = self._below(folder)
        token: dict[str, str] = {}
        objects: list[_Listed] = []
        folders: list[str] = []
        for _ in range(_LEVEL_PAGES):
            page = self._page(prefix, Delimiter="/", **token)
            objects += [_entry(listed) for listed in page.get("Contents", ())]
            for entry in page.get("CommonPrefixes", ()):
                name = f"{folder}/{entry['Prefix'][len(prefix) : -1]}" if folder else entry["Prefix"][len(prefix) : -1]
                with suppress(PlaceRefusedError):  # nor would we ask for what lies below it
                    self._key(name)
                    folders.append(name)
            if not page.get("IsTruncated"):
                return _Level(objects, folders)
            token = {"ContinuationToken": page["NextContinuationToken"]}
        return None

    def _flat_pages(self, folder: str) -> "Iterator[Sequence[LandingObject]]":
        """All below the folder: by obstore, and by boto3, which takes ten times as long, where obstore would not tell all."""
        prefix, last = self._below(folder), ""
        for_obstore = bool(prefix)  # of a whole bucket it would list "/a" as "a"
        while True:
            refusal: ArchiveError | None = None
            try:
                for entries in self._pages(prefix, after=last) if for_obstore else ():
                    if (
                        entries and entries[0].key.encode() <= last.encode()
                    ):  # a store that does not go on where it should
                        for_obstore = False
                        break
                    last = entries[-1].key if entries else last
                    yield self._all_described(entries)
                else:
                    if for_obstore:
                        return
            except _AmbiguousError:
                pass
            except s3_errors.OBSTORE_ERRORS as err:
                refusal = s3_errors.translate_obstore(err, place=self.uri, doing="listing")
                for_obstore = False
            # Outside of the `except`, so that no error has obstore's in its traceback, which quotes secrets.
            if isinstance(refusal, RefusedError):
                raise refusal
            token = {"StartAfter": last} if last else {}
            while True:
                page = self._page(prefix, **token)
                entries = [_entry(listed) for listed in page.get("Contents", ())]
                yield self._all_described(entries)
                if not page.get("IsTruncated"):
                    return
                last = entries[-1].key if entries else last
                # Behind an odd key obstore could not go on: it would take "a/" for "a".
                if for_obstore and entries and self._described(entries[-1]) is not None:
                    break
                token = {"ContinuationToken": page["NextContinuationToken"]}

    def uri_of(self, path: str) -> str:
        """The object's place as an s3:// URL, characters as they are."""
        return self._place(path)

    def existing_folders(self, names: Sequence[str]) -> set[str]:
        """Those of the folders directly below the root that hold an object, be it only the folder's own marker.

        Folders with neighbouring names are seen in one page; after a few each is asked for by itself.
        """
        unseen = {self._below(name): name for name in names}
        found: set[str] = set()
        token = {"StartAfter": min(unseen, key=str.encode)[:-1]}  # without the slash: before all that lies below it
        for _ in range(_FOLDER_PAGES):
            page = self._page(self._below(""), Delimiter="/", MaxKeys=len(names) + 1, **token)
            seen = [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]
            found |= {name for prefix in seen if (name := unseen.pop(prefix, None)) is not None}
            came = max([*seen, *(entry["Key"] for entry in page.get("Contents", ()))], key=str.encode, default="")
            unseen = {prefix: name for prefix, name in unseen.items() if prefix.encode() > came.encode()}
            if not page.get("IsTruncated") or not unseen:
                return found
            token = {"ContinuationToken": page["NextContinuationToken"]}
        return found | {name for prefix, name in unseen.items() if self._page(prefix, MaxKeys=1).get("Contents")}

    def open(self, path: str) -> "S3Download":
        """Begins to read one object with one GET; a body that breaks off is resumed for a while."""
        key, place = self._key(path), self._place(path)
        ends_at = time.monotonic() + self._transfer.deadline_s
        try:
            result = obstore.get(self._objects(), key)
        except s3_errors.OBSTORE_ERRORS as err:
            if "MissingContentLength" in str(err):
                raise TransferError(f"{place}: {s3_errors.broken_because(err)}") from None
            raise s3_errors.translate_obstore(err, place=place, doing="reading") from None
        meta = result.meta
        modified_at = meta["last_modified"]
        described = LandingObject(
            path=path,
            uri=place,
            size_bytes=meta["size"],
            etag=(meta["e_tag"] or "").strip('"') or None,
            modified_at=None if modified_at == _NEVER else modified_at,
        )
        return S3Download(described, result, landing=self, ends_at=ends_at)

    def stat_many(self, paths: Iterable[str]) -> dict[str, LandingObject | None]:
        """What S3 says of each path now, null for one that is not there.

        Several of one date folder, or of none, are looked for in one flat listing of the keys between them. It is given up
        after twice the pages that the paths alone would fill; those not seen by then are asked for one by one.
        """
        seen: dict[str, LandingObject | None] = {}
        folders: dict[str, dict[str, str]] = {}
        for path in paths:
            folders.setdefault(date_folder_of(path), {})[self._key(path)] = path
        rest = []
        for keys in folders.values():
            if len(keys) > 1 and self._stat_by_listing(keys, seen):
                seen |= {path: None for path in keys.values() if path not in seen}
            rest += [path for path in keys.values() if path not in seen]
        if rest:
            with ThreadPoolExecutor(min(self.concurrency, len(rest)), "stat") as pool:
                seen.update(zip(rest, pool.map(self._stat, rest), strict=True))
        return seen

    def check(self) -> None:
        """Returns when the landing can be listed, and lies where the configuration says."""
        page = self._page(self._below(""), MaxKeys=1)
        region = page["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
        meta = self._client().meta
        ours = meta.region_name
        if region and region != ours and s3_access.is_aws(meta.endpoint_url):
            # boto3 goes after a bucket in another region by itself, obstore does not.
            raise ConfigurationError(f"{self.uri}: the bucket is in {region}, not in {ours}: set accounts.s3.region")

    def sample(self) -> LandingObject | None:
        """Some object among the first few keys of the landing, null if there is none."""
        entries = map(_entry, self._page(self._below(""), MaxKeys=_SAMPLE_KEYS).get("Contents", ()))
        return next((item for entry in entries if (item := self._described(entry)) is not None), None)

    def close(self) -> None:
        """Lets go of connections; a later use would connect again."""
        with self._opening:
            client, self._opened_client, self._opened_objects = self._opened_client, None, None
        if client is not None:
            client.close()

    def etag_is_md5(self, download: LandingObject) -> bool:
        """Whether S3 makes this object's ETag from its bytes alone: not so under a KMS key or a customer's key.

        Raises:
            TransferError: the object is another one by now.
        """
        head = self._head(download.path)
        if head is None or head.get("ETag", "").strip('"') != download.etag:
            raise TransferError(f"{download.uri}: the object changed while it was read")
        encrypted = str(head.get("ServerSideEncryption", "")).startswith("aws:kms")
        customer_key = "SSECustomerAlgorithm" in head
        return not (encrypted or customer_key or head.get("StorageClass") == "EXPRESS_ONEZONE")

    def _stat_by_listing(self, keys: dict[str, str], seen: dict[str, LandingObject | None]) -> bool:
        """Puts into `seen` what a listing shows of the keys. Returns whether it went past the last of them."""
        folder = os.path.commonprefix(list(keys)).rpartition("/")[0]  # noqa: RUF071 - the beginning of a key
        first = min(keys, key=str.encode)  # S3 lists in the order of UTF-8 bytes
        last = max(key.encode() for key in keys)
        pages_left = 2 + 2 * math.ceil(len(keys) / _PAGE_KEYS)
        try:
            for page in self._pages(folder, after=first[:-1]):
                for entry in page:
                    if entry.key in keys:
                        seen[keys[entry.key]] = self._described(entry)
                pages_left -= 1
                if page and page[-1].key.encode() >= last:
                    return True
                if not pages_left:
                    return False
        except (*s3_errors.OBSTORE_ERRORS, _AmbiguousError):
            return False  # each is asked for by itself, which also tells what is wrong
        return True

    def _pages(self, prefix: str, *, after: str | None = None) -> "Iterator[Sequence[_Listed]]":
        """What lies below a folder, in the order of keys, page by page.

        Raises:
            OBSTORE_ERRORS: it cannot be listed, or holds a key that obstore does not take.
            _AmbiguousError: it holds an object without bytes, which may be a folder's marker: obstore drops the slash. Folders
                are not named like mp3s, and recordings without bytes are not rare.
        """
        objects = self._objects()
        for page in obstore.list(objects, prefix=prefix or None, offset=after or None, chunk_size=_PAGE_KEYS):
            listed = [_Listed(m["path"], m["size"], (m["e_tag"] or "").strip('"'), m["last_modified"]) for m in page]
            if not all(entry.size_bytes or entry.key[-4:].lower() == ".mp3" for entry in listed):
                raise _AmbiguousError
            yield listed

    def _stat(self, path: str) -> LandingObject | None:
        head = self._head(path)
        if head is None:
            return None
        return LandingObject(
            path=path,
            uri=self._place(path),
            size_bytes=head["ContentLength"],
            etag=head.get("ETag", "").strip('"') or None,
            modified_at=head.get("LastModified"),
        )

    def _head(self, path: str) -> dict[str, Any] | None:
        try:
            head: dict[str, Any] = self._client().head_object(Bucket=self._bucket, Key=self._key(path))
        except s3_errors.BOTO_ERRORS as err:
            error = s3_errors.translate_botocore(err, place=self._place(path), doing="reading")
            if isinstance(error, ObjectNotFoundError):
                return None
            raise error from err
        return head

    def _page(self, prefix: str, **options: Any) -> dict[str, Any]:
        try:
            page: dict[str, Any] = self._client().list_objects_v2(Bucket=self._bucket, Prefix=prefix, **options)
        except s3_errors.BOTO_ERRORS as err:
            error = s3_errors.translate_botocore(err, place=self.uri, doing="listing")
            if isinstance(error, ObjectNotFoundError):  # not S3: a web server that knows no buckets
                error = UnavailableError(f"{self.uri}: what answers there does not list buckets: check endpoint_url")
            raise error from err
        return page

    def _all_described(self, entries: "Sequence[_Listed]") -> "Sequence[LandingObject]":
        return [item for entry in entries if (item := self._described(entry)) is not None]

    def _described(self, entry: "_Listed") -> LandingObject | None:
        """The listed object; null for a folder's marker and for a key that we would not ask for."""
        start = len(self._root) + 1 if self._root else 0
        path = entry.key[start:]
        try:
            self._key(path)
        except PlaceRefusedError:
            return None
        return LandingObject(
            path=path,
            uri=self._place(path),
            size_bytes=entry.size_bytes,
            etag=entry.etag or None,
            modified_at=entry.modified_at,
        )

    def _key(self, path: str) -> str:
        check_path(path)
        key = f"{self._root}/{path}" if self._root else path
        try:
            length = len(key.encode())
        except UnicodeEncodeError as err:
            raise PlaceRefusedError(f"refused as a key: {ascii(path)[:80]} is not Unicode") from err
        if length > _MAX_KEY_BYTES:
            raise PlaceRefusedError(f"refused as a key: {length} bytes")
        return key

    def _below(self, folder: str) -> str:
        if folder:
            return self._key(folder) + "/"
        return self._root + "/" if self._root else ""

    def _place(self, path: str) -> str:
        return f"s3://{self._bucket}/{self._root}/{path}" if self._root else f"s3://{self._bucket}/{path}"

    def _client(self) -> Any:
        with self._opening:
            if self._opened_client is None:
                self._opened_client = s3_access.s3_client(
                    self._settings, connections=self.concurrency, read_timeout_s=self._transfer.stall_timeout_s
                )
            return self._opened_client

    def _objects(self) -> "ObjectStore":
        with self._opening:
            if self._opened_objects is None:
                self._opened_objects = s3_access.object_store(
                    self._settings,
                    self._bucket,
                    stall_timeout_s=self._transfer.stall_timeout_s,
                    deadline_s=self._transfer.deadline_s,
                )
            return self._opened_objects


class S3Download:
    """An object in S3 being read: its bytes once, as the Download protocol says."""

    def __init__(self, described: LandingObject, result: "GetResult", *, landing: S3Landing, ends_at: float) -> None:
        self.object = described
        self._result = result
        self._landing = landing
        self._ends_at = ends_at

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        del self._result  # the connection goes back, or is closed if the body was not read to its end

    def __iter__(self) -> Iterator[bytes]:
        came, promised = 0, self.object.size_bytes
        try:
            for chunk in self._chunks():
                came += len(chunk)
                if came > promised:
                    raise TransferError(f"{self.object.uri}: more bytes came than the {promised} promised")
                if time.monotonic() > self._ends_at:
                    raise TransferError(f"{self.object.uri}: the deadline passed after {came} of {promised} bytes")
                if 0 < len(chunk) <= _MAX_CHUNK_BYTES:
                    yield chunk
                    continue
                for start in range(0, len(chunk), _MAX_CHUNK_BYTES):
                    yield chunk[start : start + _MAX_CHUNK_BYTES]
        except s3_errors.OBSTORE_ERRORS as err:
            reason = s3_errors.broken_because(err)
            raise TransferError(f"{self.object.uri}: {reason} ({came} of {promised} bytes)") from None
        if came != promised:
            raise TransferError(f"{self.object.uri}: {came} bytes came, {promised} were promised")

    def _chunks(self) -> Iterable[Any]:
        """What obstore gives: buffers of its own, which are used as bytes are."""
        if self.object.size_bytes <= _WHOLE_BYTES:
            return (self._result.bytes(),)
        return self._result.stream(_CHUNK_BYTES)

    def verify_md5(self, md5_hex: str) -> None:
        """Returns when the ETag, where it is a hash of the bytes, is that of the bytes that came."""
        etag = self.object.etag
        if etag is None or not _MD5.fullmatch(etag) or etag.lower() == md5_hex.lower():
            return
        if self._landing.etag_is_md5(self.object):
            raise TransferError(f"{self.object.uri}: the bytes that came have MD5 {md5_hex}, its ETag says {etag}")
