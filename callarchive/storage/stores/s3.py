"""A store in an S3 bucket. Every object is one PUT with its SHA-256, so an object is whole or absent.

A single PUT (S3 takes up to 5 GB) leaves nothing behind when the writer is killed, and its checksum covers the whole
object. Locks are in `s3_lock`, clients in `s3.clients`, and the test of conditional writes in `s3_promises`.
"""

import contextlib
import hashlib
import io
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from botocore.exceptions import FlexibleChecksumError

from callarchive.domain.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    ArchiveError,
    ObjectNotFoundError,
    StoreError,
    UnavailableError,
)
from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.runtime.retry import Backoff, retry
from callarchive.settings import ObjectSettings, S3Settings
from callarchive.storage.landing.places import check_path
from callarchive.storage.s3 import clients as s3_clients
from callarchive.storage.s3 import errors as s3_errors
from callarchive.storage.s3.object_lock import default_retention, has_object_lock
from callarchive.storage.s3.object_options import ObjectOptions
from callarchive.storage.s3.versions import ObjectVersions
from callarchive.storage.stores import StoredObject
from callarchive.storage.stores.naming import LOCKS, is_temporary
from callarchive.storage.stores.s3_lock import S3Lock
from callarchive.storage.stores.s3_promises import Promises, compares_checksums, try_promises
from callarchive.storage.stores.s3_staging import Digests, S3Staging

_CHUNK_BYTES = 1024 * 1024
_IN_MEMORY_BYTES = 8 * 1024 * 1024
_LEASE_S = 60.0
_CONFLICT_ATTEMPTS = 5
_READS = 2  # of an object that seems damaged, because the download may be
_CONFLICT_BACKOFF = Backoff(first_s=0.2)
_STAGING_KEY = "callarchive-staging"  # the metadata key that identifies the staging that wrote an object
_kept: dict[tuple[str, str], Promises] = {}  # buckets that passed the test in this process, by endpoint and name


