"""A landing in an S3 bucket. obstore reads bodies, outside the interpreter; boto3 sends all other requests."""

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import obstore

from callarchive.domain.errors import ArchiveError, ColdObjectError, ConfigurationError, TransferError
from callarchive.domain.evidence import Absent, Evidence, Present, Unknown
from callarchive.domain.landing_objects import LandingObject, SourceEvidence
from callarchive.settings import AccountSettings, TransferSettings
from callarchive.storage.landing import NOT_LISTED, Listing
from callarchive.storage.landing.places import date_folder_of
from callarchive.storage.landing.s3.bucket import S3Bucket
from callarchive.storage.landing.s3.listing import S3Listing
from callarchive.storage.landing.s3.pages import bare_etag
from callarchive.storage.landing.s3.questions import S3Questions
from callarchive.storage.s3 import clients as s3_clients
from callarchive.storage.s3 import errors as s3_errors

if TYPE_CHECKING:
    from obstore import GetResult

_CHUNK_BYTES = 256 * 1024
_WHOLE_BYTES = 1024 * 1024
"""Objects up to this size, most recordings, are read as one chunk, because each chunk takes the interpreter lock."""
_MAX_CHUNK_BYTES = 1024 * 1024
_MD5 = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
_NEVER = datetime.fromtimestamp(0, UTC)
"""obstore's value for a response without Last-Modified."""


