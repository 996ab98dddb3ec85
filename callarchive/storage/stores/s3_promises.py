"""Tries on a bucket that it keeps what locks and write-once names rest on. Nothing is concluded from a 200.

Some S3-compatible servers ignore `If-None-Match` and `If-Match`, or know one of the two. There every write succeeds, so
two runs hold the same lock and archived names are overwritten. Which servers were tried is in docs/stores.md. The locks
are in `s3_lock`, the writes in `s3`.

The objects of a trial have random names below `_locks/`, which no listing shows: several processes try at the same time.
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
"""How far a new object's Last-Modified may be from the answer's Date. A lock's lease is 60 s and is renewed every 20."""
_REFUSED = (409, 412)
_NOT_KNOWN_TO_BE = '"' + "0" * 32 + '"'


@dataclass(frozen=True, slots=True)
class Promises:
    """What a store was seen to keep. A broken promise is a phrase: what the store did.

    Attributes:
        creates_broken: why write-once names would be overwritten; None when they are safe.
        locks_broken: why two holders could have one lock, or a dead holder's lock would never be free; None when locks hold.
        deletes_if_match: whether DELETE heeds `If-Match`.
    """

    creates_broken: str | None = None
    locks_broken: str | None = None
    deletes_if_match: bool = False

    @property
    def all_kept(self) -> bool:
        """Whether write-once names and locks both hold."""
        return self.creates_broken is None and self.locks_broken is None

    def require_creates(self, url: str) -> None:
        """Raise ConfigurationError unless write-once names hold in the store at `url`."""
        if self.creates_broken is not None:
            raise _broken(url, self.creates_broken, "names that are written once could be overwritten")

    def require_locks(self, url: str) -> None:
        """Raise ConfigurationError unless locks hold in the store at `url`."""
        self.require_creates(url)
        if self.locks_broken is not None:
            raise _broken(url, self.locks_broken, "two runs could hold one lock, or none could ever get it")


def _broken(url: str, what: str, consequence: str) -> ConfigurationError:
    return ConfigurationError(
        f"{url}: this store does not keep conditional writes: {what}; {consequence}. "
        "Use a store that keeps them: docs/stores.md names those that were tried"
    )


def try_promises(client: Any, bucket: str, prefix: str) -> Promises:
    """Return what the bucket keeps, from a dozen requests on objects that are gone afterwards.

    Args:
        prefix: of the store's keys, with its slash; empty for a store that is the whole bucket.

    Raises:
        AccessDeniedError, UnavailableError, ConfigurationError: the bucket cannot be written or read at all.
    """
    trial = _Trial(client, bucket, f"{prefix}{LOCKS}/trial-")
    try:
        return trial.run()
    finally:
        trial.clean_up()


def compares_checksums(client: Any, bucket: str, prefix: str) -> bool:
    """Return whether the bucket refuses a PUT whose SHA-256 is not that of its body. Raises ArchiveError."""
    trial = _Trial(client, bucket, f"{prefix}{LOCKS}/trial-")
    wrong = "A" * 43 + "="  # 32 zero bytes
    try:
        said = trial.put(
            trial.new_key(), b"checksum", IfNoneMatch="*", ChecksumAlgorithm="SHA256", ChecksumSHA256=wrong
        )
        return said.status == 400
    finally:
        trial.clean_up()


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer to a PUT or DELETE. `error` is the client's, None where the store accepted it."""

    status: int
    shown: str = "200"
    etag: str | None = None
    error: ClientError | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    """An answer to a GET. `body` is None where there is no such object, `age` where the answer does not date it."""

    body: bytes | None
    etag: str | None = None
    age: timedelta | None = None


