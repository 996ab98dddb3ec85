"""Locks as objects in a bucket, with conditional PUTs. A lock is a lease: its holder renews it, a dead holder's expires.

Only the server's clock counts: a lease has expired when the Date of a response is later than the lock's Last-Modified by
more than the lease. Hosts with different clocks therefore still exclude each other.
"""

import contextlib
import json
import logging
import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from callarchive.domain.errors import AlreadyExistsError, ArchiveError, ObjectNotFoundError, UnavailableError
from callarchive.runtime.retry import Backoff, Deadline
from callarchive.storage.s3 import errors as s3_errors

log = logging.getLogger(__name__)

_FREE = "free"  # the token of a lock that is marked free: see `deletes_if_match`


@dataclass(frozen=True, slots=True)
class _Holding:
    """The contents of a lock object."""

    etag: str
    token: str
    holder: str
    lease_s: float
    age_s: float

    @property
    def free(self) -> bool:
        """Release the lock. Raises UnavailableError if it was lost, so another process may have held it too."""
        return self.token == _FREE


class S3Lock:
    """A lock for one `take` and one `free`, renewed by its own thread in between.

    `shown` is its name in messages. If the store does not support `If-Match` in a DELETE, the object is marked free.
    """

    def __init__(
        self, client: Any, bucket: str, key: str, *, shown: str, lease_s: float, deletes_if_match: bool
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._shown = shown
        self._lease_s = lease_s
        self._deletes_if_match = deletes_if_match
        self._token = secrets.token_hex(16)
        self._etag = ""
        self._lost = False
        self._renewed_at = 0.0
        self._done = threading.Event()
        self._renewer = threading.Thread(target=self._renew_until_done, name="s3-lock", daemon=True)

    def take(self, *, wait_s: float) -> None:
        """Acquire the lock. Raises UnavailableError after `wait_s`."""
        deadline = Deadline(wait_s)
        logged = False
        for pause_s in Backoff(first_s=0.1, longest_s=min(2.0, self._lease_s / 4)).pauses():
            began_at = time.monotonic()
            holding = self._try()
            if holding is None:
                self._renewed_at = began_at
                self._renewer.start()
                return
            if deadline.passed:
                raise UnavailableError(f"{self._shown} is held by {holding.holder}: gave up after {wait_s:g} s")
            if not logged:
                log.info("waiting for %s, held by %s", self._shown, holding.holder)
                logged = True
            deadline.sleep(pause_s)

    def free(self) -> None:
        """Release the lock. Raises UnavailableError if it was lost, so that another process may have held it too."""
        self._done.set()
        self._renewer.join()
        self._renew_or_notice()  # detects a process that was suspended for longer than the lease
        if self._lost:
            raise UnavailableError(f"{self._shown} was lost while it was held: run again")
        # If this fails, the lease expires by itself.
        if not self._deletes_if_match:
            try:
                self._put(_FREE, IfMatch=self._etag)
            except ArchiveError as err:
                log.warning("%s could not be marked free: %s", self._shown, err)
            return
        try:
            self._client.delete_object(Bucket=self._bucket, Key=self._key, IfMatch=self._etag)
        except s3_errors.BOTO_ERRORS as err:
            log.warning("%s", s3_errors.translate_botocore(err, place=self._shown, doing="deleting"))

    def _try(self) -> _Holding | None:
        """Return None if the lock is ours now, else its holder."""
        just_freed = _Holding("", "", "another process", self._lease_s, 0.0)
        try:
            self._put(IfNoneMatch="*")
            return None
        except s3_errors.ConflictError:
            return just_freed
        except AlreadyExistsError:
            pass
        try:
            holding = self._read()
            if holding.token == self._token:  # our own PUT, whose response was lost
                self._etag = holding.etag
                return None
            if not holding.free and holding.age_s <= holding.lease_s:
                return holding
            self._put(IfMatch=holding.etag)
        except ObjectNotFoundError:
            return just_freed
        except (AlreadyExistsError, s3_errors.ConflictError):  # another process was faster
            return holding
        if not holding.free:
            log.warning("%s expired: its holder, %s, renewed it %.0f s ago", self._shown, holding.holder, holding.age_s)
        return None

    def _renew_until_done(self) -> None:
        while not self._lost and not self._done.wait(self._lease_s / 3):
            self._renew_or_notice()

    def _renew_or_notice(self) -> None:
        """Renew the lease, or record that the lock is lost. After an outage the next renewal may still succeed."""
        if self._lost:
            return
        began_at = time.monotonic()
        try:
            self._renew()
            self._renewed_at = began_at
        except (AlreadyExistsError, ObjectNotFoundError):
            self._lost = True
        except ArchiveError as err:
            log.warning("%s could not be renewed: %s", self._shown, err)
            self._lost = time.monotonic() - self._renewed_at > self._lease_s

    def _renew(self) -> None:
        """Renew the lease. Raises AlreadyExistsError or ObjectNotFoundError if the lock is not ours."""
        try:
            self._put(IfMatch=self._etag)
        except AlreadyExistsError:
            holding = self._read()
            if holding.token != self._token:
                raise
            self._etag = holding.etag  # our own PUT, whose response was lost

    def _put(self, token: str | None = None, **condition: str) -> None:
        """Write the lock with our token or `token`. Raises AlreadyExistsError if `condition` does not hold."""
        text = json.dumps(
            {
                "token": token or self._token,
                "holder": f"process {os.getpid()} on {socket.gethostname()}",
                "lease_s": self._lease_s,
                "nonce": secrets.token_hex(8),  # so that every renewal changes the ETag
            }
        )
        with s3_errors.translating(place=self._shown, doing="writing"):
            response = self._client.put_object(Bucket=self._bucket, Key=self._key, Body=text.encode(), **condition)
        self._etag = self._etag_of(response)

    def _etag_of(self, response: dict[str, Any]) -> str:
        etag = response.get("ETag")
        if not etag:
            raise UnavailableError(f"{self._shown}: a response has no ETag, so its holder cannot be determined")
        return str(etag)

    def _read(self) -> _Holding:
        with s3_errors.translating(place=self._shown, doing="reading"):
            response = self._client.get_object(Bucket=self._bucket, Key=self._key)
            body = response["Body"].read()
        content: Any = {}
        with contextlib.suppress(ValueError):
            content = json.loads(body)
        if not isinstance(content, dict):
            content = {}
        lease_s = content.get("lease_s")
        return _Holding(
            etag=self._etag_of(response),
            token=str(content.get("token", "")),
            holder=ascii(content.get("holder", "another process"))[1:-1][:100],
            lease_s=float(lease_s) if isinstance(lease_s, (int, float)) else self._lease_s,
            age_s=_age_s(response),
        )


def _age_s(response: dict[str, Any]) -> float:
    """Return the age of the object by the server's clock; 0 for a response without times, so that no lock looks expired."""
    date, modified_at = response["ResponseMetadata"]["HTTPHeaders"].get("date"), response.get("LastModified")
    if not date or modified_at is None:
        return 0.0
    age: timedelta = parsedate_to_datetime(date) - modified_at
    return age.total_seconds()
