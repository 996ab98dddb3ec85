"""Locks as objects in a bucket, by conditional PUTs. A lock is a lease: its holder renews it, a dead one's runs out.

Only the server's own clock counts: a lease has run out when the answer's Date is later than the lock's Last-Modified by
more than the lease. So hosts whose clocks differ still exclude each other.
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

_FREE = "free"
"""What stands for the holder's token in a lock that nobody holds: see `deletes_if_match`."""


@dataclass(frozen=True, slots=True)
class _Holding:
    """The lock as its object tells it."""

    etag: str
    token: str
    holder: str
    lease_s: float
    age_s: float

    @property
    def free(self) -> bool:
        """Whether its last holder marked it free."""
        return self.token == _FREE


class S3Lock:
    """One attempt to hold one lock: `take`, then `free`. Renewed by a thread of its own in between.

    Args:
        shown: what the lock is called in messages.
        lease_s: how long a dead holder's lock stays taken.
        deletes_if_match: whether the store heeds a DELETE's `If-Match`. Where it does not, the object stays, marked free.
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
        """Holds the lock. Raises UnavailableError after `wait_s`."""
        deadline = Deadline(wait_s)
        told = False
        for pause_s in Backoff(first_s=0.1, longest_s=min(2.0, self._lease_s / 4)).pauses():
            began_at = time.monotonic()
            holding = self._try()
            if holding is None:
                self._renewed_at = began_at
                self._renewer.start()
                return
            if deadline.passed:
                raise UnavailableError(f"{self._shown} is held by {holding.holder}: gave up after {wait_s:g} s")
            if not told:
                log.info("waiting for %s, held by %s", self._shown, holding.holder)
                told = True
            deadline.sleep(pause_s)

    def free(self) -> None:
        """The lock is free for others.

        Raises:
            UnavailableError: it was not ours all the time, so somebody else may have held it as well.
        """
        self._done.set()
        self._renewer.join()
        self._renew_or_notice()  # a process that was suspended for longer than the lease learns it only here
        if self._lost:
            raise UnavailableError(f"{self._shown} was lost while it was held: do again what was done under it")
        # If this fails the lease runs out by itself; whoever waits only waits longer.
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
        """Null when the lock is ours, else who holds it."""
        freed_just_now = _Holding("", "", "somebody", self._lease_s, 0.0)
        try:
            self._put(IfNoneMatch="*")
            return None
        except s3_errors.ConflictError:
            return freed_just_now
        except AlreadyExistsError:
            pass
        try:
            holding = self._read()
            if holding.token == self._token:  # our own PUT, whose answer was lost
                self._etag = holding.etag
                return None
            if not holding.free and holding.age_s <= holding.lease_s:
                return holding
            self._put(IfMatch=holding.etag)
        except ObjectNotFoundError:
            return freed_just_now
        except (AlreadyExistsError, s3_errors.ConflictError):  # somebody else was faster
            return holding
        if not holding.free:
            log.warning("%s was left by %s %.0f s ago: it is ours now", self._shown, holding.holder, holding.age_s)
        return None

    def _renew_until_done(self) -> None:
        while not self._lost and not self._done.wait(self._lease_s / 3):
            self._renew_or_notice()

    def _renew_or_notice(self) -> None:
        """The lease begins anew, or it is known to be lost, or there is hope left for the next time."""
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
        """The lease begins anew. Raises AlreadyExistsError or ObjectNotFoundError when the lock is not ours."""
        try:
            self._put(IfMatch=self._etag)
        except AlreadyExistsError:
            holding = self._read()
            if holding.token != self._token:
                raise
            self._etag = holding.etag  # our own PUT, whose answer was lost

    def _put(self, token: str | None = None, **condition: str) -> None:
        """The object names us, or `token`, as the lock's holder. Raises AlreadyExistsError where `condition` does not hold."""
        text = json.dumps(
            {
                "token": token or self._token,
                "holder": f"process {os.getpid()} on {socket.gethostname()}",
                "lease_s": self._lease_s,
                "nonce": secrets.token_hex(8),  # so that every renewal changes the ETag
            }
        )
        try:
            answer = self._client.put_object(Bucket=self._bucket, Key=self._key, Body=text.encode(), **condition)
        except s3_errors.BOTO_ERRORS as err:
            raise s3_errors.translate_botocore(err, place=self._shown, doing="writing") from err
        self._etag = self._etag_of(answer)

    def _etag_of(self, answer: dict[str, Any]) -> str:
        etag = answer.get("ETag")
        if not etag:
            raise UnavailableError(
                f"{self._shown}: an answer of the store has no ETag, so nobody can tell who holds it"
            )
        return str(etag)

    def _read(self) -> _Holding:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key)
            body = answer["Body"].read()
        except s3_errors.BOTO_ERRORS as err:
            raise s3_errors.translate_botocore(err, place=self._shown, doing="reading") from err
        said: Any = {}
        with contextlib.suppress(ValueError):
            said = json.loads(body)
        if not isinstance(said, dict):
            said = {}
        lease_s = said.get("lease_s")
        return _Holding(
            etag=self._etag_of(answer),
            token=str(said.get("token", "")),
            holder=ascii(said.get("holder", "somebody"))[1:-1][:100],
            lease_s=float(lease_s) if isinstance(lease_s, (int, float)) else self._lease_s,
            age_s=_age_s(answer),
        )


def _age_s(answer: dict[str, Any]) -> float:
    """How long ago the object was written by the server's clock. An answer without times makes no lock look old."""
    date, modified_at = answer["ResponseMetadata"]["HTTPHeaders"].get("date"), answer.get("LastModified")
    if not date or modified_at is None:
        return 0.0
    age: timedelta = parsedate_to_datetime(date) - modified_at
    return age.total_seconds()