class _Trial:
    """One trial: its requests, and the names it has used."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._keys: list[str] = []

    def run(self) -> Promises:
        """Return what holds. Stops at the first thing that breaks write-once names, since locks rest on them too."""
        key, first = self.new_key(), self._body()
        said = self.put(key, first, IfNoneMatch="*")
        for _ in range(_TRIES - 1):
            if said.status not in _REFUSED:
                break
            # 412 on a free name: the answer to a first attempt was lost, or the store refuses whatever is conditional.
            time.sleep(0.1 if said.status == 409 else 0)
            key = self.new_key()
            said = self.put(key, first, IfNoneMatch="*")
        if said.error is not None:
            return Promises(creates_broken=self._why_a_free_name_was_refused(said))
        return self._with_a_taken_name(key, first, said.etag)

    def _why_a_free_name_was_refused(self, said: _Said) -> str:
        if said.status not in _REFUSED:
            plain = self.put(self.new_key(), self._body())
            if plain.error is not None:  # it is not the condition
                raise self._translated(plain.error, "writing")
        return f"it answered {said.shown} to a PUT with If-None-Match: * on a name that was free"

    def _with_a_taken_name(self, key: str, first: bytes, etag: str | None) -> Promises:
        said = self.put(key, self._body(), IfNoneMatch="*")
        found = self._get(key)
        condition = f"it answered {said.shown} to a PUT with If-None-Match: * on a name that was taken"
        if found.body is None:
            return Promises(creates_broken="what was written could not be read back: 404")
        if found.body != first:
            return Promises(creates_broken=f"{condition}, and overwrote the object")
        if said.status not in _REFUSED:
            return Promises(creates_broken=condition)
        return self._with_etags(key, found, etag)

    def _with_etags(self, key: str, found: _Read, put_etag: str | None) -> Promises:
        old = found.etag or put_etag
        promises = Promises(locks_broken=_why_no_etag(put_etag, found) or _why_no_times(found))
        before, second = found.body, self._body()
        if old is not None:
            said = self.put(key, second, IfMatch=old)
            found = self._get(key)
            broken = None
            if said.error is not None:
                broken = f"it answered {said.shown} to a PUT with If-Match and the object's own ETag"
            elif found.body != second or found.etag == old:
                broken = "a PUT with If-Match was answered 200, but the object or its ETag stayed as it was"
            elif said.etag != found.etag:
                broken = "PUT and GET give an object different ETags"
            promises = replace(promises, locks_broken=promises.locks_broken or broken)
            before = found.body
        wrong = old if found.etag != old and old is not None else _NOT_KNOWN_TO_BE
        said = self.put(key, self._body(), IfMatch=wrong)
        found = self._get(key)
        condition = f"it answered {said.shown} to a PUT with If-Match and another ETag than the object's"
        if found.body != before:
            return replace(promises, creates_broken=f"{condition}, and overwrote the object")
        if said.error is None:
            return replace(promises, creates_broken=condition)
        if promises.locks_broken is not None:
            return promises
        if said.status not in _REFUSED:
            return replace(promises, locks_broken=condition)
        free = self.new_key()
        said = self.put(free, self._body(), IfMatch=wrong)
        if said.error is None or self._get(free).body is not None:
            return replace(
                promises, locks_broken=f"it answered {said.shown} to a PUT with If-Match on a name that was free"
            )
        return self._with_deletes(key, found, wrong)

    def _with_deletes(self, key: str, found: _Read, wrong: str) -> Promises:
        heeded = self._delete(key, IfMatch=wrong).error is not None and self._get(key).body == found.body
        heeded = heeded and self._delete(key, IfMatch=found.etag or "").error is None
        if not heeded:
            said = self._delete(key)
            if said.error is not None:
                raise self._translated(said.error, "deleting")
        if self._get(key).body is not None:
            return Promises(locks_broken="an object that was deleted could still be read")
        return Promises(deletes_if_match=heeded)

    def new_key(self) -> str:
        """Return a name that nobody uses; it is deleted in the end."""
        self._keys.append(f"{self._prefix}{secrets.token_hex(16)}")
        return self._keys[-1]

    def put(self, key: str, body: bytes, **options: str) -> _Said:
        """Return the answer, also one that refuses. Raises ArchiveError for an outage."""
        try:
            answer = self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **options)
        except s3_errors.BOTO_ERRORS as err:
            return self._refusal(err, "writing")
        return _Said(200, etag=answer.get("ETag"))

    def _delete(self, key: str, **condition: str) -> _Said:
        try:
            self._client.delete_object(Bucket=self._bucket, Key=key, **condition)
        except s3_errors.BOTO_ERRORS as err:
            return self._refusal(err, "deleting")
        return _Said(204)

    def _refusal(self, err: Exception, doing: s3_errors.Doing) -> _Said:
        status = 0
        if isinstance(err, ClientError):
            status = err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        translated = self._translated(err, doing)
        unusable = isinstance(translated, ConfigurationError)  # no such bucket, another region
        if not isinstance(err, ClientError) or unusable or (status >= 500 and status != 501):
            raise translated from err
        code = str(err.response.get("Error", {}).get("Code", ""))
        return _Said(
            status, f"{status}" if code in ("", str(status)) else f"{status} {ascii(code)[1:-1][:60]}", error=err
        )

    def _get(self, key: str) -> _Read:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            body: bytes = answer["Body"].read()
        except s3_errors.BOTO_ERRORS as err:
            error = self._translated(err, "reading")
            if isinstance(error, ObjectNotFoundError):
                return _Read(None)
            raise error from err
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        modified_at = answer.get("LastModified")
        age = None
        with contextlib.suppress(ValueError, TypeError):
            age = parsedate_to_datetime(date) - modified_at if date and modified_at else None
        return _Read(body, answer.get("ETag"), age)

    def clean_up(self) -> None:
        """Delete what the trial wrote. Whoever may not delete keeps a few small objects that no listing shows."""
        for key in self._keys:
            try:
                said = self._delete(key)
            except ArchiveError as err:
                log.warning("s3://%s/%s could not be deleted: %s", self._bucket, key, err)
                return  # an outage: the next names would take as long
            if said.error is not None and said.status != 404:
                log.warning("s3://%s/%s could not be deleted: S3 answered %s", self._bucket, key, said.shown)

    def _translated(self, err: Exception, doing: s3_errors.Doing) -> ArchiveError:
        return s3_errors.translate_botocore(err, place=f"s3://{self._bucket}/{self._prefix}...", doing=doing)

    @staticmethod
    def _body() -> bytes:
        return f"callarchive tries conditional writes: {secrets.token_hex(8)}\n".encode()


def _why_no_etag(put_etag: str | None, found: _Read) -> str | None:
    if put_etag is None:
        return "its answer to a PUT has no ETag"
    if found.etag is None:
        return "its answer to a GET has no ETag"
    return None if put_etag == found.etag else "PUT and GET give an object different ETags"


def _why_no_times(found: _Read) -> str | None:
    if found.age is None:
        return "its answers lack a Date or a Last-Modified, which say when a lock was renewed"
    if abs(found.age) > _CLOCKS_APART:
        return f"the Last-Modified of a new object is {found.age.total_seconds():g} s before the answer's Date"
    return None