class S3Landing:
    """The landing of an account whose `landing` is `s3://bucket/prefix`. Thread-safe; connects at the first use.

    Keys with an empty, `.` or `..` part, a control character or a backslash are ignored: 8x8 writes none, and obstore does not
    support them all.
    """

    walks_folders = False

    def __init__(self, account: AccountSettings, transfer: TransferSettings, *, concurrency: int) -> None:
        self.uri = account.landing
        self.concurrency = concurrency
        self._transfer = transfer
        self._bucket = S3Bucket(account, transfer, connections=concurrency)
        self._questions = S3Questions(self._bucket, concurrency=concurrency)
        self._listing = S3Listing(self._bucket, self._questions)

    def list(self, folder: str) -> Listing:
        """Return all objects below `folder`, at any depth."""
        pages = [*self.pages(folder)]
        return Listing(
            [item for page in pages for item in page.objects], tuple(gap for page in pages for gap in page.gaps)
        )

    def pages(self, folder: str, *, skip: Callable[[str], bool] | None = None) -> Iterator[Listing]:
        """Yield the same, up to 1,000 at a time; omit folders directly below for which `skip` is true, unless many are left."""
        return self._listing.pages(folder, skip=skip)

    def existing_folders(self, names: Sequence[str]) -> dict[str, Evidence[str]]:
        """Return for each folder directly below the root whether it holds an object, be it only the folder's own marker."""
        return self._listing.existing_folders(names)

    def uri_of(self, path: str) -> str:
        """Return the object's s3:// URL, not percent-encoded."""
        return self._bucket.place(path)

    def open(self, path: str) -> "S3Download":
        """Open one object with one GET; obstore resumes a broken body for a while."""
        key, place = self._bucket.key(path), self._bucket.place(path)
        ends_at = time.monotonic() + self._transfer.deadline_s
        try:
            result = obstore.get(self._bucket.objects(), key)
        except s3_errors.OBSTORE_ERRORS as err:
            if "MissingContentLength" in str(err):
                raise TransferError(f"{place}: {s3_errors.broken_because(err)}") from None
            error = s3_errors.translate_obstore(err, place=place, doing="reading")
            raise (self._cold(path) or error if isinstance(error, ColdObjectError) else error) from None
        meta = result.meta
        modified_at = meta["last_modified"]
        described = LandingObject(
            path=path,
            uri=place,
            size_bytes=meta["size"],
            etag=bare_etag(meta["e_tag"]) or None,
            modified_at=None if modified_at == _NEVER else modified_at,
        )
        return S3Download(described, result, landing=self, ends_at=ends_at)

    def stat_many(self, paths: Iterable[str], *, confirm_absent: bool = True) -> dict[str, Evidence[LandingObject]]:
        """Return S3's current description of each path.

        Several paths of one date folder, or of none, are looked up in one flat listing of the keys between them, which stops
        after twice the pages that the paths alone would fill. Those that it lacks are requested one by one.
        """
        seen: dict[str, LandingObject] = {}
        folders: dict[str, dict[str, str]] = {}
        for path in paths:
            folders.setdefault(date_folder_of(path), {})[self._bucket.key(path)] = path
        unlisted: dict[str, bool] = {}
        for keys in folders.values():
            is_whole = len(keys) > 1 and self._listing.look_for(keys, seen)
            unlisted |= {path: is_whole for path in keys.values() if path not in seen}
        findings: dict[str, Evidence[LandingObject]] = {path: Present(item) for path, item in seen.items()}
        if not confirm_absent:
            findings |= {path: NOT_LISTED for path, is_whole in unlisted.items() if is_whole}
        rest = [path for path in unlisted if path not in findings]
        return findings | self._questions.ask_each(rest, lambda path: self._stat(path, is_unlisted=unlisted[path]))

    def delete(self, path: str) -> None:
        """Delete the object with all its versions and delete markers."""
        self._bucket.erase(path)

    def check(self) -> None:
        """Check that the landing can be listed and is in the configured region."""
        page = self._bucket.page(self._bucket.below(""))
        meta = self._bucket.client().meta
        ours = meta.region_name
        if page.region and page.region != ours and s3_clients.is_aws(meta.endpoint_url):
            # boto3 follows a bucket to another region by itself, obstore does not.
            raise ConfigurationError(
                f"{self.uri}: the bucket is in {page.region}, not in {ours}: set accounts.s3.region"
            )

    def sample(self) -> Evidence[LandingObject]:
        """Return some object among the first keys of the landing."""
        page = self._bucket.page(self._bucket.below(""))
        for entry in page.entries:
            item = self._bucket.described(entry)
            if item is not None:
                return Present(item)
        if page.entries or not page.is_last:
            return Unknown(f"the first keys of {self.uri} are not of recordings")
        return Absent(f"S3 lists no key below {self.uri}")

    def folders(self) -> Sequence[str]:
        """Return the folders directly below the root, without their slashes, as far as one page of a listing shows them."""
        prefix = self._bucket.below("")
        return [name[len(prefix) : -1] for name in self._bucket.page(prefix, Delimiter="/").folders]

    def folders_beside(self) -> tuple[str, ...]:
        """Return the URLs of the other folders of the bucket, one level above the landing, or above that if there are none.

        Empty if they cannot be listed, or if there are none in the first page of the listing.
        """
        for above in self._bucket.folders_above():
            with suppress(ArchiveError):
                folders = [name for name in self._bucket.page(above, Delimiter="/").folders if name != above]
                if others := [name for name in folders if name != self._bucket.below("")]:
                    return tuple(map(self._bucket.url_of, others))
        return ()

    def close(self) -> None:
        """Close connections; a later use connects again."""
        self._bucket.close()

    def confirm(self, download: LandingObject, md5_hex: str) -> LandingObject:
        """Return the object with the evidence for a complete body whose MD5 is not the ETag of its response.

        It is from HEAD, or from a listing where HEAD has no ETag; so are the ETag and the time that its response lacks.

        Raises:
            TransferError: the object has another size or hash, or has changed.
        """
        head = self._bucket.head(download.path)
        if head is None:
            raise TransferError(f"{download.uri}: the object is gone since it was read")
        size_bytes, etag = head.get("ContentLength"), bare_etag(head.get("ETag"))
        modified_at = download.modified_at or head.get("LastModified")
        if not etag or size_bytes is None:
            key = self._bucket.key(download.path)
            for entry in self._bucket.page(key, MaxKeys=1).entries:
                if entry.key == key:
                    etag = etag or entry.etag
                    modified_at = modified_at or entry.modified_at
                    size_bytes = entry.size_bytes if size_bytes is None else size_bytes
        if size_bytes != download.size_bytes:
            raise TransferError(f"{download.uri}: {download.size_bytes} bytes came, the store says {size_bytes}")
        if etag and download.etag is not None and etag != download.etag:
            raise TransferError(f"{download.uri}: the object changed while it was read")
        etag = etag or download.etag or ""
        evidence = SourceEvidence.MD5 if etag.lower() == md5_hex.lower() else SourceEvidence.SIZE
        if evidence is SourceEvidence.SIZE and _MD5.fullmatch(etag) and _etag_is_md5(head):
            raise TransferError(f"{download.uri}: the bytes that came have MD5 {md5_hex}, its ETag says {etag}")
        return replace(download, etag=etag or None, modified_at=modified_at, evidence=evidence)

    def _cold(self, path: str) -> ColdObjectError | None:
        """Return the error for an object that must be restored, by HEAD, which alone shows that a restore is in progress."""
        with suppress(ArchiveError):
            head = self._bucket.head(path) or {}
            if storage_class := head.get("StorageClass"):
                return s3_errors.cold_object(
                    self._bucket.place(path),
                    storage_class=storage_class,
                    tier=head.get("ArchiveStatus", ""),
                    restore=head.get("Restore", ""),
                )
        return None

    def _stat(self, path: str, *, is_unlisted: bool) -> Evidence[LandingObject]:
        """Request the object's description. `is_unlisted`: a listing past its key did not show it."""
        head = self._bucket.head(path)
        if head is None and (is_unlisted or not self._listing.has_key(self._bucket.key(path))):
            return Absent("no listing shows it, and HEAD answered 404")
        if head is None:
            return Unknown(f"{self._bucket.place(path)}: a listing shows it, and HEAD answered 404")
        return Present(
            LandingObject(
                path=path,
                uri=self._bucket.place(path),
                size_bytes=head["ContentLength"],
                etag=bare_etag(head.get("ETag")) or None,
                modified_at=head.get("LastModified"),
            )
        )


