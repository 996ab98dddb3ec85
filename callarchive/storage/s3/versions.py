"""The versions of objects in a bucket: deletes all of them and checks that they are gone, and sets their legal holds.

A plain DELETE in a bucket with versioning hides the object, and is answered like one that deletes it.
"""

import functools
import threading
import xml.etree.ElementTree as ET
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from callarchive.domain.errors import (
    AccessDeniedError,
    ArchiveError,
    ObjectNotFoundError,
    RejectedRequestError,
    RetainedError,
    StoreError,
    UnavailableError,
)
from callarchive.storage.s3 import errors as s3_errors
from callarchive.storage.s3.object_lock import has_object_lock, kept_by

_AT_ONCE = 8
_TRIES = 3


class _Version(NamedTuple):
    """A version of an object, or a delete marker. `version_id` is None in a bucket that never had versioning."""

    key: str
    version_id: str | None
    is_latest: bool = True
    is_marker: bool = False

    @property
    def place(self) -> dict[str, str]:
        """Its place in the bucket, as S3's parameters name it."""
        return {"Key": self.key} if self.version_id is None else {"Key": self.key, "VersionId": self.version_id}

    @property
    def turn(self) -> tuple[bool, bool]:
        """When it is deleted: what hides another version goes last, so that no older bytes come to light meanwhile."""
        return self.is_marker, self.is_latest


