"""Concurrent requests about single keys or folders of a bucket, whose failures are limited to them."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from callarchive.domain.errors import AccessDeniedError, AnswerError, TransferError, UnavailableError
from callarchive.domain.evidence import Evidence, Unknown
from callarchive.storage.landing.s3.bucket import S3Bucket

T = TypeVar("T")

CONCERN_ONE = (AccessDeniedError, UnavailableError, TransferError, AnswerError)
"""Errors that may be limited to one key or folder. A check of the landing's root decides."""

_SILENT_MAX = 8
"""The number of first requests after which, if all failed, the landing's root is checked."""

_ROOT_S = 60.0
"""The time limit for a check of the landing's root."""


class S3Questions:
    """Sends requests about keys and folders of a bucket. Thread-safe."""

    def __init__(self, bucket: S3Bucket, *, concurrency: int) -> None:
        self._bucket = bucket
        self._concurrency = concurrency

    def ask_each(self, names: Sequence[str], ask: Callable[[str], Evidence[T]]) -> dict[str, Evidence[T]]:
        """Return the result of `ask` for each name; `Unknown` where it raises an error limited to that name.

        Raises:
            ArchiveError: the landing as a whole is refused or unreachable.
        """
        findings: dict[str, Evidence[T]] = {}
        if not names:
            return findings
        first, rest = names[:_SILENT_MAX], names[_SILENT_MAX:]
        with ThreadPoolExecutor(min(self._concurrency, len(names)), "ask") as pool:
            for some in (first, rest):
                outcomes = pool.map(lambda name: _outcome(ask, name), some)
                findings.update(zip(some, outcomes, strict=True))
                if all(isinstance(finding, Unknown) for finding in findings.values()):
                    self.check_root()
        return findings

    def check_root(self) -> None:
        """Check that the landing's root can be listed. Raises ArchiveError."""
        self._bucket.page(self._bucket.below(""), ends_at=min(self._bucket.ends_at(), time.monotonic() + _ROOT_S))


def _outcome(ask: Callable[[str], Evidence[T]], name: str) -> Evidence[T]:
    try:
        return ask(name)
    except CONCERN_ONE as err:
        return Unknown(str(err))
