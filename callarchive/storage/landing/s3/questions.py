"""Many questions about single keys or folders of a bucket at once, where a refusal concerns what was asked for.

What is asked is the caller's; how a single request is made is in `s3_bucket`.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from callarchive.domain.errors import AccessDeniedError, AnswerError, TransferError, UnavailableError
from callarchive.domain.evidence import Evidence, Unknown
from callarchive.storage.landing.s3.bucket import S3Bucket

T = TypeVar("T")

CONCERN_ONE = (AccessDeniedError, UnavailableError, TransferError, AnswerError)
"""Errors that may be of the one key or folder that was asked for. The landing as a whole is looked at to find out."""

_SILENT_MAX = 8
"""After so many questions of which none was answered, the landing is looked at before more are asked."""

_ROOT_S = 60.0
"""So long a landing is looked at to find out whether it can be listed at all."""


class S3Questions:
    """Asks about keys and folders of a bucket. Thread-safe."""

    def __init__(self, bucket: S3Bucket, *, concurrency: int) -> None:
        self._bucket = bucket
        self._concurrency = concurrency

    def ask_each(self, names: Sequence[str], ask: Callable[[str], Evidence[T]]) -> dict[str, Evidence[T]]:
        """Return what `ask` finds out of each name; `Unknown` where it raises an error that concerns that name alone.

        Raises:
            ArchiveError: the landing as a whole is refused or out of reach.
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
        """Return when the landing as a whole can be listed. Raises ArchiveError."""
        self._bucket.page(
            self._bucket.below(""), ends_at=min(self._bucket.ends_at(), time.monotonic() + _ROOT_S), MaxKeys=1
        )


def _outcome(ask: Callable[[str], Evidence[T]], name: str) -> Evidence[T]:
    try:
        return ask(name)
    except CONCERN_ONE as err:
        return Unknown(str(err))
