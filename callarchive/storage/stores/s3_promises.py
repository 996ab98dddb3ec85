"""Tests that a bucket supports the conditional writes that locks (`s3_lock`) and write-once names (`s3`) need.

Some S3-compatible servers ignore `If-None-Match`, `If-Match` or both, so that two runs would hold the same lock and
archived objects would be overwritten. A 200 proves nothing. docs/stores.md lists the servers that were tested.

The objects of a test have random names below `_locks/`, which no listing shows, so that processes can test simultaneously.
"""

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

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
_WRONG_SHA256 = "A" * 43 + "="  # 32 zero bytes


@dataclass(frozen=True, slots=True)
class Promises:
    """What a store was seen to guarantee: why write-once names or locks are unsafe there (None: they are safe)."""

    creates_broken: str | None = None
    locks_broken: str | None = None
    deletes_if_match: bool = False

    def require(self, url: str, *, locks: bool) -> None:
        """Raise ConfigurationError unless write-once names and, with `locks`, locks are safe in the store at `url`."""
        what, consequence = self.creates_broken, "archived objects could be overwritten"
        if what is None and locks:
            what, consequence = self.locks_broken, "two runs could hold the same lock, or none could ever acquire it"
        if what is not None:
            raise ConfigurationError(
                f"{url}: this store does not support conditional writes: {what}; {consequence}. "
                "docs/stores.md lists stores that do"
            )


def try_promises(client: Any, bucket: str, prefix: str) -> Promises:
    """Test the bucket with some 15 requests on objects below `prefix` that are deleted afterwards. Raises ArchiveError."""
    with _trial(client, bucket, prefix) as trial:
        try:
            return Promises(deletes_if_match=trial.run())
        except _BrokenError as err:
            return Promises(err.what) if err.creates else Promises(locks_broken=err.what)


def compares_checksums(client: Any, bucket: str, prefix: str) -> bool:
    """Return whether the bucket refuses a PUT with a wrong SHA-256. Raises ArchiveError."""
    with _trial(client, bucket, prefix) as trial:
        options = {"IfNoneMatch": "*", "ChecksumAlgorithm": "SHA256", "ChecksumSHA256": _WRONG_SHA256}
        return trial.put(trial.new_key(), b"checksum", **options).status == 400


@contextmanager
def _trial(client: Any, bucket: str, prefix: str) -> Iterator["_Trial"]:
    trial = _Trial(client, bucket, f"{prefix}{LOCKS}/trial-")
    try:
        yield trial
    finally:
        trial.clean_up()


class _BrokenError(Exception):
    """The store broke a promise: `creates`, or only that of locks."""

    def __init__(self, what: str, *, creates: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.creates = creates


class _Response(NamedTuple):
    """A response to a PUT or DELETE. `error` is None if the store accepted it."""

    status: int
    shown: str = "200"
    etag: str | None = None
    error: ClientError | None = None


class _Read(NamedTuple):
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

    def run(self) -> bool:
        """Return whether DELETE supports `If-Match`. Raises _BrokenError, first for write-once names: locks need them too."""
        first = self._body()
        key, etag = self._create(first)
        self._must_refuse(key, first, "If-None-Match: * on a name that was taken", IfNoneMatch="*")
        another = "If-Match and another ETag than the object's"
        found = self._must_refuse(key, first, another, IfMatch=_UNKNOWN_ETAG)
        _check_etag_and_times(etag, found)
        old, second = found.etag or "", self._body()
        response = self.put(key, second, IfMatch=old)
        found = self._get(key)
        if response.error is not None:
            raise _BrokenError(f"it answered {response.shown} to a PUT with If-Match and the object's own ETag")
        if found.body != second or found.etag == old:
            raise _BrokenError("it answered 200 to a PUT with If-Match, but the object or its ETag is unchanged")
        _check_etag_and_times(response.etag, found)
        self._must_refuse(key, second, another, IfMatch=old)
        self._must_refuse(self.new_key(), None, "If-Match on a name that was free", IfMatch=old)
        deletes_if_match = self._delete(key, IfMatch=old).error is not None and self._get(key).body == second
        if not (deletes_if_match and self._delete(key, IfMatch=found.etag or "").error is None):
            deletes_if_match = False
            if (error := self._delete(key).error) is not None:
                raise self._translated(error, "deleting")
        if self._get(key).body is not None:
            raise _BrokenError("a deleted object could still be read")
        return deletes_if_match

    def _create(self, body: bytes) -> tuple[str, str | None]:
        """Write to a free name. Return it and the response's ETag."""
        for attempt in range(_TRIES):
            response = self.put(key := self.new_key(), body, IfNoneMatch="*")
            # 412 on a free name: the response to a first attempt was lost, or the store refuses all conditions.
            if response.status not in _REFUSED:
                break
            time.sleep(0.1 if response.status == 409 and attempt < _TRIES - 1 else 0)
        if response.error is None:
            return key, response.etag
        if response.status not in _REFUSED and (error := self.put(self.new_key(), body).error) is not None:
            raise self._translated(error, "writing")  # the condition is not the reason
        what = f"it answered {response.shown} to a PUT with If-None-Match: * on a name that was free"
        raise _BrokenError(what, creates=True)

    def _must_refuse(self, key: str, kept: bytes | None, what: str, **condition: str) -> _Read:
        """Try a PUT that must leave the object as `kept` (None: absent), and return the object."""
        response, found = self.put(key, self._body(), **condition), self._get(key)
        if kept is not None and found.body is None:
            raise _BrokenError("a new object could not be read back: 404", creates=True)
        answered = f"it answered {response.shown} to a PUT with {what}"
        if found.body != kept:
            done = "created" if kept is None else "overwrote"
            raise _BrokenError(f"{answered}, and {done} the object", creates=kept is not None)
        if response.error is None or (kept is not None and response.status not in _REFUSED):
            creates = kept is not None and (response.error is None or "IfNoneMatch" in condition)
            raise _BrokenError(answered, creates=creates)
        return found

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
        with suppress(ValueError, TypeError):
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


def _check_etag_and_times(put_etag: str | None, found: _Read) -> None:
    if put_etag is None or found.etag is None:
        raise _BrokenError(f"its response to a {'PUT' if put_etag is None else 'GET'} has no ETag")
    if put_etag != found.etag:
        raise _BrokenError("PUT and GET return different ETags for an object")
    if found.age is None:
        raise _BrokenError("its responses have no Date or no Last-Modified, which date the renewal of a lock")
    if abs(found.age) > _CLOCKS_APART:
        age_s = found.age.total_seconds()
        raise _BrokenError(f"the Last-Modified of a new object is {age_s:g} s before the response's Date")
