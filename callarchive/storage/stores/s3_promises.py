"""Tests that a bucket supports the conditional writes that locks (`s3_lock`) and write-once names (`s3`) need.

Some S3-compatible servers ignore `If-None-Match`, `If-Match` or both. Every write succeeds there, so two runs would hold
the same lock and archived objects would be overwritten. A 200 therefore proves nothing. docs/stores.md lists the servers
that were tested.

The objects of a test have random names below `_locks/`, which no listing shows, so that processes can test simultaneously.
"""

import contextlib
import logging
import secrets
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import ClientError

from callarchive.domain.errors import ArchiveError, ConfigurationError, ObjectNotFoundError
from callarchive.storage.s3 import errors as s3_errors
from callarchive.storage.stores.naming import LOCKS

log = logging.getLogger(__name__)

_TRIES = 3
_CLOCKS_APART = timedelta(seconds=15)
"""The allowed difference between a new object's Last-Modified and the Date. A lock's lease is 60 s, renewed every 20 s."""
_REFUSED = (409, 412)
_UNKNOWN_ETAG = '"' + "0" * 32 + '"'


@dataclass(frozen=True, slots=True)
class Promises:
    """What a store was seen to guarantee.

    Attributes:
        creates_broken: what the store did that makes write-once names unsafe; None if they are safe.
        locks_broken: what the store did that makes locks unsafe; None if they are safe.
        deletes_if_match: whether DELETE supports `If-Match`.
    """

    creates_broken: str | None = None
    locks_broken: str | None = None
    deletes_if_match: bool = False

    @property
    def all_kept(self) -> bool:
        """Whether write-once names and locks are both safe."""
        return self.creates_broken is None and self.locks_broken is None

    def require_creates(self, url: str) -> None:
        """Raise ConfigurationError unless write-once names are safe in the store at `url`."""
        if self.creates_broken is not None:
            raise _broken(url, self.creates_broken, "archived objects could be overwritten")

    def require_locks(self, url: str) -> None:
        """Raise ConfigurationError unless locks are safe in the store at `url`."""
        self.require_creates(url)
        if self.locks_broken is not None:
            raise _broken(url, self.locks_broken, "two runs could hold the same lock, or none could ever acquire it")


def _broken(url: str, what: str, consequence: str) -> ConfigurationError:
    return ConfigurationError(
        f"{url}: this store does not support conditional writes: {what}; {consequence}. "
        "docs/stores.md lists stores that do"
    )


def try_promises(client: Any, bucket: str, prefix: str) -> Promises:
    """Test the bucket with a dozen requests on objects that are deleted afterwards.

    Args:
        prefix: the prefix of the store's keys, with a trailing slash; empty if the store is the whole bucket.

    Raises:
        AccessDeniedError, UnavailableError, ConfigurationError: the bucket cannot be written or read at all.
    """
    trial = _Trial(client, bucket, f"{prefix}{LOCKS}/trial-")
    try:
        return trial.run()
    finally:
        trial.clean_up()


def compares_checksums(client: Any, bucket: str, prefix: str) -> bool:
    """Return whether the bucket refuses a PUT with a wrong SHA-256. Raises ArchiveError."""
    trial = _Trial(client, bucket, f"{prefix}{LOCKS}/trial-")
    wrong = "A" * 43 + "="  # 32 zero bytes
    try:
        response = trial.put(
            trial.new_key(), b"checksum", IfNoneMatch="*", ChecksumAlgorithm="SHA256", ChecksumSHA256=wrong
        )
        return response.status == 400
    finally:
        trial.clean_up()


@dataclass(frozen=True, slots=True)
class _Response:
    """A response to a PUT or DELETE. `error` is None if the store accepted it."""

    status: int
    shown: str = "200"
    etag: str | None = None
    error: ClientError | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    """A response to a GET. `body` is None if there is no such object, `age` if the response has no times."""

    body: bytes | None
    etag: str | None = None
    age: timedelta | None = None


