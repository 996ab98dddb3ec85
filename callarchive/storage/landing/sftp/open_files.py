"""The number of files open at once at an SFTP server: unlimited until it refuses one without a reason.

The protocol has no status for "too many": OpenSSH and others reply to an OPEN beyond their limit with a bare FAILURE, as for a
file that cannot be opened at all. So a refused file is retried with fewer open files.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from callarchive.domain.errors import TransferError

_TRIES = 4

_T = TypeVar("_T")


class OpenRefusedError(TransferError):
    """The server failed to open a file without a reason: too many are open, or the file itself is the cause."""


class OpenFiles:
    """Counts open files, and learns the server's limit. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self._limit: int | None = None

    def opened(self, work: Callable[[], _T], *, deadline: float) -> _T:
        """Return the result of `work`, which opens a file. Call `closed` after closing it.

        Raises:
            OpenRefusedError: `work` raised it several times, or with no other file open.
            TransferError: too many files were still open at the deadline.
        """
        learned: list[int | None] = []
        while True:
            self._enter(deadline)
            try:
                return work()
            except BaseException as err:
                with self._changed:
                    self._count -= 1
                    self._changed.notify_all()
                    if not isinstance(err, OpenRefusedError):
                        raise
                    learned.append(self._limit)
                    if len(learned) == _TRIES or not self._count:
                        self._limit = learned[0]  # it was the file
                        raise
                    self._limit = min(self._limit or self._count, self._count)

    def closed(self) -> None:
        """Count a file as closed."""
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def _enter(self, deadline: float) -> None:
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._limit is None or self._count < self._limit, timeout=deadline - time.monotonic()
            ):
                raise TransferError(
                    f"the server opens no more than {self._limit} files at once, and none was closed in time"
                )
            self._count += 1