class S3Download:
    """An S3 object being read; see the `Download` protocol."""

    def __init__(self, described: LandingObject, result: "GetResult", *, landing: S3Landing, ends_at: float) -> None:
        self.object = described
        self._result = result
        self._landing = landing
        self._ends_at = ends_at

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        del self._result  # returns the connection to the pool, or closes it after a partial read

    def __iter__(self) -> Iterator[bytes]:
        came, promised = 0, self.object.size_bytes or 0
        # Readers call verify_md5 only for an object with an ETag.
        md5 = hashlib.md5(usedforsecurity=False) if self.object.etag is None else None
        try:
            for chunk in self._chunks():
                came += len(chunk)
                if md5 is not None:
                    md5.update(chunk)
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
        if md5 is not None:
            self.verify_md5(md5.hexdigest())

    def _chunks(self) -> Iterable[Any]:
        """Return obstore's buffers, which behave like bytes."""
        if (self.object.size_bytes or 0) <= _WHOLE_BYTES:
            return (self._result.bytes(),)
        return self._result.stream(_CHUNK_BYTES)

    def verify_md5(self, md5_hex: str) -> None:
        """Compare the received bytes with the store's hash, else with the object's size."""
        if self.object.etag is not None and self.object.etag.lower() == md5_hex.lower():
            self.object = replace(self.object, evidence=SourceEvidence.MD5)
        else:
            self.object = self._landing.confirm(self.object, md5_hex)


def _etag_is_md5(head: dict[str, Any]) -> bool:
    """Return whether this object's ETag can be an MD5: not under a KMS key or a customer's key."""
    encrypted = str(head.get("ServerSideEncryption", "")).startswith("aws:kms")
    customer_key = "SSECustomerAlgorithm" in head
    return not (encrypted or customer_key or head.get("StorageClass") == "EXPRESS_ONEZONE")