class _Trial:
    """One test: its requests, and the names that it used."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._place = f"s3://{bucket}/{prefix}..."
        self._keys: list[str] = []

    def run(self) -> Promises:
        """Run the test. It stops at the first failure that makes write-once names unsafe, since locks need them too."""
        key, first = self.new_key(), self._body()
        response = self.put(key, first, IfNoneMatch="*")
        for _ in range(_TRIES - 1):
            if response.status not in _REFUSED:
                break
            # 412 on a free name: the response to a first attempt was lost, or the store refuses all conditions.
            time.sleep(0.1 if response.status == 409 else 0)
            key = self.new_key()
            response = self.put(key, first, IfNoneMatch="*")
        if response.error is not None:
            return Promises(creates_broken=self._why_free_name_refused(response))
        return self._with_taken_name(key, first, response.etag)

    def _why_free_name_refused(self, response: _Response) -> str:
        if response.status not in _REFUSED:
            plain = self.put(self.new_key(), self._body())
            if plain.error is not None:  # the condition is not the reason
                raise self._translated(plain.error, "writing")
        return f"it answered {response.shown} to a PUT with If-None-Match: * on a name that was free"

    def _with_taken_name(self, key: str, first: bytes, etag: str | None) -> Promises:
        response = self.put(key, self._body(), IfNoneMatch="*")
        found = self._get(key)
        condition = f"it answered {response.shown} to a PUT with If-None-Match: * on a name that was taken"
        if found.body is None:
            return Promises(creates_broken="a new object could not be read back: 404")
        if found.body != first:
            return Promises(creates_broken=f"{condition}, and overwrote the object")
        if response.status not in _REFUSED:
            return Promises(creates_broken=condition)
        return self._with_etags(key, found, etag)

    def _with_etags(self, key: str, found: _Read, put_etag: str | None) -> Promises:
        old = found.etag or put_etag
        promises = Promises(locks_broken=_why_no_etag(put_etag, found) or _why_no_times(found))
        before, second = found.body, self._body()
        if old is not None:
            response = self.put(key, second, IfMatch=old)
            found = self._get(key)
            broken = None
            if response.error is not None:
                broken = f"it answered {response.shown} to a PUT with If-Match and the object's own ETag"
            elif found.body != second or found.etag == old:
                broken = "it answered 200 to a PUT with If-Match, but the object or its ETag is unchanged"
            elif response.etag != found.etag:
                broken = "PUT and GET return different ETags for an object"
            promises = replace(promises, locks_broken=promises.locks_broken or broken)
            before = found.body
        wrong = old if found.etag != old and old is not None else _UNKNOWN_ETAG
        response = self.put(key, self._body(), IfMatch=wrong)
        found = self._get(key)
        condition = f"it answered {response.shown} to a PUT with If-Match and another ETag than the object's"
        if found.body != before:
            return replace(promises, creates_broken=f"{condition}, and overwrote the object")
        if response.error is None:
            return replace(promises, creates_broken=condition)
        if promises.locks_broken is not None:
            return promises
        if response.status not in _REFUSED:
            return replace(promises, locks_broken=condition)
        free = self.new_key()
        response = self.put(free, self._body(), IfMatch=wrong)
        if response.error is None or self._get(free).body is not None:
            return replace(
                promises, locks_broken=f"it answered {response.shown} to a PUT with If-Match on a name that was free"
            )
        return self._with_deletes(key, found, wrong)

    def _with_deletes(self, key: str, found: _Read, wrong: str) -> Promises:
        supported = self._delete(key, IfMatch=wrong).error is not None and self._get(key).body == found.body
        supported = supported and self._delete(key, IfMatch=found.etag or "").error is None
        if not supported:
            response = self._delete(key)
            if response.error is not None:
                raise self._translated(response.error, "deleting")
        if self._get(key).body is not None:
            return Promises(locks_broken="a deleted object could still be read")
        return Promises(deletes_if_match=supported)

    def new_key(self) -> str:
        """Return an unused name. It is deleted in `clean_up`."""
        self._keys.append(f"{self._prefix}{secrets.token_hex(16)}")
        return self._keys[-1]

    def put(self, key: str, body: bytes, **options: str) -> _Response:
        """Return the response, also a refusal. Raises ArchiveError for an outage."""
        try:
            put = self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **options)
        except s3_errors.BOTO_ERRORS as err:
            return self._refusal(err, "writing")
        return _Response(200, etag=put.get("ETag"))

    def _delete(self, key: str, **condition: str) -> _Response:
        try:
            self._client.delete_object(Bucket=self._bucket, Key=key, **condition)
        except s3_errors.BOTO_ERRORS as err:
            return self._refusal(err, "deleting")
        return _Response(204)

    def _refusal(self, err: Exception, doing: s3_errors.Doing) -> _Response:
        status = 0
        if isinstance(err, ClientError):
            status = err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        translated = self._translated(err, doing)
        unusable = isinstance(translated, ConfigurationError)  # no such bucket, another region
        if not isinstance(err, ClientError) or unusable or (status >= 500 and status != 501):
            raise translated from err
        code = str(err.response.get("Error", {}).get("Code", ""))
        return _Response(
            status, f"{status}" if code in ("", str(status)) else f"{status} {ascii(code)[1:-1][:60]}", error=err
        )

    def _get(self, key: str) -> _Read:
        try:
            with s3_errors.translating(place=self._place, doing="reading"):
                response = self._client.get_object(Bucket=self._bucket, Key=key)
                body: bytes = response["Body"].read()
        except ObjectNotFoundError:
            return _Read(None)
        date = response["ResponseMetadata"]["HTTPHeaders"].get("date")
        modified_at = response.get("LastModified")
        age = None
        with contextlib.suppress(ValueError, TypeError):
            age = parsedate_to_datetime(date) - modified_at if date and modified_at else None
        return _Read(body, response.get("ETag"), age)

    def clean_up(self) -> None:
        """Delete the objects of the test. Without permission to delete, a few small objects remain that no listing shows."""
        for key in self._keys:
            try:
                response = self._delete(key)
            except ArchiveError as err:
                log.warning("s3://%s/%s could not be deleted: %s", self._bucket, key, err)
                return  # an outage: the next ones would take as long
            if response.error is not None and response.status != 404:
                log.warning("s3://%s/%s could not be deleted: S3 answered %s", self._bucket, key, response.shown)

    def _translated(self, err: Exception, doing: s3_errors.Doing) -> ArchiveError:
        return s3_errors.translate_botocore(err, place=self._place, doing=doing)

    @staticmethod
    def _body() -> bytes:
        return f"callarchive tests conditional writes: {secrets.token_hex(8)}\n".encode()


def _why_no_etag(put_etag: str | None, found: _Read) -> str | None:
    if put_etag is None:
        return "its response to a PUT has no ETag"
    if found.etag is None:
        return "its response to a GET has no ETag"
    return None if put_etag == found.etag else "PUT and GET return different ETags for an object"


def _why_no_times(found: _Read) -> str | None:
    if found.age is None:
        return "its responses have no Date or no Last-Modified, which date the renewal of a lock"
    if abs(found.age) > _CLOCKS_APART:
        return f"the Last-Modified of a new object is {found.age.total_seconds():g} s before the response's Date"
    return None
