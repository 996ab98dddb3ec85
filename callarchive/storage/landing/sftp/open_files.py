"""How many files may be open at once at an SFTP server: as many as we like, until it refuses one for no reason it tells.

The protocol has no word for "too many": OpenSSH and others answer an OPEN beyond their limit with a bare FAILURE, as they
do for a file that cannot be opened at all. So a refused file is tried again with fewer beside it.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from callarchive.domain.errors import TransferError

_TRIES = 4

_T = TypeVar("_T")


class OpenRefusedError(TransferError):
    """The server does not open a file and says only that it failed: it may be too many, or the file itself."""


class OpenFiles:
    """Counts the files that are open, and learns how many may be. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self._limit: int | None = None

    def opened(self, work: Callable[[], _T], *, deadline: float) -> _T:
        """What `work` returns, which opens a file. `closed` is to be called when the file is done with.

        Raises:
            OpenRefusedError: `work` raised it several times, or with no other file open.
            TransferError: others had not closed enough files by the deadline.
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
        """The server has been asked to let go of a file that was opened."""
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