class S3Store:
    """The store at `s3://bucket/prefix`. Connects at the first use. The lock of a dead holder stays taken for `lease_s`."""

    def __init__(
        self, url: str, s3: S3Settings, *, objects: ObjectSettings | None = None, lease_s: float = _LEASE_S
    ) -> None:
        self.url = url
        self._bucket, self._root = s3_clients.split_s3_url(url)
        self._settings = s3
        self._object_options = ObjectOptions(objects or ObjectSettings())
        self._object_options_work = False
        self._lease_s = lease_s
        self._opening = threading.Lock()
        self._opened: Any = None
        self._opened_versions: ObjectVersions | None = None
        self._trying = threading.Lock()
        self._promises: Promises | None = None
        self._compares_checksums: bool | None = None

    def uri(self, path: str) -> str:
        """Return the object's s3:// URL, unquoted."""
        return f"s3://{self._bucket}/{self._key(path)}"

    @contextmanager
    def stage(self, folder: str) -> Iterator[S3Staging]:
        """Stage bytes in memory, beyond 8 MiB in an unnamed temporary file."""
        if folder:
            check_path(folder)
        with SpooledTemporaryFile(_IN_MEMORY_BYTES) as spool:
            yield S3Staging(self.url, cast("BinaryIO", spool), self._put_staged)

    def replace(self, path: str, data: bytes) -> None:
        """Make `data` the object at `path`."""
        self._put(path, data, Digests.of(data), {})

    @contextmanager
    def replacing(self, path: str) -> Iterator[BinaryIO]:
        """Replace the object with what is written into the file."""
        buffer = io.BytesIO()
        yield buffer
        self.replace(path, buffer.getvalue())

    def create(self, path: str, data: bytes) -> None:
        """Make `data` a new object at `path`."""
        self._put_new(path, data, Digests.of(data))

    def read(self, path: str) -> bytes:
        """Return the whole object."""
        return b"".join(self.open(path))

    def open(self, path: str) -> Iterator[bytes]:
        """Return the object in chunks. botocore verifies its length and, if it has one, its checksum at the end."""
        key = self._key(path)
        with self._translating("reading", path):
            body = self._client().get_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")["Body"]
        chunks = self._chunks(body, path)
        next(chunks)  # runs to the first yield, so that the body is closed even if nobody reads it
        return chunks

    def list(self, folder: str) -> list[StoredObject]:
        """Return every object below `folder`, ordered by path."""
        start = len(self._root) + 1 if self._root else 0
        found = []
        for page in self._pages(self._below(folder)):
            for entry in page.get("Contents", ()):
                path = entry["Key"][start:]
                hidden = path.endswith("/") or path.startswith(LOCKS + "/") or is_temporary(path.rpartition("/")[2])
                if not hidden:
                    found.append(StoredObject(path, entry["Size"]))
        return sorted(found, key=lambda item: item.path)

    def sizes(self, folder: str, paths: Iterable[str]) -> dict[str, int]:
        """Return the sizes of those of the objects that exist, from one listing of `folder`.

        An object that the listing lacks is checked with HEAD: a listing alone does not prove absence.
        Raises UnavailableError if HEAD does not show whether an object exists.
        """
        wanted = set(paths)
        found = {item.path: item.size_bytes for item in self.list(folder) if item.path in wanted} if wanted else {}
        for path in sorted(wanted - found.keys()):
            match self.stat(path):
                case Present(item):
                    found[path] = item.size_bytes
                case Unknown(reason):
                    raise UnavailableError(f"cannot determine whether {self.uri(path)} still exists: {reason}")
        return found

    def stat(self, path: str) -> Evidence[StoredObject]:
        """Return the result of HEAD."""
        try:
            head = self._head(path)
        except ArchiveError as err:
            return Unknown(str(err))
        return Present(StoredObject(path, head["ContentLength"])) if head else Absent("HEAD answered 404")

    def irregular(self, folder: str) -> tuple[str, ...]:  # noqa: ARG002 - a bucket has neither links nor devices
        """Return nothing."""
        return ()

    def folders(self, folder: str) -> tuple[str, ...]:
        """Return the names of the folders directly below `folder`."""
        prefix = self._below(folder)
        pages = self._pages(prefix, Delimiter="/")
        return tuple(sorted(e["Prefix"][len(prefix) : -1] for page in pages for e in page.get("CommonPrefixes", ())))

    def files(self, folder: str) -> tuple[str, ...]:
        """Return the names of the objects directly below `folder`."""
        prefix = self._below(folder)
        keys = [
            e["Key"][len(prefix) :] for page in self._pages(prefix, Delimiter="/") for e in page.get("Contents", ())
        ]
        return tuple(sorted(key for key in keys if key))

    def delete(self, path: str) -> None:
        """Delete the object. In a bucket with versioning, older versions remain: see `erase`."""
        key = self._key(path)
        with self._translating("deleting", path):
            self._client().delete_object(Bucket=self._bucket, Key=key)

    def erase(self, path: str, *, bypass_governance: bool = False) -> None:
        """Delete the object with all its versions and delete markers, and check that they are gone."""
        self._versions().erase(self._key(path), bypass_governance=bypass_governance)

    def erase_old_versions(self, path: str, *, bypass_governance: bool = False) -> None:
        """Delete the object's older versions and delete markers."""
        self._versions().erase_old_versions(self._key(path), bypass_governance=bypass_governance)

    def erase_folder(self, folder: str, *, bypass_governance: bool = False) -> None:
        """Delete everything below the folder with all versions and delete markers, and check that it is gone."""
        self._versions().erase_below(self._key(folder) + "/", bypass_governance=bypass_governance)

    def supports_legal_hold(self) -> bool:
        """Return whether the bucket has Object Lock."""
        supported = has_object_lock(self._client(), self._bucket)
        if supported is None:
            needed = "the credentials need s3:GetBucketObjectLockConfiguration"
            raise AccessDeniedError(f"{self.url}: whether it has Object Lock cannot be read: {needed}")
        return supported

    def set_legal_hold(self, path: str, *, on: bool) -> None:
        """Set or release the legal hold of every version of the object."""
        self._versions().set_legal_hold(self._key(path), on=on)

    def sweep(self, folder: str, *, older_than_s: float = 0.0) -> int:  # noqa: ARG002
        """Remove nothing: an aborted PUT leaves nothing behind."""
        if folder:
            check_path(folder)
        return 0

    @contextmanager
    def lock(self, name: str, *, wait_s: float) -> Iterator[None]:
        """Hold the lock. The lock of a dead holder becomes free when its lease expires.

        Raises UnavailableError also at the end of the block, if the lock was lost in the meantime.
        """
        key = self._key(f"{LOCKS}/{name}")
        promises = self._seen_promises()
        promises.require(self.url, locks=True)
        lock = S3Lock(
            self._client(),
            self._bucket,
            key,
            shown=f"the lock {name} of {self.url}",
            lease_s=self._lease_s,
            deletes_if_match=promises.deletes_if_match,
        )
        lock.take(wait_s=wait_s)
        try:
            yield
        except BaseException:
            with contextlib.suppress(UnavailableError):  # the error inside matters more
                lock.free()
            raise
        lock.free()

    def prove(self, *, locks: bool) -> None:
        """Test the store now, even if it passed before."""
        self._try_promises().require(self.url, locks=locks)

    def prove_object_options(self) -> str | None:
        """Test now that the bucket stores recordings as `archive.objects` says."""
        if not self._object_options:
            return None
        self._object_options.try_out(self._client(), self._bucket, f"{self._below('')}{LOCKS}/")
        return str(self._object_options)

    def _seen_promises(self) -> Promises:
        with self._trying:
            if self._promises is None:
                kept = _kept.get((self._client().meta.endpoint_url, self._bucket))
                self._promises = kept or self._try_promises()
            return self._promises

    def _try_promises(self) -> Promises:
        client = self._client()
        promises = try_promises(client, self._bucket, self._below(""))
        if promises.creates_broken is None and promises.locks_broken is None:
            _kept[client.meta.endpoint_url, self._bucket] = promises
        return promises

    def default_retention(self) -> str | None:
        """Return the default retention of the bucket's Object Lock, for display."""
        return default_retention(self._client(), self._bucket)

    def _put_staged(self, path: str, body: BinaryIO, digests: Digests) -> None:
        """Create a recording, with the options of `archive.objects`."""
        with self._trying:
            if not self._object_options_work:
                self.prove_object_options()
                self._object_options_work = True
        self._put_new(path, body, digests, **self._object_options.parameters())

    def _put_new(self, path: str, body: "bytes | BinaryIO", digests: Digests, **options: Any) -> None:
        """Create the object, with its writer in the metadata.

        botocore repeats a PUT whose response was lost, and the second one finds the name taken by the first.
        """
        self._seen_promises().require(self.url, locks=False)
        token = secrets.token_hex(16)
        try:
            self._put(path, body, digests, {"IfNoneMatch": "*", "Metadata": {_STAGING_KEY: token}, **options})
        except AlreadyExistsError:
            head = self._head(path)
            if head.get("Metadata", {}).get(_STAGING_KEY) != token or head.get("ContentLength") != digests.size_bytes:
                raise
            self._confirm(path, head, digests)

    def _put(self, path: str, body: "bytes | BinaryIO", digests: Digests, options: dict[str, Any]) -> None:
        key, checksum = self._key(path), digests.sha256_base64

        def put() -> dict[str, Any]:
            if not isinstance(body, bytes):
                body.seek(0)
            with self._translating("writing", path):
                response: dict[str, Any] = self._client().put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=body,
                    ContentLength=digests.size_bytes,
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=checksum,
                    **options,
                )
            return response

        # A conflict: another conditional PUT is in progress, and its outcome decides.
        response = retry(
            put,
            retryable=lambda err: isinstance(err, s3_errors.ConflictError),
            backoff=_CONFLICT_BACKOFF,
            attempts=_CONFLICT_ATTEMPTS,
        )
        self._confirm(path, response, digests)

    def _confirm(self, path: str, response: dict[str, Any], digests: Digests) -> None:
        """Raise StoreError, and delete the object, unless S3 holds the bytes that were sent. A 200 alone does not prove it.

        Proof is an ETag that is their MD5, else a store that was seen to refuse wrong checksums, else the bytes read back.
        The checksum in the response may be a copy of ours, so it proves nothing. Nor does a difference: an object that reads
        as it was sent is kept, because another process may rely on it by now, as the next append to the ledger does.
        """
        stored, etag = response.get("ChecksumSHA256"), response.get("ETag", "")
        agrees = stored is None or stored == digests.sha256_base64
        if agrees and (etag.strip('"').lower() == digests.md5_hex or self._checksums_are_compared()):
            return
        if any(self._stored_sha256(path) == digests.sha256 for _ in range(_READS)):
            return
        self.delete(path)
        raise StoreError(f"{self.uri(path)}: S3 stored other bytes than were sent; they were deleted: run again")

    def _stored_sha256(self, path: str) -> bytes | None:
        """Read the object and return its hash; None if its bytes do not match its own checksum."""
        sha256 = hashlib.sha256()
        try:
            for chunk in self.open(path):
                sha256.update(chunk)
        except UnavailableError as err:
            if isinstance(err.__cause__, FlexibleChecksumError):
                return None
            raise
        return sha256.digest()

    def _checksums_are_compared(self) -> bool:
        with self._trying:
            if self._compares_checksums is None:
                self._compares_checksums = compares_checksums(self._client(), self._bucket, self._below(""))
            return self._compares_checksums

    def _head(self, path: str) -> dict[str, Any]:
        """Return the response to HEAD; empty if there is no such object."""
        try:
            with self._translating("reading", path):
                head: dict[str, Any] = self._client().head_object(Bucket=self._bucket, Key=self._key(path))
        except ObjectNotFoundError:
            return {}
        return head

    def _pages(self, prefix: str, **options: str) -> Iterator[dict[str, Any]]:
        with s3_errors.translating(place=self.url, doing="listing"):
            paginator = self._client().get_paginator("list_objects_v2")
            yield from paginator.paginate(Bucket=self._bucket, Prefix=prefix, **options)

    def _chunks(self, body: Any, path: str) -> Iterator[bytes]:
        with contextlib.closing(body):
            yield b""
            try:
                yield from body.iter_chunks(_CHUNK_BYTES)
            except s3_errors.BOTO_ERRORS as err:
                raise UnavailableError(f"{self.uri(path)}: the download is incomplete ({type(err).__name__})") from err

    def _translating(self, doing: s3_errors.Doing, path: str) -> contextlib.AbstractContextManager[None]:
        return s3_errors.translating(place=self.uri(path), doing=doing)

    def _below(self, folder: str) -> str:
        if folder:
            return self._key(folder) + "/"
        return self._root + "/" if self._root else ""

    def _key(self, path: str) -> str:
        check_path(path)
        return f"{self._root}/{path}" if self._root else path

    def _client(self) -> Any:
        with self._opening:
            if self._opened is None:
                self._opened = s3_clients.s3_client(self._settings, connections=64)
            return self._opened

    def _versions(self) -> ObjectVersions:
        client = self._client()
        with self._opening:
            if self._opened_versions is None:
                self._opened_versions = ObjectVersions(client, self._bucket)
            return self._opened_versions
