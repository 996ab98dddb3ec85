"""A store in an S3 bucket. Every object is one PUT with its SHA-256, so a name shows whole bytes or nothing.

Single PUTs (S3 takes up to 5 GB) leave nothing behind when the writer is killed, and their checksum is that of the
whole object. Locks are in `s3_lock`, the way to S3 is in `s3_access`. What both rest on is tried first: `s3_promises`.
"""

import contextlib
import hashlib
import io
import itertools
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from botocore.exceptions import FlexibleChecksumError

from callarchive.domain.errors import AlreadyExistsError, ObjectNotFoundError, StoreError, UnavailableError
from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.runtime.retry import Backoff, retry
from callarchive.settings import S3Settings
from callarchive.storage.landing.places import check_path
from callarchive.storage.s3 import clients as s3_clients
from callarchive.storage.s3 import errors as s3_errors
from callarchive.storage.stores import StoredObject
from callarchive.storage.stores.naming import LOCKS, is_temporary
from callarchive.storage.stores.s3_lock import S3Lock
from callarchive.storage.stores.s3_promises import Promises, compares_checksums, try_promises
from callarchive.storage.stores.s3_staging import Digests, S3Staging

_CHUNK_BYTES = 1024 * 1024
_IN_MEMORY_BYTES = 8 * 1024 * 1024
_LEASE_S = 60.0
_CONFLICT_TRIES = 5
_STAGING_KEY = "callarchive-staging"
"""The metadata key under which an object names the staging that wrote it."""

_kept: dict[tuple[str, str], Promises] = {}
"""The buckets, by endpoint and name, of which this process saw that they keep all promises: tried once."""