class ObjectVersions:
    """The versions of objects in one bucket. Thread-safe.

    To erase raises RetainedError, with nothing deleted, if a legal hold or a retention of Object Lock keeps a version;
    AccessDeniedError or StoreError if versions may remain; UnavailableError.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._asking = threading.Lock()
        self._may_lock: bool | None = None
        for operation in ("ListObjectVersions", "GetBucketVersioning"):
            client.meta.events.register(f"before-parse.s3.{operation}", _note_root, unique_id=f"root-{operation}")

    def erase(self, key: str, *, bypass_governance: bool = False) -> None:
        """Delete the object with all its versions and delete markers. It need not exist."""
        self._delete_all(lambda: self._versions_of(key), bypass_governance=bypass_governance)
        if self._current_id(key) is not None:
            raise StoreError(f"{self._uri(key)}: S3 still returns the object, although it lists no version of it")

    def erase_old_versions(self, key: str, *, bypass_governance: bool = False) -> None:
        """Delete all but the object as it is now."""
        self._delete_all(lambda: self._old_versions_of(key), bypass_governance=bypass_governance)

    def erase_below(self, prefix: str, *, bypass_governance: bool = False) -> None:
        """Delete every object whose key begins with the prefix, also those with older versions only."""
        self._delete_all(
            lambda: self._versions(prefix, lambda: self._objects(prefix)), bypass_governance=bypass_governance
        )
        if next(self._objects(prefix), None) is not None:
            raise StoreError(f"{self._uri(prefix)}: S3 still lists objects, although it lists no version of them")

    def set_legal_hold(self, key: str, *, on: bool) -> None:
        """Set or release the legal hold of every version of the object, and check it.

        Raises ObjectNotFoundError if a hold is to be set and there is no version; AccessDeniedError, StoreError.
        """
        versions = [version for version in self._versions_of(key) if not version.is_marker]
        if on and not versions:
            raise ObjectNotFoundError(f"{self._uri(key)}: there is no such object to hold")
        for version in versions:
            with s3_errors.translating(place=self._uri(key), doing="holding"):
                self._client.put_object_legal_hold(
                    Bucket=self._bucket, **version.place, LegalHold={"Status": "ON" if on else "OFF"}
                )
                head = self._client.head_object(Bucket=self._bucket, **version.place)
            if (head.get("ObjectLockLegalHoldStatus") == "ON") is not on:
                shown = f"HEAD of version {version.version_id} shows {'none' if on else 'it still'}"
                why = (
                    "the credentials may lack s3:GetObjectLegalHold" if on else "release it with the store's own tools"
                )
                raise StoreError(f"{self._uri(key)}: S3 took the change of the legal hold, but {shown}: {why}")

    def _delete_all(self, listed: Callable[[], list[_Version]], *, bypass_governance: bool) -> None:
        """Delete what is listed until nothing is: writers may add versions, and pages of a listing may lack some."""
        require_unlocked, delete = (
            functools.partial(function, bypass_governance=bypass_governance)
            for function in (self._require_unlocked, self._delete)
        )
        deleted: set[_Version] = set()
        while versions := listed():
            if left := deleted.intersection(versions):
                what = f"{len(left)} versions or delete markers that it was asked to delete"
                raise StoreError(f"{self._uri(next(iter(left)).key)}: S3 still lists {what}")
            with ThreadPoolExecutor(min(_AT_ONCE, len(versions)), "erase") as pool:
                deque(pool.map(require_unlocked, versions), maxlen=0)
                for turn in sorted({version.turn for version in versions}):
                    deque(pool.map(delete, [one for one in versions if one.turn == turn]), maxlen=0)
            deleted.update(versions)

    def _versions_of(self, key: str) -> list[_Version]:
        def plain() -> Iterable[str]:
            return () if self._current_id(key) is None else (key,)

        return [version for version in self._versions(key, plain) if version.key == key]

    def _old_versions_of(self, key: str) -> list[_Version]:
        """Return all versions but the current one, about which the listing and HEAD must agree."""
        for _ in range(_TRIES):
            versions = self._versions_of(key)
            latest = next((version for version in versions if version.is_latest and not version.is_marker), None)
            if self._current_id(key) == (latest and (latest.version_id or "null")):
                return [version for version in versions if version != latest]
        raise UnavailableError(f"{self._uri(key)}: other writers keep replacing it: run it again")

    def _versions(self, prefix: str, plain: Callable[[], Iterable[str]]) -> list[_Version]:
        """Return all versions of keys that begin with the prefix; `plain` has the keys in a bucket without versioning.

        Raises AccessDeniedError or StoreError if there may be others.
        """
        try:
            return list(self._listed_versions(prefix))
        except (AccessDeniedError, RejectedRequestError, ObjectNotFoundError) as err:
            status = self._versioning()
            if status == "never enabled":
                return [_Version(key, None) for key in plain()]
            what = (
                f"{self._uri(prefix)}: nothing was deleted: its versions cannot be listed, and versioning is {status}"
            )
            if isinstance(err, AccessDeniedError):
                needed = "s3:ListBucketVersions, s3:DeleteObjectVersion and s3:GetBucketVersioning"
                raise AccessDeniedError(f"{what}: the credentials need {needed} ({err})") from err
            raise StoreError(f"{what}: delete it with the store's own tools ({err})") from err

    def _listed_versions(self, prefix: str) -> Iterator[_Version]:
        with s3_errors.translating(place=f"s3://{self._bucket}", doing="listing"):
            pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=prefix)
            for page in pages:
                if page.get("Root") != "ListVersionsResult":
                    raise RejectedRequestError(f"s3://{self._bucket}: the answer is no listing of versions")
                for name, is_marker in (("Versions", False), ("DeleteMarkers", True)):
                    for entry in page.get(name, ()):
                        yield _Version(entry["Key"], entry["VersionId"], entry["IsLatest"], is_marker)

    def _versioning(self) -> str:
        """Return whether the bucket has or had versioning, as the end of a sentence."""
        try:
            answer = self._client.get_bucket_versioning(Bucket=self._bucket)
        except s3_errors.BOTO_ERRORS as err:
            error = s3_errors.translate_botocore(err, place=f"s3://{self._bucket}", doing="reading")
            if error.retryable:
                raise error from err
            return "unknown"
        if answer.get("Root") not in ("VersioningConfiguration", "GetBucketVersioningResponse"):  # the latter: moto
            return "unknown"
        return str(answer.get("Status", "never enabled")).lower()

    def _objects(self, prefix: str) -> Iterator[str]:
        with s3_errors.translating(place=f"s3://{self._bucket}", doing="listing"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                yield from (entry["Key"] for entry in page.get("Contents", ()))

    def _current_id(self, key: str) -> str | None:
        """Return the id of the object's current version, by HEAD; `None` if there is no object."""
        with suppress(ObjectNotFoundError), s3_errors.translating(place=self._uri(key), doing="reading"):
            return str(self._client.head_object(Bucket=self._bucket, Key=key).get("VersionId", "null"))
        return None

    def _require_unlocked(self, version: _Version, *, bypass_governance: bool) -> None:
        if version.is_marker or not self._object_lock():
            return
        try:
            head = self._client.head_object(Bucket=self._bucket, **version.place)
        except s3_errors.BOTO_ERRORS:
            return  # the deletion itself shows whether it is refused
        reason = kept_by(head, bypass_governance=bypass_governance)
        if reason is not None:
            raise RetainedError(f"{self._uri(version.key)}: Object Lock keeps version {version.version_id} by {reason}")

    def _object_lock(self) -> bool:
        with self._asking:
            if self._may_lock is None:
                self._may_lock = has_object_lock(self._client, self._bucket) is not False
            return self._may_lock

    def _delete(self, version: _Version, *, bypass_governance: bool) -> None:
        bypass = {"BypassGovernanceRetention": True} if bypass_governance and self._object_lock() else {}
        try:
            self._client.delete_object(Bucket=self._bucket, **version.place, **bypass)
        except s3_errors.BOTO_ERRORS as err:
            error: ArchiveError = s3_errors.translate_botocore(err, place=self._uri(version.key), doing="deleting")
            if isinstance(error, AccessDeniedError):
                self._require_unlocked(version, bypass_governance=bypass_governance)
            raise error from err

    def _uri(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"


def _note_root(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_event: Any) -> None:
    """Add the name of the response's root element: botocore takes another document for an empty result."""
    with suppress(ET.ParseError, KeyError):
        root = ET.fromstring(response_dict["body"])  # noqa: S314 - as botocore itself does
        customized_response_dict["Root"] = root.tag.rpartition("}")[2]
