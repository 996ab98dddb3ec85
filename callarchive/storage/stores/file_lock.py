"""Locks as flock(2) on files of this machine. The kernel frees them when their holder dies, however it dies."""

import contextlib
import fcntl
import logging
import os
import time
from pathlib import Path

from callarchive.domain.errors import UnavailableError

log = logging.getLogger(__name__)


def take_lock(place: Path, *, shown: str, wait_s: float) -> int:
    """A descriptor that holds the lock until it is closed, against other processes and other threads of this one.

    The file stays when the lock is freed: removing it would let two holders in, one on the removed file.

    Args:
        shown: what the lock is called in messages.

    Raises:
        UnavailableError: somebody else held it for all of `wait_s`.
        OSError: the file cannot be opened or locked.
    """
    descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o640)
    try:
        _wait(descriptor, shown, wait_s)
    except BaseException:
        os.close(descriptor)
        raise
    # Only for people and for the log line of whoever waits; the kernel knows the holder without it.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _wait(descriptor: int, shown: str, wait_s: float) -> None:
    ends_at = time.monotonic() + wait_s
    pause_s, told = 0.01, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            raise UnavailableError(f"{shown} is held by process {holder}: gave up after {wait_s:g} s")
        if not told:
            log.info("waiting for %s, held by process %s", shown, holder)
            told = True
        time.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 2, 0.5)