class S3Store:
    """The store at `s3://bucket/prefix`; the prefix is taken as it is written. Connects at the first use.

    Args:
        lease_s: how long a lock stays taken after its holder died.
    """

    def __init__(self, url: str, s3: S3Settings, *, lease_s: float = _LEASE_S) -> None:
        self.url = url
        self._bucket, self._root = s3_clients.split_s3_url(url)
        self._settings = s3
        self._lease_s = lease_s
        self._opening = threading.Lock()
        self._opened: Any = None
        self._trying = threading.Lock()
        self._promises: Promises | None = None
        self._compares_checksums: bool | None = None

    def __repr__(self) -> str:
        return f"S3Store({self.url})"

    def uri(self, path: str) -> str:
        """The object's place as an s3:// URL, characters as they are."""
        return f"s3://{self._bucket}/{self._key(path)}"

    @contextmanager
    def stage(self, folder: str) -> Iterator[S3Staging]:
        """Room for bytes: in memory, beyond 8 MiB in a temporary file without a name."""
        if folder:
            check_path(folder)
        with SpooledTemporaryFile(_IN_MEMORY_BYTES) as spool:
            yield S3Staging(self, cast("BinaryIO", spool))

    def replace(self, path: str, data: bytes) -> None:
        """The object at `path` is `data`."""
        self._put(path, data, Digests.of(data), {})

    @contextmanager
    def replacing(self, path: str, *, about_bytes: int) -> Iterator[BinaryIO]:  # noqa: ARG002 - goes out in one request
        """The same for bytes that are made as they are written."""
        buffer = io.BytesIO()
        yield buffer
        self.replace(path, buffer.getvalue())

    def create(self, path: str, data: bytes) -> None:
        """The object at `path` is `data`, for the first time."""
        self.put_new(path, data, Digests.of(data))

    def read(self, path: str) -> bytes:
        """The whole object."""
        return b"".join(self.open(path))

    def open(self, path: str) -> Iterator[bytes]:
        """The object in chunks; botocore compares length and, where the object has one, checksum at its end."""
        key = self._key(path)
        try:
            body = self._client().get_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")["Body"]
        except s3_errors.BOTO_ERRORS as err:
            raise s3_errors.translate_botocore(err, place=self.uri(path), doing="reading") from err
        chunks = self._chunks(body, path)
        next(chunks)  # runs up to the first yield, so that the body is closed even if nobody reads on
        return chunks

    def list(self, folder: str) -> list[StoredObject]:
        """Every object below `folder`, ordered by path."""
        prefix = self._below(folder)
        start = len(self._root) + 1 if self._root else 0
        found = []
        try:
            pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            for entry in itertools.chain.from_iterable(page.get("Contents", ()) for page in pages):
                path = entry["Key"][start:]
                hidden = path.endswith("/") or path.startswith(LOCKS + "/") or is_temporary(path.rpartition("/")[2])
                if not hidden:
                    found.append(StoredObject(path, entry["Size"]))
        except s3_errors.BOTO_ERRORS as err:
            raise s3_errors.translate_botocore(err, place=self.url, doing="listing") from err
        return sorted(found, key=lambda item: item.path)

    def sizes(self, folder: str, paths: Iterable[str]) -> dict[str, int]:
        """Return the sizes of those of the objects that are there, from one listing of `folder`.

        What the listing lacks is asked for by its own name: a listing alone proves no absence.

        Raises:
            UnavailableError: of an object that the listing lacks, HEAD does not say whether it is there.
        """
        wanted = set(paths)
        found = {item.path: item.size_bytes for item in self.list(folder) if item.path in wanted} if wanted else {}
        for path in sorted(wanted - found.keys()):
            match self.stat(path):
                case Present(item):
                    found[path] = item.size_bytes
                case Unknown(reason):
                    raise UnavailableError(f"whether {self.uri(path)} is still there is not known: {reason}")
        return found

    def stat(self, path: str) -> Evidence[StoredObject]:
        """Return what HEAD says of the object."""
        try:
            head = self._client().head_object(Bucket=self._bucket, Key=self._key(path))
        except s3_errors.BOTO_ERRORS as err:
            error = s3_errors.translate_botocore(err, place=self.uri(path), doing="reading")
            return Absent("HEAD answered 404") if isinstance(error, ObjectNotFoundError) else Unknown(str(error))
        return Present(StoredObject(path, head["ContentLength"]))

    def irregular(self, folder: str) -> tuple[str, ...]:  # noqa: ARG002 - a bucket has neither links nor devices
        """Return nothing: every object is one."""
        return ()

    def folders(self, folder: str) -> tuple[str, ...]:
        """Names of the folders directly below `folder`."""
        prefix = self._below(folder)
        try:
            pages = (
                self._client()
                .get_paginator("list_objects_v2")
                .paginate(Bucket=self._bucket, Prefix=prefix, Delimiter="/")
            )
            entries = itertools.chain.from_iterable(page.get("CommonPrefixes", ()) for page in pages)
            return tuple(sorted(entry["Prefix"][len(prefix) : -1] for entry in entries))
        except s3_errors.BOTO_ERRORS as err:
            raise s3_errors.translate_botocore(err, place=self.url, doing="listing") from err

    def _below(self, folder: str) -> str:
        if folder:
            return self._key(folder) + "/"
        return self._root + "/" if self._root else ""

    def delete(self, path: str) -> None:
        """There is no object at `path`. In a bucket with versioning, older versions stay for its lifecycle rules."""
        key = self._key(path)
        try:
            self._client().delete_object(Bucket=self._bucket, Key=key)
        except s3_errors.BOTO_ERRORS as err:
            raise s3_errors.translate_botocore(err, place=self.uri(path), doing="deleting") from err

    def sweep(self, folder: str) -> int:
        """Nothing: a PUT that was broken off leaves nothing."""
        if folder:
            check_path(folder)
        return 0

    @contextmanager
    def lock(self, name: str, *, wait_s: float) -> Iterator[None]:
        """Holds the lock; a dead holder's becomes free when its lease has run out.

        Raises:
            UnavailableError: it was not to be had within `wait_s`; or, on leaving, it was lost in the meantime.
            ConfigurationError: the store does not keep what a lock rests on.
        """
        key = self._key(f"{LOCKS}/{name}")
        shown = f"the lock {name} of {self.url}"
        promises = self._seen_promises()
        promises.require_locks(self.url)
        lock = S3Lock(
            self._client(),
            self._bucket,
            key,
            shown=shown,
            lease_s=self._lease_s,
            deletes_if_match=promises.deletes_if_match,
        )
        lock.take(wait_s=wait_s)
        try:
            yield
        except BaseException:
            with contextlib.suppress(UnavailableError):  # what went wrong inside says more
                lock.free()
            raise
        lock.free()

    def prove(self, *, locks: bool) -> None:
        """Try now, whatever was seen before, that the store keeps write-once names and, with `locks`, locks."""
        promises = self._try_promises()
        promises.require_creates(self.url)
        if locks:
            promises.require_locks(self.url)

    def _seen_promises(self) -> Promises:
        """What was seen of the store in this process, tried now if nothing was. Raises ArchiveError if it is out of reach."""
        if self._promises is None:
            with self._trying:
                if self._promises is None:
                    kept = _kept.get((self._client().meta.endpoint_url, self._bucket))
                    self._promises = kept or self._try_promises()
        return self._promises

    def _try_promises(self) -> Promises:
        client = self._client()
        promises = try_promises(client, self._bucket, self._below(""))
        if promises.all_kept:
            _kept[client.meta.endpoint_url, self._bucket] = promises
        return promises

    def put_new(self, path: str, body: "bytes | BinaryIO", digests: Digests) -> None:
        """The object is there for the first time.

        botocore sends a PUT again whose answer was lost; then the second finds the name taken by the first. So the
        object names who wrote it.
        """
        self._seen_promises().require_creates(self.url)
        token = secrets.token_hex(16)
        try:
            self._put(path, body, digests, {"IfNoneMatch": "*", "Metadata": {_STAGING_KEY: token}})
        except AlreadyExistsError:
            head = self._head(path)
            if head.get("Metadata", {}).get(_STAGING_KEY) != token or head.get("ContentLength") != digests.size_bytes:
                raise
            self._confirm(path, head, digests)

    def _put(self, path: str, body: "bytes | BinaryIO", digests: Digests, options: dict[str, Any]) -> None:
        key, checksum = self._key(path), digests.sha256_base64

        def once() -> Any:
            if not isinstance(body, bytes):
                body.seek(0)
            try:
                return self._client().put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=body,
                    ContentLength=digests.size_bytes,
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=checksum,
                    **options,
                )
            except s3_errors.BOTO_ERRORS as err:
                raise s3_errors.translate_botocore(err, place=self.uri(path), doing="writing") from err

        answer = retry(
            once,
            # Another conditional PUT is under way: only its end decides whose the name is.
            retryable=lambda err: isinstance(err, s3_errors.ConflictError),
            backoff=Backoff(first_s=0.2),
            attempts=_CONFLICT_TRIES,
        )
        self._confirm(path, answer, digests)

    def _confirm(self, path: str, answer: dict[str, Any], digests: Digests) -> None:
        """Return when something other than a 200 says that S3 holds the bytes that were sent.

        That is an ETag that is their MD5; else a store that was seen to refuse wrong checksums; else the bytes themselves,
        read back. A checksum in the answer may be a copy of ours, so it proves only a difference.

        Raises:
            StoreError: S3 holds other bytes. They are deleted.
        """
        said, etag = answer.get("ChecksumSHA256"), answer.get("ETag", "")
        if said is None or said == digests.sha256_base64:
            if etag.strip('"').lower() == digests.md5_hex or self._checksums_are_compared():
                return
            if self._stored_sha256(path) == digests.sha256:
                return
        self.delete(path)
        raise StoreError(f"{self.uri(path)}: S3 stored other bytes than were sent; they were deleted: run again")

    def _stored_sha256(self, path: str) -> bytes | None:
        """The hash of the object's bytes as they are read now, None where they are not those of its own checksum."""
        found = hashlib.sha256()
        try:
            for chunk in self.open(path):
                found.update(chunk)
        except UnavailableError as err:
            if isinstance(err.__cause__, FlexibleChecksumError):
                return None
            raise
        return found.digest()

    def _checksums_are_compared(self) -> bool:
        """Whether the store refuses bytes whose SHA-256 is not the one that came with them; tried once."""
        if self._compares_checksums is None:
            with self._trying:
                if self._compares_checksums is None:
                    self._compares_checksums = compares_checksums(self._client(), self._bucket, self._below(""))
        return self._compares_checksums

    def _head(self, path: str) -> dict[str, Any]:
        try:
            head: dict[str, Any] = self._client().head_object(Bucket=self._bucket, Key=self._key(path))
        except s3_errors.BOTO_ERRORS as err:
            error = s3_errors.translate_botocore(err, place=self.uri(path), doing="reading")
            if isinstance(error, ObjectNotFoundError):  # deleted between the PUT and now
                return {}
            raise error from err
        return head

    def _chunks(self, body: Any, path: str) -> Iterator[bytes]:
        with contextlib.closing(body):
            yield b""
            try:
                yield from body.iter_chunks(_CHUNK_BYTES)
            except s3_errors.BOTO_ERRORS as err:
                raise UnavailableError(
                    f"{self.uri(path)}: its bytes did not come whole ({type(err).__name__})"
                ) from err

    def _key(self, path: str) -> str:
        check_path(path)
        return f"{self._root}/{path}" if self._root else path

    def _client(self) -> Any:
        with self._opening:
            if self._opened is None:
                self._opened = s3_clients.s3_client(self._settings, connections=64)
            return self._opened
